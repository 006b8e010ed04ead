"""Where on the original a heat map lies."""

import tensorflow as tf

from tfskin.inputs.decode import CUT_MARGINS
from tfskin.schema import Resize


def find_boxes(sizes: tf.Tensor, image_size: tuple[int, int], resize: Resize) -> tf.Tensor:
    """float32 (N, 4): what part of the upright original the network saw, as fractions of its sides.

    ``top, left, bottom, right``: 0, 0, 1, 1 for the whole image (``squash``); the centre for
    ``crop`` and ``imagenet``; below 0 and above 1 where ``pad`` added margins. A heat map lies over
    that part.
    """
    count = tf.shape(sizes)[0]
    if resize == "squash":
        return tf.tile(tf.constant([[0.0, 0.0, 1.0, 1.0]]), [count, 1])
    sides = tf.cast(tf.maximum(sizes, 1), tf.float32)
    ratios = tf.constant(image_size, tf.float32) / sides
    margin = CUT_MARGINS.get(resize)
    choose = tf.reduce_max if margin else tf.reduce_min
    ratio = choose(ratios, axis=1, keepdims=True) * (margin or 1.0)
    # Half of what the network's size is of the scaled image's, to each side of its centre.
    half = ratios / ratio / 2
    return tf.concat([0.5 - half, 0.5 + half], axis=1)
