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
    """The picture at ``image_size``: (..., height, width, 3) float32 in 0..255.

    Args:
        image: (h, w, 3) or (batch, h, w, 3), any number type, 0..255.
        image_size: height and width of the result.
        resize: ``squash`` scales both sides freely. ``crop`` scales until the picture covers
            ``image_size`` and cuts out the centre. ``pad`` scales until the picture fits and
            surrounds it with zeros; an odd margin is one wider on the right or below.

    Interpolation is bilinear and antialiased: a triangle filter that widens with the scale, as
    Pillow's ``Image.resize(..., Image.BILINEAR)``, which rounds to whole grey levels twice and so
    differs by up to one.
    """
    height, width = image_size
    if resize == "squash":
        result = tf.image.resize(image, image_size, antialias=True)
    else:
        result = _resize_keeping_aspect(image, image_size, cover=resize == "crop")
    result.set_shape((*image.shape[:-3], height, width, 3))
    # The filter's weights sum to 1 only to within rounding.
    return tf.clip_by_value(result, 0.0, 255.0)


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
    sides = tf.cast(tf.shape(image)[-3:-1], tf.float32)
    ratios = tf.constant([height, width], tf.float32) / sides
    scale = tf.reduce_max(ratios) if cover else tf.reduce_min(ratios)
    scaled = tf.cast(tf.round(sides * scale), tf.int32)
    if cover:
        scaled = tf.maximum(scaled, image_size)
        top, left = tf.unstack((scaled - image_size) // 2)
        large = tf.image.resize(image, scaled, antialias=True)
        return tf.image.crop_to_bounding_box(large, top, left, height, width)
    scaled = tf.clip_by_value(scaled, 1, image_size)
    top, left = tf.unstack((image_size - scaled) // 2)
    small = tf.image.resize(image, scaled, antialias=True)
    return tf.image.pad_to_bounding_box(small, top, left, height, width)
