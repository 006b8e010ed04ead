"""Random-resized crops, taken from the whole stored image and resized once."""

from __future__ import annotations

import tensorflow as tf

from tfskin.inputs.augment import NUMBERS, Augment, Numbers, draw_numbers, log_between
from tfskin.inputs.decode import resize_image
from tfskin.schema import AugmentConfig, Resize


def make_crop(
    config: AugmentConfig,
    *,
    image_size: tuple[int, int],
    resize: Resize,
    seed: int,
    epoch: int | tf.Tensor,
) -> Augment:
    """A function ``(image, index) -> image`` that cuts a random box out and resizes it.

    It stands in the place of :func:`tfskin.inputs.decode.resize_image` where ``config.crop`` is
    set, so what a resize policy would cut off or surround with zeros has no part in it. ``image``
    is (h, w, 3), any number type, 0..255; ``index`` is a scalar int64 that names the image; the
    result is float32 in 0..255 of ``image_size``, bilinear and antialiased. The box depends on
    ``(seed, epoch, index)`` and the image's size alone; see :func:`draw_box`.
    """

    def crop(image: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        drawn = tf.unstack(draw_numbers(seed, epoch, index))
        numbers: Numbers = dict(zip(NUMBERS, drawn, strict=True))
        sides = tf.shape(image)[:2]
        height, width = tf.unstack(tf.cast(sides, tf.float32))
        own = width / height if resize == "squash" else image_size[1] / image_size[0]
        top, left, down, across = draw_box(config, sides, aspect=own, numbers=numbers)
        part = image[top : top + down, left : left + across]
        return resize_image(part, image_size, "squash")

    return crop


def draw_box(
    config: AugmentConfig, sides: tf.Tensor, *, aspect: float | tf.Tensor, numbers: Numbers
) -> tuple[tf.Tensor, ...]:
    """``(top, left, height, width)`` of a random box in whole pixels: scalars, int32.

    As in Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv:1409.4842, section 6, and
    torchvision's ``RandomResizedCrop``: the box has an area uniform in ``config.crop`` (relative
    to the image) and an aspect (width / height) log-uniform in ``config.crop_aspect`` times
    ``aspect``, and lies anywhere in the image. Where it would be longer than the image it is
    shrunk at the same aspect; torchvision draws again.

    Args:
        config: with ``crop``.
        sides: height and width of the image, int32 (2,).
        aspect: the width of a box that is not distorted when it is resized, over its height:
            that of the result, or under ``squash`` that of the image.
        numbers: of :func:`tfskin.inputs.augment.draw_numbers`.
    """
    assert config.crop is not None
    low, high = config.crop
    height, width = tf.unstack(tf.cast(sides, tf.float32))
    area = (low + (high - low) * numbers["crop_area"]) * height * width
    ratio = log_between(config.crop_aspect, numbers["crop_aspect"]) * aspect
    across, down = tf.sqrt(area * ratio), tf.sqrt(area / ratio)
    fit = tf.minimum(1.0, tf.minimum(width / across, height / down))
    box = tf.cast(tf.round(tf.stack([down, across]) * fit), tf.int32)
    box = tf.clip_by_value(box, 1, sides)
    room = sides - box
    places = tf.stack([numbers["crop_y"], numbers["crop_x"]])
    start = tf.cast(tf.floor(places * tf.cast(room + 1, tf.float32)), tf.int32)
    return (*tf.unstack(tf.minimum(start, room)), *tf.unstack(box))
