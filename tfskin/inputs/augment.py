"""Random changes of a training image, each a pure function of (seed, epoch, index).

All geometric changes become one inverse map and one resampling, compiled by XLA: the gather, the
interpolation and the colour run in one loop per image. On a CPU that takes a quarter of the
time of ``ImageProjectiveTransformV3`` with reflected borders.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import numpy as np
import tensorflow as tf

from tfskin.inputs.rand_augment import RAND_NUMBERS, choose_changes, with_limits
from tfskin.schema import AugmentConfig

# Each random number has a place of its own, so switching one change on leaves the others as is.
NUMBERS = (
    *("horizontal_flip", "vertical_flip", "quarter_turns"),
    *("rotation", "zoom", "shear", "shift_y", "shift_x"),
    *("crop_area", "crop_aspect", "crop_y", "crop_x"),
    *("erasing", "erasing_area", "erasing_aspect", "erasing_y", "erasing_x"),
    *("brightness", "contrast", "saturation", "hue"),
    *RAND_NUMBERS,
)

# Rows: luma (ITU-R BT.601), orange minus blue, purple minus green.
_RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ).tolist()

Numbers = dict[str, tf.Tensor]
Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def make_augment(
    config: AugmentConfig, *, image_size: tuple[int, int], seed: int, epoch: int | tf.Tensor
) -> Augment:
    """A function ``(image, index) -> image`` that changes one image at random.

    ``image`` is (height, width, 3), any number type, 0..255; ``index`` is a scalar int64 that
    names the image; the result is float32 in 0..255 of the same shape. The result depends on
    ``(seed, epoch, index)`` and the image alone: neither the batch nor the number of threads
    matters. Use it in ``Dataset.map`` before ``batch`` (one image fits the CPU's cache, a
    batch does not).

    ``crop`` has no part in it: a crop comes from the whole image, before it has this size
    (:func:`tfskin.inputs.crops.make_crop`).

    The changes, in this order, each left out at strength 0 (``u`` is uniform in [0, 1)):

    - ``horizontal_flip``, ``vertical_flip``: half of the time each.
    - ``quarter_turns``: 0, 90, 180 or 270 degrees as ``numpy.rot90``, then stretched to the frame
      where it is not square.
    - ``shear`` along x by an angle in +-shear, ``zoom`` by ``(1 + zoom) ** (2u - 1)``,
      ``rotation`` counterclockwise by an angle in +-rotation, all about the centre;
      ``shift`` by +-shift of each side.
    - Colour: see :func:`color_matrix` and :func:`change_colors`.
    - ``erasing``: with that probability a rectangle (area in ``erasing_area``, aspect log-uniform
      in 0.3..3.3, inside the frame) gets the image's mean colour. Zhong et al., "Random Erasing
      Data Augmentation" (2020), algorithm 1, fills it with noise instead.

    With ``rand_augment``, strengths that are 0 become those of
    :func:`tfskin.inputs.rand_augment.choose_changes`.

    The geometry is one bilinear resampling (:func:`resample`); flips and quarter turns of square
    frames move pixels without interpolation.
    """
    change = _compile_change(config, image_size)

    def augment(image: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        return change(tf.cast(image, tf.float32), draw_numbers(seed, epoch, index))

    return augment


def draw_numbers(seed: int, epoch: int | tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """The random numbers of one image: float32 in [0, 1), one for each name in ``NUMBERS``."""
    counter = tf.cast(index, tf.int64) + tf.cast(epoch, tf.int64) * 2**40
    return tf.random.stateless_uniform(
        [len(NUMBERS)], tf.stack([tf.constant(seed, tf.int64), counter]), alg="philox"
    )


@lru_cache(maxsize=32)
def _compile_change(
    config: AugmentConfig, image_size: tuple[int, int]
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """One compiled function for all epochs: tracing and compiling take about a second."""
    wished, config = config, with_limits(config)

    def change(image: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        numbers: Numbers = dict(zip(NUMBERS, tf.unstack(drawn), strict=True))
        numbers = choose_changes(wished, numbers)
        if _moves_pixels(config):
            image = resample(
                image,
                inverse_map(config, image_size, numbers),
                fill=config.fill if _interpolates(config, image_size) else "exact",
            )
        image = change_colors(config, image, numbers)
        return erase_rectangle(config, image, numbers) if config.erasing else image

    signature = [
        tf.TensorSpec((*image_size, 3), tf.float32),
        tf.TensorSpec((len(NUMBERS),), tf.float32),
    ]
    return tf.function(change, input_signature=signature, jit_compile=True)


def _interpolates(config: AugmentConfig, image_size: tuple[int, int]) -> bool:
    height, width = image_size
    return bool(
        config.rotation
        or config.zoom
        or config.shift
        or config.shear
        or (config.quarter_turns and height != width)
    )


def _moves_pixels(config: AugmentConfig) -> bool:
    flips = config.horizontal_flip or config.vertical_flip
    return bool(flips or config.quarter_turns or _interpolates(config, (1, 1)))


def inverse_map(
    config: AugmentConfig, image_size: tuple[int, int], numbers: Numbers
) -> tuple[tf.Tensor, ...]:
    """``(xx, xy, x0, yx, yy, y0)``: where each output pixel comes from.

    In pixels from the centre of the frame, x to the right and y down, output ``(x, y)`` comes
    from input ``(xx x + xy y + x0, yx x + yy y + y0)``.
    """
    height, width = image_size
    linear = _inverse_of_warp(config, numbers)
    # Centre of the frame before the shift, seen from the shifted frame.
    shift_x = -config.shift * width * _signed(numbers["shift_x"])
    shift_y = -config.shift * height * _signed(numbers["shift_y"])
    x0 = linear[0] * shift_x + linear[1] * shift_y
    y0 = linear[2] * shift_x + linear[3] * shift_y
    if config.quarter_turns:
        turns = tf.floor(numbers["quarter_turns"] * 4)
        cosine = tf.cast(turns == 0, tf.float32) - tf.cast(turns == 2, tf.float32)
        sine = tf.cast(turns == 1, tf.float32) - tf.cast(turns == 3, tf.float32)
        turn = (cosine, -sine * (width / height), sine * (height / width), cosine)
        linear, (x0, y0) = _times(turn, linear), _apply(turn, x0, y0)
    scale_x = _sign(numbers["horizontal_flip"], config.horizontal_flip)
    scale_y = _sign(numbers["vertical_flip"], config.vertical_flip)
    xx, xy, yx, yy = linear
    return (
        *(scale_x * xx, scale_x * xy, scale_x * x0),
        *(scale_y * yx, scale_y * yy, scale_y * y0),
    )


def _inverse_of_warp(config: AugmentConfig, numbers: Numbers) -> tuple[tf.Tensor, ...]:
    """Inverse of rotation x zoom x shear, row by row."""
    if not (config.rotation or config.zoom or config.shear):
        one, zero = tf.constant(1.0), tf.constant(0.0)
        return one, zero, zero, one
    angle = math.radians(config.rotation) * _signed(numbers["rotation"])
    zoom = tf.exp(math.log1p(config.zoom) * _signed(numbers["zoom"]))
    slant = tf.tan(math.radians(config.shear) * _signed(numbers["shear"]))
    cosine, sine = tf.cos(angle) / zoom, tf.sin(angle) / zoom
    return _times((1.0, -slant, 0.0, 1.0), (cosine, -sine, sine, cosine))


def resample(
    image: tf.Tensor,
    inverse: tuple[tf.Tensor, ...],
    *,
    fill: Literal["reflect", "black", "exact"],
) -> tf.Tensor:
    """The image (height, width, 3) float32 read at the places that ``inverse`` names.

    Bilinear. Beyond the border, ``reflect`` mirrors at the outer edge of the last pixel
    (``d c b a | a b c d | d c b a``) and ``black`` is 0 from one pixel outside on, as
    ``scipy.ndimage.map_coordinates`` with ``reflect`` and ``grid-constant``. ``exact`` takes the
    nearest pixel, for maps that send pixel centres to pixel centres.
    """
    height, width = image.shape[0], image.shape[1]
    xx, xy, x0, yx, yy, y0 = inverse
    across = (tf.range(width, dtype=tf.float32) - (width - 1) / 2)[None, :]
    down = (tf.range(height, dtype=tf.float32) - (height - 1) / 2)[:, None]
    x = (xx * across + (x0 + (width - 1) / 2)) + xy * down
    y = yx * across + (yy * down + (y0 + (height - 1) / 2))
    pixels = tf.reshape(image, [-1, 3])
    if fill == "exact":
        column = tf.clip_by_value(tf.cast(tf.round(x), tf.int32), 0, width - 1)
        row = tf.clip_by_value(tf.cast(tf.round(y), tf.int32), 0, height - 1)
        return tf.gather(pixels, row * width + column)
    cover = _cover(x, width) * _cover(y, height) if fill == "black" else None
    left, x = _split(_mirror(x, width), width)
    top, y = _split(_mirror(y, height), height)
    corner = top * width + left
    step_x, step_y = min(1, width - 1), width if height > 1 else 0
    upper = _mix(tf.gather(pixels, corner), tf.gather(pixels, corner + step_x), x)
    lower = _mix(tf.gather(pixels, corner + step_y), tf.gather(pixels, corner + step_y + step_x), x)
    result = _mix(upper, lower, y)
    return result if cover is None else result * cover[..., None]


def color_matrix(config: AugmentConfig, numbers: Numbers) -> list[list[tf.Tensor]]:
    """The 3 x 3 matrix that changes saturation and hue of RGB (rows: output channels).

    In YIQ the colour (I, Q) is scaled by ``1 +- saturation`` and turned by ``+-hue`` of a full
    circle while the luma Y stays. ``tf.image.adjust_hue`` turns in HSV, which keeps the maximum
    channel instead of the luma.
    """
    scale = 1.0 + config.saturation * _signed(numbers["saturation"])
    angle = 2 * math.pi * config.hue * _signed(numbers["hue"])
    cosine, sine = scale * tf.cos(angle), scale * tf.sin(angle)
    forward, back = _RGB_TO_YIQ, _YIQ_TO_RGB
    return [
        [
            back[i][0] * forward[0][j]
            + back[i][1] * (cosine * forward[1][j] - sine * forward[2][j])
            + back[i][2] * (sine * forward[1][j] + cosine * forward[2][j])
            for j in range(3)
        ]
        for i in range(3)
    ]


def change_colors(config: AugmentConfig, image: tf.Tensor, numbers: Numbers) -> tf.Tensor:
    """``M ((image - mean) c + mean + b)`` clipped to 0..255, for (height, width, 3) float32.

    ``b`` is +-brightness of 255, ``c`` is ``1 +- contrast`` about the mean of each channel, and
    ``M`` is :func:`color_matrix`. Nothing is clipped in between.
    """
    if not (config.brightness or config.contrast or config.saturation or config.hue):
        return image
    if config.contrast:
        factor = 1.0 + config.contrast * _signed(numbers["contrast"])
        mean = tf.reduce_mean(image, axis=(0, 1))
        image = image * factor + (1.0 - factor) * mean
    if config.brightness:
        image += 255.0 * config.brightness * _signed(numbers["brightness"])
    if config.saturation or config.hue:
        red, green, blue = tf.unstack(image, axis=-1)
        rows = color_matrix(config, numbers)
        image = tf.stack([r * red + g * green + b * blue for r, g, b in rows], axis=-1)
    return tf.clip_by_value(image, 0.0, 255.0)


def erase_rectangle(config: AugmentConfig, image: tf.Tensor, numbers: Numbers) -> tf.Tensor:
    """The image with a random rectangle in its mean colour, or as it was."""
    height, width = image.shape[0], image.shape[1]
    area = _between(config.erasing_area, numbers["erasing_area"])
    aspect = log_between((0.3, 1 / 0.3), numbers["erasing_aspect"])
    part_x = tf.minimum(tf.sqrt(area * aspect), 1.0)
    part_y = tf.minimum(tf.sqrt(area / aspect), 1.0)
    inside_x = _inside(numbers["erasing_x"], part_x, width)
    inside_y = _inside(numbers["erasing_y"], part_y, height)
    erased = inside_y[:, None] & inside_x[None, :] & (numbers["erasing"] < config.erasing)
    return tf.where(erased[..., None], tf.reduce_mean(image, axis=(0, 1)), image)


def _inside(position: tf.Tensor, part: tf.Tensor, size: int) -> tf.Tensor:
    start = position * (1.0 - part) * size
    centres = tf.range(size, dtype=tf.float32) + 0.5
    return (centres >= start) & (centres < start + part * size)


def _mirror(position: tf.Tensor, size: int) -> tf.Tensor:
    edge = tf.abs(position + 0.5)
    edge -= 2.0 * size * tf.floor(edge / (2.0 * size))
    return tf.clip_by_value(size - 0.5 - tf.abs(size - edge), 0.0, size - 1.0)


def _cover(position: tf.Tensor, size: int) -> tf.Tensor:
    return tf.clip_by_value(tf.minimum(position + 1.0, size - position), 0.0, 1.0)


def _split(position: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    whole = tf.minimum(tf.floor(position), float(max(size - 2, 0)))
    return tf.cast(whole, tf.int32), (position - whole)[..., None]


def _mix(first: tf.Tensor, second: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    return first + part * (second - first)


def _signed(number: tf.Tensor) -> tf.Tensor:
    return 2.0 * number - 1.0


def _sign(number: tf.Tensor, flips: bool) -> tf.Tensor:
    return tf.where(number < 0.5, -1.0, 1.0) if flips else tf.constant(1.0)


def _between(limits: tuple[float, float], number: tf.Tensor) -> tf.Tensor:
    return limits[0] + (limits[1] - limits[0]) * number


def log_between(limits: tuple[float, float], number: tf.Tensor) -> tf.Tensor:
    """A random number in [0, 1) as one whose logarithm is uniform between the limits."""
    return tf.exp(_between((math.log(limits[0]), math.log(limits[1])), number))


def _times(a: tuple, b: tuple) -> tuple[tf.Tensor, ...]:
    return (
        *(a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3]),
        *(a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3]),
    )


def _apply(a: tuple, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return a[0] * x + a[1] * y, a[2] * x + a[3] * y
