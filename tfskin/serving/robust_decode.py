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
    with an EXIF orientation are turned upright, as the training images were when they were
    stored; an orientation inside a PNG is not honoured. GIF and BMP are not read.

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
    """One image, decoded, turned upright by its EXIF orientation, and resized.

    Without an orientation it is :func:`tfskin.inputs.decode.decode_and_resize`.

    Args:
        encoded: scalar string, a JPEG or PNG file.
        image_size: height and width that come out.
        resize: how the upright image is brought to ``image_size``.

    Returns:
        float32 (h, w, 3) in 0..255.
    """
    image = turn_upright(decode_image(encoded), read_orientation(encoded))
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

    is_jpeg = tf.strings.substr(encoded, 0, len(_JPEG_START)) == _JPEG_START
    is_png = tf.strings.substr(encoded, 0, len(_PNG_START)) == _PNG_START
    size = tf.case([(is_jpeg, jpeg), (is_png, png)], default=neither)
    return tf.cast(tf.ensure_shape(size, (2,)), tf.int64)


def is_size_allowed(height: int, width: int, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether an image of this size is decoded."""
    return bool(_is_allowed(tf.constant([height, width], tf.int64), max_pixels))


def _is_allowed(size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    shorter, longer = tf.reduce_min(size), tf.reduce_max(size)
    return (
        (shorter > 0)
        & (longer <= MAX_SIDE)
        & (longer <= MAX_ASPECT * shorter)
        & (shorter * longer <= max_pixels)
    )
