"""JPEG, PNG, GIF and BMP files in a graph: size in the header, and the upright image."""

from collections.abc import Callable

import tensorflow as tf

from tfskin.inputs.decode import decode_image, resize_image
from tfskin.schema import Resize
from tfskin.serving.binary import read_bytes, read_number
from tfskin.serving.exif import read_orientation, turn_upright
from tfskin.serving.gif import cut_first_frame
from tfskin.serving.png import read_png_orientation

_BMP_HEADERS = (40, 52, 56, 64, 108, 124)  # bytes, of Windows from 3.1 on and of OS/2 2.0
# Of a JPEG, the marker by which Adobe says that nothing is to be converted.
_ADOBE = b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\0"
_STARTS = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF8", "bmp": b"BM"}


def read_size(encoded: tf.Tensor) -> tf.Tensor:
    """Stored height and width in a file's header, int64 (2,); zeros for any other file.

    A JPEG whose header is broken raises ``tf.errors.InvalidArgumentError``. A BMP that stores
    its rows from the top has a negative height in its header, and its positive value here.
    """

    def jpeg() -> tf.Tensor:
        shape = tf.io.extract_jpeg_shape(encoded, output_type=tf.int32)[:2]
        return tf.cast(shape, tf.int64)

    def number(place: int, length: int, *, big_endian: bool = False) -> tf.Tensor:
        # The first 32 bytes hold every size: the whole file need not be looked at.
        head = read_bytes(tf.strings.substr(encoded, 0, 32))
        return read_number(head, tf.constant(place, tf.int64), length, big_endian)

    def png() -> tf.Tensor:
        # IHDR is the first chunk: PNG specification, 11.2.2.
        return tf.stack([number(20, 4, big_endian=True), number(16, 4, big_endian=True)])

    def gif() -> tf.Tensor:
        return tf.stack([number(8, 2), number(6, 2)])

    def bmp() -> tf.Tensor:
        height, width = number(22, 4), number(18, 4)
        return tf.stack([tf.where(height >= 2**31, 2**32 - height, height), width])

    cases = {"jpeg": jpeg, "png": png, "gif": gif, "bmp": bmp}
    size = _by_format(encoded, cases, default=lambda: tf.zeros(2, tf.int64))
    return tf.ensure_shape(size, (2,))


def is_known_format(encoded: tf.Tensor) -> tf.Tensor:
    """Whether a scalar string begins as one of the four formats does."""
    return tf.reduce_any([_starts_with(encoded, start) for start in _STARTS.values()])


def is_upright_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    """Whether strings begin as a JPEG and are not to be turned; bool (N,)."""
    count = tf.shape(encoded)[0]
    without = tf.strings.regex_replace(encoded, "Exif", "", replace_global=False)
    has_exif = tf.not_equal(tf.strings.length(without), tf.strings.length(encoded))

    def look() -> tf.Tensor:
        rows = tf.where(has_exif)[:, 0]
        found = tf.map_fn(read_orientation, tf.gather(encoded, rows), fn_output_signature=tf.int32)
        return tf.tensor_scatter_nd_update(tf.ones(count, tf.int32), rows[:, tf.newaxis], found)

    orientation = tf.cond(tf.reduce_any(has_exif), look, lambda: tf.ones(count, tf.int32))
    return _starts_with(encoded, _STARTS["jpeg"]) & tf.equal(orientation, 1)


def decode_upright(
    encoded: tf.Tensor, *, image_size: tuple[int, int], resize: Resize
) -> tuple[tf.Tensor, tf.Tensor]:
    """One image, decoded, laid over white, turned upright by its EXIF orientation, and resized.

    That is what happens to such images before they are stored for training; a JPEG or PNG
    without transparency and orientation is what :func:`tfskin.inputs.decode.decode_and_resize`
    gives. A GIF gives its first frame, which must be opaque and fill its screen; a PNG may have
    an alpha channel but no transparent colour; a BMP must have 24 or 32 bits a pixel,
    uncompressed. All else fails.

    Args:
        encoded: scalar string, a JPEG, PNG, GIF or BMP file.
        image_size: height and width that come out.
        resize: how the upright image is brought to ``image_size``.

    Returns:
        float32 (h, w, 3) in 0..255, and int32 (2,): height and width of the upright original.
    """

    def png() -> tf.Tensor:
        return tf.cond(
            _has_alpha(encoded),
            lambda: _decode_png_over_white(encoded),
            lambda: decode_image(encoded),
        )

    def gif() -> tf.Tensor:
        return tf.io.decode_gif(cut_first_frame(encoded))[0]

    def jpeg() -> tf.Tensor:
        return decode_image(mark_cmyk(encoded, tf.io.extract_jpeg_shape(encoded)[2]))

    orientation = _by_format(
        encoded,
        {"png": lambda: read_png_orientation(encoded)},
        default=lambda: read_orientation(encoded),
    )
    cases = {"png": png, "gif": gif, "bmp": lambda: _decode_bmp(encoded)}
    message = ["a PNG with a transparent colour, or EXIF that can't be found"]
    with tf.control_dependencies([tf.debugging.Assert(orientation > 0, message)]):
        image = turn_upright(_by_format(encoded, cases, default=jpeg), orientation)
    size = tf.shape(image)[:2]
    return resize_image(tf.ensure_shape(image, (None, None, 3)), image_size, resize), size


def mark_cmyk(encoded: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
    """A JPEG (a scalar string), with Adobe's marker in front where it has four channels.

    TensorFlow takes such numbers for ink where there is no marker, and for paper where there is
    one; Pillow always takes them for paper, as Photoshop writes them. A marker of the file's own
    comes later, and so outweighs this one.
    """

    def mark() -> tf.Tensor:
        rest = tf.strings.substr(encoded, 2, tf.strings.length(encoded) - 2)
        return _STARTS["jpeg"][:2] + _ADOBE + rest

    return tf.cond(channels == 4, mark, lambda: encoded)


def _by_format(
    encoded: tf.Tensor,
    cases: dict[str, Callable[[], tf.Tensor]],
    *,
    default: Callable[[], tf.Tensor],
) -> tf.Tensor:
    pairs = [(_starts_with(encoded, _STARTS[name]), case) for name, case in cases.items()]
    return tf.case(pairs, default=default)


def _starts_with(encoded: tf.Tensor, start: bytes) -> tf.Tensor:
    return tf.strings.substr(encoded, 0, len(start)) == start


def _has_alpha(encoded: tf.Tensor) -> tf.Tensor:
    """Whether a PNG is of colour type 4 or 6 (byte 25: PNG specification, IHDR)."""
    # Not asked of palettes and colour keys: TensorFlow fills their missing alpha wrongly below
    # 8 bits, and no camera writes them.
    color_type = tf.strings.substr(encoded, tf.minimum(25, tf.strings.length(encoded)), 1)
    return (color_type == b"\x04") | (color_type == b"\x06")


def _decode_png_over_white(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 (h, w, 3); an opaque PNG gives exactly what ``decode_image`` does."""
    pixels = tf.cast(tf.io.decode_png(encoded, channels=4), tf.int32)
    opacity = pixels[..., 3:]
    # Rounded to the nearest, in whole numbers.
    mixed = (pixels[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255
    return tf.cast(mixed, tf.uint8)


def _decode_bmp(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 (h, w, 3) of an uncompressed BMP of 24 or 32 bits a pixel; its alpha is left out."""
    head = read_bytes(tf.strings.substr(encoded, 0, 64))
    start, header_size, bits, compression = (
        read_number(head, tf.constant(place, tf.int64), length, big_endian=False)
        for place, length in ((10, 4), (14, 4), (28, 2), (30, 4))
    )
    # Of 8 bits TensorFlow shows the numbers of the colours as grey.
    known = tf.reduce_any(tf.equal(header_size, _BMP_HEADERS))
    known &= (compression == 0) & ((bits == 24) | (bits == 32))
    height, width = tf.unstack(read_size(encoded))
    needed = start + height * ((width * bits + 31) // 32 * 4)
    known &= needed <= tf.cast(tf.strings.length(encoded), tf.int64)
    message = ["a BMP must be whole and uncompressed, of 24 or 32 bits a pixel"]
    with tf.control_dependencies([tf.debugging.Assert(known, message)]):
        return tf.io.decode_bmp(tf.identity(encoded), channels=0)[..., :3]
