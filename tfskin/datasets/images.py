"""Image files: read, examined, and encoded as they are stored; one or many."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from tfskin.datasets.decoder import decodes_to
from tfskin.datasets.decoding import (
    FORMATS,
    PNG_DEPTH,
    decode_image,
    explain_damage,
    is_lossless_jpeg,
    read_bytes,
    read_orientation,
)
from tfskin.progress import progress_bar
from tfskin.threads import map_ahead

_SUFFIX_FORMATS = {
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".bmp": ("BMP",),
    ".gif": ("GIF",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
    ".webp": ("WEBP",),
}
_BATCH = 8
_BATCHES_PER_WORKER = 3

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class StoredImage:
    """The bytes that go into a shard, and the size of the upright original in pixels."""

    data: bytes
    width: int
    height: int


def read_image(path: Path | str, *, at_least: int | None = None) -> Image.Image:
    """The whole image, decoded, upright, RGB.

    EXIF orientation is applied, where EXIF can be read; that of XMP is not, as in browsers.
    Transparency is laid over white. Grey of
    16 bits keeps its upper 8; a colour profile is not applied, for TensorFlow's decoders do not
    either. Of an animation, the first frame.

    Args:
        path: a JPEG, PNG, BMP, GIF, TIFF or WebP file, or one in an HDF5 file
            (:mod:`tfskin.datasets.containers`).
        at_least: a JPEG may be decoded at a half, quarter or eighth of its size as long as both
            sides keep this many pixels: for hashes, never for what a network sees.

    Raises:
        UserError: the file cannot be read, is empty, no image, cut off or damaged, of a
            size that :mod:`tfskin.datasets.sizes` refuses, or grey of 32 bits.
    """
    return decode_image(path, read_bytes(path), at_least)[1]


@dataclass(frozen=True)
class ExaminedImage:
    """An image and what is unusual about its file.

    Attributes:
        image: as :func:`read_image` returns it.
        oddities: such as "CMYK", "16 bits a channel", "animated", "transparent", "turned by
            EXIF", "grey", "palette", "no end marker", "lossless
            JPEG", "a PNG named .jpg": all of them decoded.
        width: of the upright original in pixels.
        height: of the upright original in pixels.
        digest: SHA-256 of the file, in hexadecimal.
    """

    image: Image.Image
    oddities: tuple[str, ...]
    width: int
    height: int
    digest: str


def examine_image(path: Path | str, *, at_least: int | None = None) -> ExaminedImage:
    """The image, its size, and what is unusual about its file.

    Args:
        path: as for :func:`read_image`.
        at_least: as for :func:`read_image`.

    Raises:
        UserError: as :func:`read_image`.
    """
    data = read_bytes(path)
    _, image = decode_image(path, data, at_least)
    with explain_damage(path, data), Image.open(BytesIO(data), formats=FORMATS) as header:
        width, height = header.size
        orientation = read_orientation(header)
        oddities = tuple(_list_oddities(path, header, data, orientation))
        if orientation in (5, 6, 7, 8) and header.format != "TIFF":  # whose size is upright already
            width, height = height, width
    return ExaminedImage(image, oddities, width, height, hashlib.sha256(data).hexdigest())


def encode_image(path: Path | str, *, max_side: int, jpeg_quality: int) -> StoredImage:
    """The image as it is stored: its own bytes where they will do, else a JPEG.

    The bytes stay as they are when the file is a JPEG or an 8-bit PNG, RGB without transparency,
    upright, no side is longer than ``max_side`` pixels, and the decoder of training
    (:mod:`tfskin.datasets.decoder`) gives the pixels that Pillow gives. Anything else becomes
    upright RGB, is shrunk with an antialiasing filter (Lanczos) until its longer side is
    ``max_side``, and is encoded as a JPEG without chroma subsampling.

    Raises:
        UserError: as :func:`read_image`.
    """
    data = read_bytes(path)
    plain, image = decode_image(path, data, None)
    width, height = image.size
    if plain and max(width, height) <= max_side and decodes_to(data, np.asarray(image)):
        return StoredImage(data, width, height)
    image = shrink_image(image, max_side)
    stream = BytesIO()
    image.info.clear()  # a comment or profile of the source would be written again
    image.save(stream, "JPEG", quality=jpeg_quality, subsampling=0)
    return StoredImage(stream.getvalue(), width, height)


def shrink_image(image: Image.Image, max_side: int) -> Image.Image:
    """The image, with its longer side brought down to ``max_side`` pixels by Lanczos' filter."""
    if max(image.size) <= max_side:
        return image
    width, height = stored_sides(np.array(image.size), max_side)
    return image.resize((int(width), int(height)), Image.Resampling.LANCZOS)


def stored_sides(sides: np.ndarray, max_side: int) -> np.ndarray:
    """Width and height of images as :func:`encode_image` stores them: int64 (..., 2).

    Args:
        sides: int (..., 2), width and height of the originals in pixels.
        max_side: the longest side that is stored.
    """
    scale = np.minimum(max_side / np.asarray(sides).max(axis=-1, keepdims=True), 1)
    return np.maximum(np.round(sides * scale), 1).astype(np.int64)


def map_images(
    function: Callable[[Item], Result], paths: Sequence[Item], *, title: str, workers: int | None
) -> Generator[Result, None, None]:
    """``function`` of each path, in order, from threads, under a progress bar.

    Threads suffice: Pillow decodes, resizes and encodes without the interpreter's lock, and most
    of NumPy and SciPy works without it too. Processes were tried for the audit of 2,000 small
    images on two cores: 195 images/s with artefacts, against 204 by threads. A thread takes
    eight images at a time: handing over each by itself kept threads waiting for one another. Only
    a few results a worker are held at a time, so memory does not grow with the number of images.

    Args:
        function: called with one path; an exception ends the iteration.
        paths: image files, or whatever else stands for work on images.
        title: what the progress bar says.
        workers: threads; none for one a CPU.
    """
    workers = workers or os.cpu_count() or 1
    batches = (paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH))

    def work(batch: Sequence[Item]) -> list[Result]:
        return [function(path) for path in batch]

    # Filters are the process's, not the thread's: they are set once, around all threads.
    with warnings.catch_warnings(), progress_bar(title, total=len(paths)) as advance:
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        found = map_ahead(work, batches, workers=workers, ahead=workers * _BATCHES_PER_WORKER)
        with closing(found):
            for results in found:
                yield from results
                advance(len(results))


def _list_oddities(
    path: Path | str, image: Image.Image, data: bytes, orientation: int
) -> Iterator[str]:
    mode = {"CMYK": "CMYK", "L": "grey", "1": "black and white", "P": "palette", "LA": "grey"}
    if image.mode in mode:
        yield mode[image.mode]
    if image.mode.startswith("I;16") or (image.format == "PNG" and data[PNG_DEPTH] == 16):
        yield "16 bits a channel"
    if getattr(image, "is_animated", False):
        yield "animated"
    if image.has_transparency_data:
        yield "transparent"
    if orientation not in (0, 1):
        yield "turned by EXIF"
    if image.format == "JPEG" and not data.rstrip(b"\0\r\n").endswith(b"\xff\xd9"):
        yield "no end marker"
    if image.format == "JPEG" and is_lossless_jpeg(data):
        yield "lossless JPEG"
    suffix = Path(path).suffix.lower()
    if suffix in _SUFFIX_FORMATS and image.format not in _SUFFIX_FORMATS[suffix]:
        yield f"a {image.format} named {suffix}"
