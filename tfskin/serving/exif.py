"""EXIF orientation of JPEGs, in a graph: TensorFlow's decoders ignore it."""

import tensorflow as tf

from tfskin.serving.binary import read_bytes, read_number

# The walk to the EXIF segment is bounded, for files crafted of millions of tiny segments.
_MAX_SEGMENTS = 2000
_ORIENTATION = 0x0112
_APP1, _SCAN, _FIRST_MARKER, _FILL = 0xFFE1, 0xFFDA, 0xFF01, 0xFFFF
# Little and big endian, and the same written the wrong way round, which Pillow reads too.
_TIFF_STARTS = [int.from_bytes(start, "big") for start in (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0")]
_SHORTS, _LONGS = (3, 8), (4, 9, 13)  # signed or not: EXIF 2.3, 4.6.2, and TIFF's IFD


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
    """The EXIF orientation of a JPEG (a scalar string), int32 in 1..8; 0 where the search ended.

    1, upright, for a JPEG without one, with a damaged one, and for anything that is no JPEG.
    EXIF is sought among all segments before the first scan. 0 where these are more than a JPEG
    can be taken to have.
    """
    data = read_bytes(encoded)
    size = tf.shape(data, tf.int64)[0] - 1

    def is_skipped(position: tf.Tensor) -> tf.Tensor:
        marker = read_number(data, position, 2)
        goes_on = (marker >= _FIRST_MARKER) & (marker != _SCAN) & (position < size)
        return goes_on & ~_is_exif(data, position)

    def next_segment(position: tf.Tensor) -> tuple[tf.Tensor]:
        # A marker may be filled up with bytes of 255 before it: ITU T.81, B.1.1.2.
        is_fill = read_number(data, position, 2) == _FILL
        length = tf.maximum(read_number(data, position + 2, 2), 2)
        return (position + tf.where(is_fill, tf.constant(1, tf.int64), 2 + length),)

    def search() -> tf.Tensor:
        start = (tf.constant(2, tf.int64),)
        (segment,) = tf.while_loop(
            is_skipped, next_segment, start, maximum_iterations=_MAX_SEGMENTS
        )
        end = segment + 2 + read_number(data, segment + 2, 2)
        upright = tf.where(is_skipped(segment), 0, 1)
        return tf.cond(
            _is_exif(data, segment),
            lambda: orientation_in_tiff(data[segment + 10 : tf.minimum(end, size)]),
            lambda: upright,
        )

    is_jpeg = read_number(data, tf.constant(0, tf.int64), 2) == 0xFFD8
    return tf.cond(is_jpeg, search, lambda: tf.constant(1, tf.int32))


def orientation_in_tiff(tiff: tf.Tensor) -> tf.Tensor:
    """The orientation in IFD0 of a TIFF structure, uint8 (bytes,); int32 in 1..8, 1 without one.

    What is no TIFF structure, and values that are no whole numbers, count as none, as for Pillow.
    """
    size = tf.shape(tiff, tf.int64)[0]
    data = tf.concat([tiff, tf.zeros(1, tf.uint8)], 0)
    zero = tf.constant(0, tf.int64)
    big_endian = read_number(data, zero, 2) == int.from_bytes(b"MM", "big")
    is_tiff = tf.reduce_any(tf.equal(read_number(data, zero, 4), _TIFF_STARTS))
    folder = read_number(data, zero + 4, 4, big_endian)
    entries = folder + 2 + 12 * tf.range(read_number(data, folder, 2, big_endian))
    kind, count = (
        read_number(data, entries + place, length, big_endian) for place, length in ((2, 2), (4, 4))
    )
    is_short = tf.reduce_any(tf.equal(kind[:, tf.newaxis], _SHORTS), axis=1)
    length = count * tf.where(is_short, tf.constant(2, tf.int64), 4)
    # More than four bytes of values lie elsewhere.
    elsewhere = read_number(data, entries + 8, 4, big_endian)
    places = tf.where(length <= 4, entries + 8, elsewhere)
    is_orientation = (
        (read_number(data, entries, 2, big_endian) == _ORIENTATION)
        & tf.reduce_any(tf.equal(kind[:, tf.newaxis], [*_SHORTS, *_LONGS]), axis=1)
        & (count > 0)
        & (entries + 12 <= size)
        & (places + length <= size)
    )
    values = tf.where(
        is_short,
        read_number(data, places, 2, big_endian),
        read_number(data, places, 4, big_endian),
    )
    value = tf.concat([tf.boolean_mask(values, is_orientation), [1]], 0)[0]
    return tf.where(is_tiff & (value >= 1) & (value <= 8), tf.cast(value, tf.int32), 1)


def _is_exif(data: tf.Tensor, segment: tf.Tensor) -> tf.Tensor:
    has_name = read_number(data, segment + 4, 6) == int.from_bytes(b"Exif\0\0", "big")
    return (read_number(data, segment, 2) == _APP1) & has_name
