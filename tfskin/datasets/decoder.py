"""The decoder of training: what it makes of a file decides whether the file is stored as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfskin.startup import import_tensorflow_quietly

if TYPE_CHECKING:
    import tensorflow as tf

_LEVELS = 2  # Pillow and TensorFlow bring their own builds of libjpeg, which may round differently


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """The RGB uint8 image (height, width, 3) of JPEG or PNG bytes (a scalar string).

    ``tf.io.decode_jpeg`` goes by the magic bytes, so it reads PNG too (palette, grey, alpha and
    16 bit become 8-bit RGB), and unlike ``tf.io.decode_image`` it can be told to use the accurate
    inverse DCT, which is the one that Pillow uses. EXIF orientation is not applied: shards hold
    upright images.

    Raises:
        tf.errors.InvalidArgumentError: when run, for bytes that are no whole JPEG or PNG.
    """
    import tensorflow as tf

    image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(image, (None, None, 3))


def decodes_to(encoded: bytes, expected: np.ndarray) -> bool:
    """Whether :func:`decode_image` gives the expected uint8 image (h, w, 3), to two grey levels.

    False for bytes that it can't read: Pillow reads lossless JPEGs, for example.
    """
    import_tensorflow_quietly()
    import tensorflow as tf

    try:
        with tf.device("CPU:0"):
            image = decode_image(tf.constant(encoded)).numpy()
    except tf.errors.OpError:
        return False
    if image.shape != expected.shape:
        return False
    # In bytes, which is four times as fast as in whole numbers.
    gap = np.maximum(image, expected) - np.minimum(image, expected)
    return int(gap.max()) <= _LEVELS
