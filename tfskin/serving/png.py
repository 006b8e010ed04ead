"""What a PNG says beside its pixels, in a graph: TensorFlow's decoder looks at none of it."""

import tensorflow as tf

from tfskin.serving.binary import has_text, read_bytes, read_number
from tfskin.serving.exif import orientation_in_tiff

# The walk over the chunks is bounded, for files crafted of millions of tiny chunks.
_MAX_CHUNKS = 20_000
_RAW_EXIF = b"Raw profile type exif\0"  # ImageMagick's way, before the chunk eXIf was agreed on


def read_png_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """The EXIF orientation of a PNG (a scalar string), int32 in 1..8; 0 where it can't be served.

    That is a PNG with a colour that is transparent (tRNS, whose alpha TensorFlow fills in wrongly
    below 8 bits), or with EXIF as compressed text alone.

    Reference: PNG specification, third edition, 11.3.1.1 and 11.3.4.5.
    """
    names = "tRNS|eXIf|Raw profile type exif"
    without = tf.strings.regex_replace(encoded, names, "", replace_global=False)
    is_mentioned = tf.not_equal(tf.strings.length(without), tf.strings.length(encoded))
    # In the pixels, by chance, or in a chunk's name: only a walk over the chunks can tell.
    return tf.cond(is_mentioned, lambda: _walk(encoded), lambda: tf.constant(1, tf.int32))


def _walk(encoded: tf.Tensor) -> tf.Tensor:
    data = read_bytes(encoded)
    size = tf.shape(data, tf.int64)[0] - 1
    none = tf.constant(0, tf.int64)

    def goes_on(chunk: tf.Tensor, exif: tf.Tensor, raw: tf.Tensor) -> tf.Tensor:
        ends = has_text(data, chunk + 4, b"IEND") | has_text(data, chunk + 4, b"tRNS")
        return (chunk < size) & ~ends

    def step(
        chunk: tf.Tensor, exif: tf.Tensor, raw: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        exif = tf.where(has_text(data, chunk + 4, b"eXIf"), chunk, exif)
        raw = raw | has_text(data, chunk + 8, _RAW_EXIF)
        return chunk + 12 + read_number(data, chunk, 4), exif, raw

    chunk, exif, raw = tf.while_loop(
        goes_on,
        step,
        (tf.constant(8, tf.int64), none, tf.constant(False)),
        maximum_iterations=_MAX_CHUNKS,
    )
    is_unserved = goes_on(chunk, exif, raw) | has_text(data, chunk + 4, b"tRNS")
    is_unserved |= raw & (exif == 0)
    end = tf.minimum(exif + 8 + read_number(data, exif, 4), size)
    return tf.cond(
        (exif > 0) & ~is_unserved,
        lambda: orientation_in_tiff(data[exif + 8 : end]),
        lambda: tf.where(is_unserved, 0, 1),
    )
