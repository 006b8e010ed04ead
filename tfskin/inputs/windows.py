"""Windows of a fixed size that slide over an image: where they lie, cut out, averaged."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfskin.schema import WindowConfig


def count_along(sides: np.ndarray, windows: WindowConfig) -> np.ndarray:
    """How many windows lie along sides of so many pixels: int64, shaped as ``sides``.

    Windows start at 0, ``stride``, 2 ``stride``, ...; the last is the first to reach the border,
    so every pixel is in one. A side shorter than a window has one:
    ``1 + ceil(max(side - size, 0) / stride)``.
    """
    over = np.maximum(np.asarray(sides, np.int64) - windows.size, 0)
    return 1 + -(-over // windows.stride)


def cut_window(image: tf.Tensor, number: tf.Tensor, windows: WindowConfig) -> tf.Tensor:
    """One window of an image: (size, size, 3) of the image's type.

    Args:
        image: (height, width, 3).
        number: a scalar; windows are counted row by row, and after the last comes the first.
        windows: size and stride. What lies beyond the right and the lower border is 0.
    """
    size, stride = windows.size, windows.stride
    sides = tf.cast(tf.shape(image)[:2], tf.int64)
    down, across = tf.unstack(1 + -(-tf.maximum(sides - size, 0) // stride))
    number = tf.cast(number, tf.int64) % (down * across)
    top, left = number // across * stride, number % across * stride
    part = image[top : top + size, left : left + size]
    height, width = tf.unstack(tf.shape(part)[:2])
    part = tf.pad(part, [[0, size - height], [0, size - width], [0, 0]])
    return tf.ensure_shape(part, (size, size, 3))


def average_windows(probabilities: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean of each image's windows: (N, C).

    Args:
        probabilities: (windows, C), the windows of an image one after another.
        counts: int (N,), how many windows each image has, at least 1.
    """
    starts = np.cumsum(counts) - counts
    return np.add.reduceat(probabilities, starts, axis=0) / np.asarray(counts)[:, None]


def average_window_logits(logits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Logits whose softmax is the mean of the windows' softmax: (N, C).

    Args:
        logits: (windows, C), the windows of an image one after another.
        counts: int (N,), how many windows each image has, at least 1.
    """
    scaled = np.asarray(logits, np.float64)
    scaled = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
    starts = np.cumsum(counts) - counts
    total = np.logaddexp.reduceat(scaled, starts, axis=0)
    return (total - np.log(counts)[:, None]).astype(np.asarray(logits).dtype)
