"""Batches of encoded images in a graph, where one unreadable image harms no other."""

import tensorflow as tf

from tfskin.config import Resize
from tfskin.inputs.decode import decode_image, resize_image
from tfskin.serving.exif import read_orientation, turn_upright

MAX_PIXELS = 50_000_000
"""Default limit of height times width: 48-megapixel phone pictures still pass."""

# Bounds the work (not the memory) that one image can cause: memory while shrinking to the
# network's size grows with the longer side, in "crop" even with the aspect ratio.
MAX_SIDE = 32_768
MAX_ASPECT = 20

_PARALLEL_DECODES = 8
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8\xff"


def decode_batch(
    encoded: tf.Tensor,
    *,
    image_size: tuple[int, int],
    resize: Resize,
    max_pixels: int = MAX_PIXELS,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Images of a batch of JPEG and PNG files, and which of them could be read.

    A row that is empty, neither JPEG nor PNG, truncated, damaged, or larger than allowed becomes
    zeros and ``valid`` false; all other rows are what they would be alone. The size is read from
    the header before anything is decoded, so that a small file cannot ask for much memory. JPEGs
    with an EXIF orientation are turned upright and PNGs with alpha laid over white, as the
    training images were when they were stored; an orientation inside a PNG and transparency in a
    palette are not honoured. GIF and BMP are not read.

    Args:
        encoded: strings (N,), the bytes of the files.
        image_size: height and width that come out.
        resize: how an image is brought to ``image_size``.
        max_pixels: the largest height times width that is decoded.

    Returns:
        ``(images, valid)``: float32 (N, h, w, 3) in 0..255, and bool (N,).
    """
    height, width = image_size
    count = tf.shape(encoded)[0]

    def is_acceptable(_: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
        return _is_allowed(read_size(data), max_pixels)

    def decode(row: tf.Tensor, data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return row, decode_upright(data, image_size=image_size, resize=resize)

    # One data set for the whole batch, its good rows scattered back to their places: 64 images of
    # 200 x 150 px take 34 ms on two cores, against 1,030 ms with one data set a row in map_fn.
    good = (
        tf.data.Dataset.from_tensor_slices((tf.range(count), encoded))
        .filter(is_acceptable)
        .map(decode, num_parallel_calls=_PARALLEL_DECODES)
        .ignore_errors(log_warning=False)
    )
    # get_single_element needs at least one row: one more than asked for, cut off below.
    spare = tf.data.Dataset.from_tensors((count, tf.zeros((height, width, 3))))
    batches = good.concatenate(spare).batch(tf.cast(count, tf.int64) + 1)
    rows, images = batches.get_single_element()
    rows = rows[:, tf.newaxis]
    images = tf.scatter_nd(rows, images, [count + 1, height, width, 3])[:-1]
    valid = tf.scatter_nd(rows, tf.ones_like(rows[:, 0]), [count + 1])[:-1] > 0
    return images, valid


def decode_upright(encoded: tf.Tensor, *, image_size: tuple[int, int], resize: Resize) -> tf.Tensor:
    """One image, decoded, laid over white, turned upright by its EXIF orientation, and resized.

    That is what happens to such images before they are stored for training; without transparency
    and orientation it is :func:`tfskin.inputs.decode.decode_and_resize`.

    Args:
        encoded: scalar string, a JPEG or PNG file.
        image_size: height and width that come out.
        resize: how the upright image is brought to ``image_size``.

    Returns:
        float32 (h, w, 3) in 0..255.
    """
    image = tf.cond(
        _has_alpha(encoded),
        lambda: _decode_png_over_white(encoded),
        lambda: decode_image(encoded),
    )
    image = turn_upright(image, read_orientation(encoded))
    return resize_image(tf.ensure_shape(image, (None, None, 3)), image_size, resize)


def read_size(encoded: tf.Tensor) -> tf.Tensor:
    """Height and width in the header of a JPEG or PNG, int64 (2,); zeros for anything else.

    A JPEG whose header is broken raises ``tf.errors.InvalidArgumentError``.
    """

    def jpeg() -> tf.Tensor:
        return tf.io.extract_jpeg_shape(encoded, output_type=tf.int32)[:2]

    def png() -> tf.Tensor:
        # IHDR is the first chunk: width and height, big-endian, at bytes 16 and 20.
        header = tf.strings.substr(encoded, 16, 8)
        return tf.reverse(tf.io.decode_raw(header, tf.int32, little_endian=False), [0])

    def neither() -> tf.Tensor:
        return tf.zeros(2, tf.int32)

    kinds = [(_starts_with(encoded, _JPEG_START), jpeg), (_starts_with(encoded, _PNG_START), png)]
    size = tf.case(kinds, default=neither)
    return tf.cast(tf.ensure_shape(size, (2,)), tf.int64)


def is_size_allowed(height: int, width: int, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether an image of this size is decoded."""
    return bool(_is_allowed(tf.constant([height, width], tf.int64), max_pixels))


def _starts_with(encoded: tf.Tensor, start: bytes) -> tf.Tensor:
    return tf.strings.substr(encoded, 0, len(start)) == start


def _has_alpha(encoded: tf.Tensor) -> tf.Tensor:
    """Whether it is a PNG of colour type 4 or 6 (byte 25: PNG specification, IHDR)."""
    # Not asked of palettes and colour keys: TensorFlow fills their missing alpha wrongly below
    # 8 bits, and no camera writes them.
    color_type = tf.strings.substr(encoded, tf.minimum(25, tf.strings.length(encoded)), 1)
    is_alpha = (color_type == b"\x04") | (color_type == b"\x06")
    return _starts_with(encoded, _PNG_START) & is_alpha


def _decode_png_over_white(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 (h, w, 3); an opaque PNG gives exactly what ``decode_image`` does."""
    pixels = tf.cast(tf.io.decode_png(encoded, channels=4), tf.int32)
    opacity = pixels[..., 3:]
    # Rounded to the nearest, in whole numbers.
    mixed = (pixels[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255
    return tf.cast(mixed, tf.uint8)


def _is_allowed(size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    shorter, longer = tf.reduce_min(size), tf.reduce_max(size)
    return (
        (shorter > 0)
        & (longer <= MAX_SIDE)
        & (longer <= MAX_ASPECT * shorter)
        & (shorter * longer <= max_pixels)
    )
