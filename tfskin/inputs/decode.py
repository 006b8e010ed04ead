"""Encoded image -> RGB float32 at the network's size, in training, evaluation and serving."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import tensorflow as tf

from tfskin.datasets.decoder import decode_image
from tfskin.schema import Resize

__all__ = ["CUT_MARGINS", "decode_and_resize", "decode_image", "make_resize", "resize_image"]

# Where a side shrinks to less than a quarter, tf.image.resize is as fast as compiled code.
_MAX_TAPS = 8

CUT_MARGINS: dict[str, float] = {"crop": 1.0, "imagenet": 256 / 224}
"""How much larger than the result an image is scaled before the centre is cut out."""


def resize_image(image: tf.Tensor, image_size: tuple[int, int], resize: Resize) -> tf.Tensor:
    """The image at ``image_size``: (height, width, 3) float32 in 0..255.

    Args:
        image: (h, w, 3), any number type, 0..255.
        image_size: height and width of the result.
        resize: ``squash`` scales both sides freely. ``crop`` scales until the image covers
            ``image_size`` and cuts out the centre. ``imagenet`` scales 256 / 224 further before it
            cuts (for 224 px: the shorter side to 256, the centre 224 x 224). ``pad`` scales until
            the image fits and surrounds it with zeros; an odd margin is one wider on the right
            or below.

    Bilinear and antialiased: output pixel ``i`` of a side scaled by ``1 / s`` is the mean of the
    input with weights ``max(0, 1 - |k - ((i + 0.5) s - 0.5)| / max(s, 1))`` for pixel ``k``.
    Pillow's ``Image.resize(..., Image.BILINEAR)`` rounds to whole grey levels after each side and
    so differs by up to one.
    """
    height, width = image_size
    if resize == "squash":
        result = tf.image.resize(image, image_size, antialias=True)
    else:
        result = _resize_keeping_aspect(image, image_size, margin=CUT_MARGINS.get(resize))
    # The filter's weights are positive and sum to 1, but only to within rounding.
    return tf.ensure_shape(tf.minimum(result, 255.0), (height, width, 3))


def decode_and_resize(
    encoded: tf.Tensor, image_size: tuple[int, int], resize: Resize = "squash"
) -> tf.Tensor:
    """The image of JPEG or PNG bytes (a scalar string) as (height, width, 3) float32 in 0..255.

    See :func:`tfskin.datasets.decoder.decode_image` and :func:`resize_image`.
    """
    return resize_image(decode_image(encoded), image_size, resize)


def make_resize(
    image_size: tuple[int, int], resize: Resize, *, likely_size: tuple[int, int]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function of a uint8 image that gives what :func:`resize_image` gives, to 0.01, sooner.

    Images of ``likely_size`` go through code that XLA compiled for that size: half of the time
    of ``tf.image.resize`` for 200 x 150 to 128 x 128 pixels. The others go through
    :func:`resize_image`.
    """
    compiled = _compile_resize(likely_size, image_size, resize)

    def run(image: tf.Tensor) -> tf.Tensor:
        if compiled is None or not image.shape.is_compatible_with((*likely_size, 3)):
            return resize_image(image, image_size, resize)
        return tf.cond(
            tf.reduce_all(tf.shape(image)[:2] == likely_size),
            # Not tf.ensure_shape, which TensorFlow 2.21 runs in the branch that is not taken too.
            lambda: compiled(tf.reshape(image, (*likely_size, 3))),
            lambda: resize_image(image, image_size, resize),
        )

    return run


@lru_cache(maxsize=32)
def _compile_resize(
    source: tuple[int, int], image_size: tuple[int, int], resize: Resize
) -> Callable[[tf.Tensor], tf.Tensor] | None:
    height, width = image_size
    scaled = _scaled_size(source, image_size, resize)
    down = _taps(source[0], scaled[0], height)
    across = _taps(source[1], scaled[1], width)
    if max(down[1].shape[1], across[1].shape[1]) > _MAX_TAPS:
        return None

    def run(image: tf.Tensor) -> tf.Tensor:
        rows = tf.reshape(tf.cast(image, tf.float32), [source[0], source[1] * 3])
        rows = tf.reshape(_weighted_rows(rows, *down), [height, source[1], 3])
        columns = tf.reshape(tf.transpose(rows, (1, 0, 2)), [source[1], height * 3])
        columns = tf.reshape(_weighted_rows(columns, *across), [width, height, 3])
        return tf.minimum(tf.transpose(columns, (1, 0, 2)), 255.0)

    signature = [tf.TensorSpec((*source, 3), tf.uint8)]
    return tf.function(run, input_signature=signature, jit_compile=True)


def _scaled_size(
    source: tuple[int, int], image_size: tuple[int, int], resize: Resize
) -> tuple[int, int]:
    """Height and width of the whole image at its new scale."""
    if resize == "squash":
        return image_size
    sides, size = np.asarray(source, np.float32), np.asarray(image_size)
    ratios = size.astype(np.float32) / sides
    margin = CUT_MARGINS.get(resize)
    ratio = ratios.max() * np.float32(margin) if margin else ratios.min()
    scaled = np.round(sides * ratio).astype(int)
    scaled = np.maximum(scaled, size) if margin else np.clip(scaled, 1, size)
    return int(scaled[0]), int(scaled[1])


def _taps(size: int, scaled: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """``(first, weights)`` of the ``wanted`` central rows of ``size`` rows scaled to ``scaled``.

    Output row ``i`` is the sum over ``j`` of ``weights[i, j]`` times input row ``first[i] + j``;
    rows outside the scaled image have no weight.
    """
    # An odd cut or margin is one wider at the end.
    offset = (scaled - wanted) // 2 if scaled > wanted else -((wanted - scaled) // 2)
    target = np.arange(wanted) + offset
    step = size / scaled
    reach = max(step, 1.0)
    centre = (target + 0.5) * step - 0.5
    taps = min(int(np.ceil(2 * reach)), size)
    first = np.clip(np.floor(centre - reach).astype(int) + 1, 0, size - taps)
    source = first[:, None] + np.arange(taps)
    weights = np.maximum(1 - np.abs(source - centre[:, None]) / reach, 0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)
    weights[(target < 0) | (target >= scaled)] = 0
    return first.astype(np.int32), weights.astype(np.float32)


def _weighted_rows(rows: tf.Tensor, first: np.ndarray, weights: np.ndarray) -> tf.Tensor:
    parts = [
        tf.gather(rows, first + tap) * weights[:, tap, None] for tap in range(weights.shape[1])
    ]
    return tf.add_n(parts)


def _resize_keeping_aspect(
    image: tf.Tensor, image_size: tuple[int, int], *, margin: float | None
) -> tf.Tensor:
    height, width = image_size
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    ratios = tf.constant(image_size, tf.float32) / sides
    if margin:
        scaled = tf.cast(tf.round(sides * (tf.reduce_max(ratios) * margin)), tf.int32)
        scaled = tf.maximum(scaled, image_size)
        top, left = tf.unstack((scaled - image_size) // 2)
        large = tf.image.resize(image, scaled, antialias=True)
        return tf.image.crop_to_bounding_box(large, top, left, height, width)
    scaled = tf.cast(tf.round(sides * tf.reduce_min(ratios)), tf.int32)
    scaled = tf.clip_by_value(scaled, 1, image_size)
    top, left = tf.unstack((image_size - scaled) // 2)
    small = tf.image.resize(image, scaled, antialias=True)
    return tf.image.pad_to_bounding_box(small, top, left, height, width)
