"""One picture file: opened, checked to its last byte, brought to upright RGB, shrunk."""

from __future__ import annotations

import hashlib
import os
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfskin.datasets.containers import read_container, split_container_path
from tfskin.errors import UserError
from tfskin.progress import progress_bar

# Pillow knows formats that run other programs (EPS: Ghostscript); a picture gets no such choice.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
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
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
_BATCH = 8
_BATCHES_PER_WORKER = 3

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class StoredPicture:
    """The bytes that go into a shard, and the size of the upright original in pixels."""

    data: bytes
    width: int
    height: int


def read_picture(path: Path | str, *, at_least: int | None = None) -> Image.Image:
    """The whole picture, decoded, upright, RGB.

    EXIF orientation is applied, where EXIF can be read. Transparency is laid over white. Grey of
    16 bits keeps its upper 8; a colour profile is not applied, for TensorFlow's decoders do not
    either. Of an animation, the first frame.

    Args:
        path: a JPEG, PNG, BMP, GIF, TIFF or WebP file, or one in an HDF5 file
            (:mod:`tfskin.datasets.containers`).
        at_least: a JPEG may be decoded at a half, quarter or eighth of its size as long as both
            sides keep this many pixels: for hashes, never for what a network sees.

    Raises:
        UserError: the file cannot be read, is empty, no image, cut off or damaged, has more
            pixels than ``PIL.Image.MAX_IMAGE_PIXELS``, or is grey of 32 bits.
    """
    return _decode(path, _read_bytes(path), at_least)[1]


@dataclass(frozen=True)
class ExaminedPicture:
    """A picture and what is unusual about its file.

    Attributes:
        image: as :func:`read_picture` returns it.
        oddities: such as "CMYK", "16 bits a channel", "animated", "transparent", "turned by
            EXIF", "grey", "palette", "no end marker", "a PNG named .jpg": all of them decoded.
        width: of the upright original in pixels.
        height: of the upright original in pixels.
        digest: SHA-256 of the file, in hexadecimal.
    """

    image: Image.Image
    oddities: tuple[str, ...]
    width: int
    height: int
    digest: str


def examine_picture(path: Path | str, *, at_least: int | None = None) -> ExaminedPicture:
    """The picture, its size, and what is unusual about its file.

    Args:
        path: as for :func:`read_picture`.
        at_least: as for :func:`read_picture`.

    Raises:
        UserError: as :func:`read_picture`.
    """
    data = _read_bytes(path)
    _, image = _decode(path, data, at_least)
    with _explain_damage(path, data), Image.open(BytesIO(data), formats=FORMATS) as header:
        width, height = header.size
        orientation = _read_orientation(header)
        oddities = tuple(_list_oddities(path, header, data, orientation))
        if orientation in (5, 6, 7, 8) and header.format != "TIFF":  # whose size is upright already
            width, height = height, width
    return ExaminedPicture(image, oddities, width, height, hashlib.sha256(data).hexdigest())


def encode_picture(path: Path | str, *, max_side: int, jpeg_quality: int) -> StoredPicture:
    """The picture as it is stored: its own bytes where they will do, else a JPEG.

    The bytes stay as they are when the file is a JPEG or an 8-bit PNG, RGB without transparency,
    upright, and no side is longer than ``max_side`` pixels. Anything else becomes upright RGB,
    is shrunk with an antialiasing filter (Lanczos) until its longer side is ``max_side``, and is
    encoded as a JPEG without chroma subsampling.

    Raises:
        UserError: as :func:`read_picture`.
    """
    data = _read_bytes(path)
    plain, image = _decode(path, data, None)
    width, height = image.size
    if plain and max(width, height) <= max_side:
        return StoredPicture(data, width, height)
    image = shrink_picture(image, max_side)
    stream = BytesIO()
    image.info.clear()  # a comment or profile of the source would be written again
    image.save(stream, "JPEG", quality=jpeg_quality, subsampling=0)
    return StoredPicture(stream.getvalue(), width, height)


def shrink_picture(image: Image.Image, max_side: int) -> Image.Image:
    """The picture, with its longer side brought down to ``max_side`` pixels by Lanczos' filter."""
    if max(image.size) <= max_side:
        return image
    width, height = stored_sides(np.array(image.size), max_side)
    return image.resize((int(width), int(height)), Image.Resampling.LANCZOS)


def stored_sides(sides: np.ndarray, max_side: int) -> np.ndarray:
    """Width and height of pictures as :func:`encode_picture` stores them: int64 (..., 2).

    Args:
        sides: int (..., 2), width and height of the originals in pixels.
        max_side: the longest side that is stored.
    """
    scale = np.minimum(max_side / np.asarray(sides).max(axis=-1, keepdims=True), 1)
    return np.maximum(np.round(sides * scale), 1).astype(np.int64)


def map_pictures(
    function: Callable[[Item], Result], paths: Sequence[Item], *, title: str, workers: int | None
) -> Generator[Result, None, None]:
    """``function`` of each path, in order, from threads, under a progress bar.

    Threads suffice: Pillow decodes, resizes and encodes without the interpreter's lock, and most
    of NumPy and SciPy works without it too. Processes were tried for the audit of 2,000 small
    pictures on two cores: 195 pictures/s with artefacts, against 204 by threads. A thread takes
    eight pictures at a time: handing over each by itself kept threads waiting for one another. Only
    a few results a worker are held at a time, so memory does not grow with the number of pictures.

    Args:
        function: called with one path; an exception ends the iteration.
        paths: picture files, or whatever else stands for work on pictures.
        title: what the progress bar says.
        workers: threads; none for one a CPU.
    """
    workers = workers or os.cpu_count() or 1
    starts = range(0, len(paths), _BATCH)
    batches = (paths[start : start + _BATCH] for start in starts)
    pool = ThreadPoolExecutor(workers)

    def work(batch: Sequence[Item]) -> list[Result]:
        return [function(path) for path in batch]

    try:
        # Filters are the process's, not the thread's: they are set once, around all threads.
        with warnings.catch_warnings(), progress_bar(title, total=len(paths)) as advance:
            warnings.filterwarnings("ignore", module="PIL")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            first = islice(batches, workers * _BATCHES_PER_WORKER)
            waiting: deque[Future[list[Result]]] = deque(pool.submit(work, b) for b in first)
            while waiting:
                results = waiting.popleft().result()
                waiting.extend(pool.submit(work, batch) for batch in islice(batches, 1))
                yield from results
                advance(len(results))
    finally:
        pool.shutdown(cancel_futures=True)


def _read_bytes(path: Path | str) -> bytes:
    inside = split_container_path(path)
    try:
        data = read_container(*inside) if inside else Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not data:
        raise UserError(f"{path}: is empty; download it again, or leave the image out")
    return data


def _decode(path: Path | str, data: bytes, at_least: int | None) -> tuple[bool, Image.Image]:
    """Whether the bytes can be stored as they are, and the picture as upright RGB."""
    with _explain_damage(path, data), Image.open(BytesIO(data), formats=FORMATS) as image:
        _check_size(path, image)
        if at_least is not None:
            image.draft("RGB", (at_least, at_least))
        upright = turn_upright(image)
        return upright is image and _is_plain(image, data), _to_rgb(path, upright)


def turn_upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF says; itself where that is not needed or can't be read."""
    image.load()  # turns a TIFF, and shows damage that unreadable EXIF would hide
    turn = _TURNS.get(_read_orientation(image))
    return image if turn is None else image.transpose(turn)


def _read_orientation(image: Image.Image) -> int:
    """EXIF's orientation; 1, upright, where there is none or it can't be read, as when serving."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, struct.error):
        return 1


@contextmanager
def _explain_damage(path: Path | str, data: bytes) -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError:
        page = data.lstrip()[:1] == b"<"
        what = "is a web page or XML, no image" if page else "is no image that Pillow knows"
        raise UserError(f"{path}: {what}; download it again, or leave the image out") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _bomb(path) from None
    except _DAMAGED as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: is cut off or damaged ({reason}); download it again, or leave the image out"
        ) from None


def _check_size(path: Path | str, image: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise _bomb(path)


def _bomb(path: Path | str) -> UserError:
    return UserError(
        f"{path}: has more than {Image.MAX_IMAGE_PIXELS} pixels, which may be an attack; "
        "shrink it, or leave the image out"
    )


def _list_oddities(
    path: Path | str, image: Image.Image, data: bytes, orientation: int
) -> Iterator[str]:
    mode = {"CMYK": "CMYK", "L": "grey", "1": "black and white", "P": "palette", "LA": "grey"}
    if image.mode in mode:
        yield mode[image.mode]
    if image.mode.startswith("I;16") or (image.format == "PNG" and data[24] == 16):
        yield "16 bits a channel"
    if getattr(image, "is_animated", False):
        yield "animated"
    if image.has_transparency_data:
        yield "transparent"
    if orientation not in (0, 1):
        yield "turned by EXIF"
    if image.format == "JPEG" and not data.rstrip(b"\0\r\n").endswith(b"\xff\xd9"):
        yield "no end marker"
    suffix = Path(path).suffix.lower()
    if suffix in _SUFFIX_FORMATS and image.format not in _SUFFIX_FORMATS[suffix]:
        yield f"a {image.format} named {suffix}"


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Whether the bytes of an upright picture can be stored as they are."""
    if image.mode != "RGB":
        return False
    if image.format == "JPEG":
        # Pillow forgives a missing end marker, TensorFlow does not.
        return data.rstrip(b"\0\r\n").endswith(b"\xff\xd9")
    if image.format != "PNG" or getattr(image, "is_animated", False):
        return False
    bit_depth = data[24]  # PNG specification, IHDR: signature 8, length 4, name 4, sizes 8 bytes
    if bit_depth != 8 or image.has_transparency_data:
        return False
    _check_png(data)
    return True


def _check_png(data: bytes) -> None:
    """Raise where TensorFlow's decoder would: Pillow forgives some wrong checksums, it does not."""
    start, pixels = 8, []
    while start + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[start : start + 8])
        end = start + 8 + length
        (checksum,) = struct.unpack(">I", data[end : end + 4])
        if checksum != zlib.crc32(data[start + 4 : end]):
            raise ValueError(f"wrong checksum of chunk {kind!r}")
        if kind == b"IDAT":
            pixels.append(data[start + 8 : end])
        start = end + 4
        if kind == b"IEND":
            break
    else:
        raise ValueError("no end chunk")
    zlib.decompress(b"".join(pixels))


def _to_rgb(path: Path | str, image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise UserError(
            f"{path}: is grey of 32 bits, whose white is unknown; save it with 8 bits a channel"
        )
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
