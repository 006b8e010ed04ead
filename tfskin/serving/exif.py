"""EXIF orientation of JPEGs, in a graph: TensorFlow's decoders ignore it."""

import tensorflow as tf

from tfskin.serving.binary import read_bytes, read_number

# The walk to the EXIF segment is bounded, for files crafted of millions of tiny segments.
_MAX_SEGMENTS = 64
# Entries of IFD0 that are looked at; cameras write a few dozen.
_MAX_ENTRIES = 200
_ORIENTATION = 0x0112
_APP1, _APP0, _APP15, _COMMENT = 0xFFE1, 0xFFE0, 0xFFEF, 0xFFFE


def turn_upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The image (h, w, C) as it is to be seen, (w, h, C) for the orientations 5 to 8.

    Reference: EXIF 2.3, section 4.6.4 A, tag Orientation.
    """

    def if_in(values: list[int], change: tf.Tensor, otherwise: tf.Tensor) -> tf.Tensor:
        chosen = tf.reduce_any(tf.equal(orientation, values))
        return tf.cond(chosen, lambda: change(otherwise), lambda: otherwise)

    image = if_in([5, 6, 7, 8], lambda stored: tf.transpose(stored, [1, 0, 2]), image)
    image = if_in([2, 3, 6, 7], lambda stored: tf.reverse(stored, [1]), image)
    return if_in([3, 4, 7, 8], lambda stored: tf.reverse(stored, [0]), image)


def read_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of a JPEG (a scalar string), int32 in 1..8.

    1, upright, for a JPEG without one, with a damaged one, and for anything that is no JPEG.
    EXIF is sought among the application segments and comments that open a file; the first other
    segment ends the search, which spares most pictures all but one or two steps.
    """
    data = read_bytes(encoded)

    def is_skipped(position: tf.Tensor) -> tf.Tensor:
        marker = read_number(data, position, 2)
        opens = ((marker >= _APP0) & (marker <= _APP15)) | (marker == _COMMENT)
        return opens & ~_is_exif(data, position)

    def next_segment(position: tf.Tensor) -> tuple[tf.Tensor]:
        return (position + 2 + tf.maximum(read_number(data, position + 2, 2), 2),)

    def search() -> tf.Tensor:
        start = (tf.constant(2, tf.int64),)
        (segment,) = tf.while_loop(
            is_skipped, next_segment, start, maximum_iterations=_MAX_SEGMENTS
        )
        return tf.cond(
            _is_exif(data, segment),
            lambda: _orientation_in_tiff(data, segment + 10),
            lambda: tf.constant(1, tf.int32),
        )

    is_jpeg = read_number(data, tf.constant(0, tf.int64), 2) == 0xFFD8
    return tf.cond(is_jpeg, search, lambda: tf.constant(1, tf.int32))


def _is_exif(data: tf.Tensor, segment: tf.Tensor) -> tf.Tensor:
    has_name = read_number(data, segment + 4, 4) == int.from_bytes(b"Exif", "big")
    return (read_number(data, segment, 2) == _APP1) & has_name


def _orientation_in_tiff(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """The orientation in IFD0 of the TIFF structure that begins at ``start``; 1 without one."""
    big_endian = read_number(data, start, 2) == int.from_bytes(b"MM", "big")
    folder = start + read_number(data, start + 4, 4, big_endian)
    count = tf.minimum(read_number(data, folder, 2, big_endian), _MAX_ENTRIES)
    entries = folder + 2 + 12 * tf.range(count)
    is_orientation = read_number(data, entries, 2, big_endian) == _ORIENTATION
    values = tf.boolean_mask(read_number(data, entries + 8, 2, big_endian), is_orientation)
    value = tf.cast(tf.concat([values, [1]], 0)[0], tf.int32)
    return tf.where((value >= 1) & (value <= 8), value, 1)
