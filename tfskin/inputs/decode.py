"""Encoded picture -> RGB float32 at the network's size, in training, evaluation and serving."""

from __future__ import annotations

import tensorflow as tf

from tfskin.config import Resize


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """The RGB uint8 picture (height, width, 3) of JPEG or PNG bytes (a scalar string).

    ``tf.io.decode_jpeg`` goes by the magic bytes, so it reads PNG too (palette, grey, alpha and
    16 bit become 8-bit RGB), and unlike ``tf.io.decode_image`` it can be told to use the accurate
    inverse DCT, which is the one that Pillow uses. EXIF orientation is not applied: shards hold
    upright pictures.

    Raises:
        tf.errors.InvalidArgumentError: when run, for bytes that are no whole JPEG or PNG.
    """
    image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(image, (None, None, 3))


def resize_image(image: tf.Tensor, image_size: tuple[int, int], resize: Resize) -> tf.Tensor:
    """The picture at ``image_size``: (height, width, 3) float32 in 0..255.

    Args:
        image: (h, w, 3), any number type, 0..255.
        image_size: height and width of the result.
        resize: ``squash`` scales both sides freely. ``crop`` scales until the picture covers
            ``image_size`` and cuts out the centre. ``pad`` scales until the picture fits and
            surrounds it with zeros; an odd margin is one wider on the right or below.

    Bilinear and antialiased: output pixel ``i`` of a side scaled by ``1 / s`` is the mean of the
    input with weights ``max(0, 1 - |k - ((i + 0.5) s - 0.5)| / max(s, 1))`` for pixel ``k``.
    Pillow's ``Image.resize(..., Image.BILINEAR)`` rounds to whole grey levels after each side and
    so differs by up to one.
    """
    height, width = image_size
    if resize == "squash":
        result = tf.image.resize(image, image_size, antialias=True)
    else:
        result = _resize_keeping_aspect(image, image_size, cover=resize == "crop")
    # The filter's weights are positive and sum to 1, but only to within rounding.
    return tf.ensure_shape(tf.minimum(result, 255.0), (height, width, 3))


def decode_and_resize(
    encoded: tf.Tensor, image_size: tuple[int, int], resize: Resize = "squash"
) -> tf.Tensor:
    """The picture of JPEG or PNG bytes (a scalar string) as (height, width, 3) float32 in 0..255.

    See :func:`decode_image` and :func:`resize_image`.
    """
    return resize_image(decode_image(encoded), image_size, resize)


def _resize_keeping_aspect(
    image: tf.Tensor, image_size: tuple[int, int], *, cover: bool
) -> tf.Tensor:
    height, width = image_size
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    ratios = tf.constant(image_size, tf.float32) / sides
    if cover:
        scaled = tf.cast(tf.round(sides * tf.reduce_max(ratios)), tf.int32)
        scaled = tf.maximum(scaled, image_size)
        top, left = tf.unstack((scaled - image_size) // 2)
        large = tf.image.resize(image, scaled, antialias=True)
        return tf.image.crop_to_bounding_box(large, top, left, height, width)
    scaled = tf.cast(tf.round(sides * tf.reduce_min(ratios)), tf.int32)
    scaled = tf.clip_by_value(scaled, 1, image_size)
    top, left = tf.unstack((image_size - scaled) // 2)
    small = tf.image.resize(image, scaled, antialias=True)
    return tf.image.pad_to_bounding_box(small, top, left, height, width)
