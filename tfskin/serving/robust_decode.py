"""Batches of encoded images in a graph, where one unreadable image harms no other."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tfskin.datasets.sizes import MAX_ASPECT, MAX_PIXELS, MAX_SIDE, MIN_SIDE
from tfskin.inputs.decode import decode_and_resize, resize_image
from tfskin.schema import Resize
from tfskin.serving.formats import (
    decode_upright,
    is_known_format,
    is_upright_jpeg,
    mark_cmyk,
    read_size,
)

REASONS = (
    "",
    "empty",
    "no JPEG, PNG, GIF or BMP file",
    "too large, too small or too narrow",
    "cut off, damaged, or of a kind that is not served",
    "pixels are not numbers from 0 to 255",
)
"""Why a row could not be read; the first one is that of a row that could."""

_PARALLEL_DECODES = 8


class Decoded(NamedTuple):
    """What :func:`decode_batch` gives."""

    images: tf.Tensor
    """float32 (N, h, w, 3) in 0..255; zeros where a file could not be read."""
    valid: tf.Tensor
    """bool (N,)."""
    reason: tf.Tensor
    """string (N,), one of :data:`REASONS`."""
    sizes: tf.Tensor
    """int32 (N, 2): height and width of the upright original; zeros where it could not be read."""


def decode_batch(
    encoded: tf.Tensor,
    *,
    image_size: tuple[int, int],
    resize: Resize,
    max_pixels: int = MAX_PIXELS,
) -> Decoded:
    """Images of a batch of JPEG, PNG, GIF and BMP files, and which of them could be read.

    A row that is empty, of another format, truncated, damaged, or larger than allowed becomes
    zeros and ``valid`` false; all other rows are what they would be alone. The size is read from
    the header before anything is decoded, so that a small file cannot ask for much memory. JPEGs
    with an EXIF orientation are turned upright and PNGs with alpha laid over white, as the
    training images were when they were stored. What can't be shown as it was then is invalid too:
    a PNG or GIF with a transparent colour, a GIF whose first frame doesn't fill its screen, a
    lossless JPEG. GIFs give their first frame.

    Args:
        encoded: strings (N,), the bytes of the files.
        image_size: height and width that come out.
        resize: how an image is brought to ``image_size``.
        max_pixels: the largest height times width that is decoded.
    """

    def quick(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shape = tf.io.extract_jpeg_shape(data)
        size = shape[:2]
        message = ["a JPEG that is too large, too small or too narrow"]
        allowed = is_allowed(tf.cast(size, tf.int64), max_pixels)
        with tf.control_dependencies([tf.debugging.Assert(allowed, message)]):
            return decode_and_resize(mark_cmyk(data, shape[2]), image_size, resize), size

    def careful(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return decode_upright(data, image_size=image_size, resize=resize)

    def is_acceptable(data: tf.Tensor) -> tf.Tensor:
        return is_allowed(read_size(data), max_pixels)

    # Most images are JPEGs that stand upright. The function for all others is much
    # larger, and costs time in each row that does not need it.
    is_upright = is_upright_jpeg(encoded)

    def decode_quickly(parallel: int | None) -> tuple[tf.Tensor, tf.Tensor]:
        return _decode_rows(encoded, is_upright, quick, image_size=image_size, parallel=parallel)

    # Waking other threads for one image costs as much as decoding it: 10 ms against 6.
    images, sizes = tf.cond(
        tf.equal(tf.size(encoded), 1),
        lambda: decode_quickly(None),
        lambda: decode_quickly(_PARALLEL_DECODES),
    )
    others = _decode_rows(
        encoded, ~is_upright, careful, image_size=image_size, is_acceptable=is_acceptable
    )
    # Rows that are not chosen are zeros.
    images, sizes = images + others[0], sizes + others[1]
    valid = sizes[:, 0] > 0
    reason = tf.cond(
        tf.reduce_all(valid),
        lambda: tf.fill(tf.shape(encoded), REASONS[0]),
        lambda: _find_reasons(encoded, valid, max_pixels),
    )
    return Decoded(images, valid, reason, sizes)


def resize_batch(
    images: tf.Tensor, *, image_size: tuple[int, int], resize: Resize, max_pixels: int = MAX_PIXELS
) -> Decoded:
    """Images that were decoded elsewhere, at the network's size, and which of them can be used.

    The sizes that are allowed are those of files. Pixels that are NaN, infinite or outside 0..255
    make their row invalid, and so do floating-point pixels that are all within 0..1: the network
    would see such an image as black.

    Args:
        images: (N, H, W, 3), uint8 or float32, RGB in 0..255.
        image_size: height and width that come out.
        resize: how an image is brought to ``image_size``.
        max_pixels: the largest height times width that is taken.
    """
    count, stored = tf.shape(images)[0], tf.shape(images)[1:3]
    fits = is_allowed(tf.cast(stored, tf.int64), max_pixels)
    axes = [1, 2, 3]
    # NaN is neither.
    in_range = tf.reduce_all((images >= 0) & (images <= 255), axes)
    if images.dtype.is_floating:
        in_range &= ~tf.reduce_all(images <= 1, axes)
    valid = fits & in_range
    usable = tf.where(valid[:, tf.newaxis, tf.newaxis, tf.newaxis], images, tf.zeros_like(images))
    resized = tf.case(
        [
            (~fits, lambda: tf.zeros([count, *image_size, 3])),
            (tf.reduce_all(stored == image_size), lambda: tf.cast(usable, tf.float32)),
        ],
        default=lambda: tf.map_fn(
            lambda image: resize_image(image, image_size, resize),
            usable,
            fn_output_signature=tf.TensorSpec((*image_size, 3), tf.float32),
        ),
    )
    size, pixels = 3, 5
    reason = tf.gather(REASONS, tf.where(valid, 0, tf.where(fits, pixels, size)))
    sizes = tf.where(valid[:, tf.newaxis], stored[tf.newaxis], 0)
    return Decoded(tf.ensure_shape(resized, (None, *image_size, 3)), valid, reason, sizes)


def _decode_rows(
    encoded: tf.Tensor,
    chosen: tf.Tensor,
    decode: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    *,
    image_size: tuple[int, int],
    is_acceptable: Callable[[tf.Tensor], tf.Tensor] | None = None,
    parallel: int | None = _PARALLEL_DECODES,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Images (N, h, w, 3) and sizes (N, 2) of the chosen rows; zeros in rows that fail."""
    count = tf.shape(encoded)[0]
    shapes = [count + 1, *image_size, 3], [count + 1, 2]

    def run() -> tuple[tf.Tensor, tf.Tensor]:
        # One data set for the whole batch, its good rows scattered back to their places: 64 images
        # of 200 x 150 px take 34 ms on two cores, against 1,030 ms with one data set a row.
        rows = tf.boolean_mask(tf.range(count), chosen)
        elements = tf.data.Dataset.from_tensor_slices((rows, tf.gather(encoded, rows)))
        if is_acceptable is not None:
            elements = elements.filter(lambda _, data: is_acceptable(data))
        good = elements.map(
            lambda row, data: (row, *decode(data)), num_parallel_calls=parallel
        ).ignore_errors(log_warning=False)
        # get_single_element needs at least one row: one more than asked for, cut off below.
        spare = (count, tf.zeros((*image_size, 3)), tf.zeros(2, tf.int32))
        places, images, sizes = _collect(good, spare, count)
        return tf.scatter_nd(places, images, shapes[0]), tf.scatter_nd(places, sizes, shapes[1])

    def skip() -> tuple[tf.Tensor, tf.Tensor]:
        return tf.zeros(shapes[0]), tf.zeros(shapes[1], tf.int32)

    images, sizes = tf.cond(tf.reduce_any(chosen), run, skip)
    return images[:-1], sizes[:-1]


def _find_reasons(encoded: tf.Tensor, valid: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Strings (N,): why each row could not be read."""
    count = tf.shape(encoded)[0]
    empty, other_format, size, damaged = range(1, 5)

    def judge(row: tf.Tensor, data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stored = read_size(data)
        is_refused = (tf.reduce_min(stored) > 0) & ~is_allowed(stored, max_pixels)
        code = tf.where(is_refused, size, damaged)
        code = tf.where(is_known_format(data), code, other_format)
        return row, tf.where(tf.strings.length(data) == 0, empty, code)

    judged = (
        tf.data.Dataset.from_tensor_slices((tf.range(count), encoded))
        .map(judge)
        .ignore_errors(log_warning=False)
    )
    rows, codes = _collect(judged, (count, tf.constant(damaged)), count)
    # A row whose header could not be read has no code yet.
    codes = tf.scatter_nd(rows, codes, [count + 1])[:-1]
    codes = tf.where(codes == 0, damaged, codes)
    return tf.gather(REASONS, tf.where(valid, 0, codes))


def _collect(
    elements: tf.data.Dataset, spare: tuple[tf.Tensor, ...], count: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """All elements of a data set and ``spare`` as one batch; the first, the row, as (n, 1)."""
    together = elements.concatenate(tf.data.Dataset.from_tensors(spare))
    rows, *others = together.batch(tf.cast(count, tf.int64) + 1).get_single_element()
    return rows[:, tf.newaxis], *others


def is_allowed(size: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Whether images of a height and width, int64 (2,), are decoded; bool ()."""
    shorter, longer = tf.reduce_min(size), tf.reduce_max(size)
    return (
        (shorter >= MIN_SIDE)
        & (longer <= MAX_SIDE)
        & (longer <= MAX_ASPECT * shorter)
        & (shorter * longer <= max_pixels)
    )
