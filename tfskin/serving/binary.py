"""Whole numbers at places of a file's bytes, in a graph."""

import tensorflow as tf


def read_bytes(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 (bytes + 1,) of a scalar string, with a zero at its end.

    Positions in a truncated or crafted file may lie beyond its end: :func:`read_number` reads
    zeros there.
    """
    return tf.concat([tf.io.decode_raw(encoded, tf.uint8), tf.zeros(1, tf.uint8)], 0)


def read_number(
    data: tf.Tensor, position: tf.Tensor, length: int, big_endian: tf.Tensor | bool = True
) -> tf.Tensor:
    """The unsigned int64 of ``length`` bytes at every ``position`` of :func:`read_bytes`."""
    last = tf.shape(data, tf.int64)[0] - 1
    places = tf.expand_dims(position, -1) + tf.range(length, dtype=tf.int64)
    digits = tf.cast(tf.gather(data, tf.minimum(places, last)), tf.int64)
    digits = tf.where(big_endian, digits, tf.reverse(digits, [-1]))
    weights = tf.constant([256**power for power in reversed(range(length))], tf.int64)
    return tf.reduce_sum(digits * weights, -1)


def has_text(data: tf.Tensor, position: tf.Tensor, text: bytes) -> tf.Tensor:
    """Whether the bytes at a ``position`` of :func:`read_bytes` are ``text``; bool ()."""
    last = tf.shape(data, tf.int64)[0] - 1
    places = tf.minimum(position + tf.range(len(text), dtype=tf.int64), last)
    return tf.reduce_all(tf.equal(tf.gather(data, places), tf.constant(list(text), tf.uint8)))
