"""The bytes of one image file -> upright RGB, checked to the last byte."""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfskin.datasets.containers import read_container, split_container_path
from tfskin.datasets.sizes import MAX_FILE_BYTES, refuse_size
from tfskin.errors import UserError

# Pillow knows formats that run other programs (EPS: Ghostscript); an image gets no such choice.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
_ORIENTATION = 0x0112
PNG_DEPTH = 24  # PNG specification, IHDR: signature 8, length 4, name 4, sizes 8 bytes
# Top, left, down, across of the passes of an interlaced PNG: PNG specification, 8.2.
_ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's readers raise for files that they did not foresee.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    TypeError,
    struct.error,
    zlib.error,
)


def read_bytes(path: Path | str) -> bytes:
    """The bytes of an image file, or of one in an HDF5 file; never none.

    Raises:
        UserError: it is no regular file (a pipe, a device), has more than ``MAX_FILE_BYTES``,
            cannot be read, or is empty.
    """
    inside = split_container_path(path)
    try:
        data = read_container(*inside) if inside else _read_file(Path(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:  # a NUL in the path
        raise UserError(f"{path}: cannot be read: not a path") from None
    if not data:
        raise UserError(f"{path}: is empty; download it again, or leave the image out")
    return data


def _read_file(path: Path) -> bytes:
    """The bytes of a file; what would never end, or fill the memory, is refused unopened."""
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise UserError(f"{path}: is no regular file; name one that holds an image")
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise UserError(
            f"{path}: has more than {MAX_FILE_BYTES:,} bytes, which no image needs; export it "
            "smaller"
        )
    return data


def decode_image(path: Path | str, data: bytes, at_least: int | None) -> tuple[bool, Image.Image]:
    """Whether the bytes can be stored as they are, and the image as upright RGB.

    Args:
        path: named in errors.
        data: content of the file.
        at_least: as ``images.read_image`` takes it.

    Raises:
        UserError: as ``images.read_image``.
    """
    with explain_damage(path, data), Image.open(BytesIO(data), formats=FORMATS) as image:
        if refusal := refuse_size(*image.size):
            raise UserError(f"{path}: {refusal}, or leave the image out")
        if image.format == "PNG":
            _check_png(data)
        if at_least is not None:
            image.draft("RGB", (at_least, at_least))
        upright = turn_upright(image)
        return upright is image and _is_plain(image, data), _to_rgb(path, upright)


def turn_upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF says; itself where that is not needed or can't be read."""
    _forget_xmp(image)
    image.load()  # turns a TIFF, and shows damage that unreadable EXIF would hide
    turn = _TURNS.get(read_orientation(image))
    return image if turn is None else image.transpose(turn)


def read_orientation(image: Image.Image) -> int:
    """EXIF's orientation; 1, upright, where there is none or it can't be read, as when serving."""
    _forget_xmp(image)
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, struct.error):
        return 1


def _forget_xmp(image: Image.Image) -> None:
    """Pillow turns by XMP where EXIF has no orientation; browsers and the served graph do not."""
    for name in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(name, None)


@contextmanager
def explain_damage(path: Path | str, data: bytes) -> Iterator[None]:
    """What Pillow raises within is raised as a UserError that names the file."""
    try:
        yield
    except UnidentifiedImageError:
        page = data.lstrip()[:1] == b"<"
        what = "is a web page or XML, no image" if page else "is no image that Pillow knows"
        raise UserError(f"{path}: {what}; download it again, or leave the image out") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(
            f"{path}: has too many pixels, maybe as an attack; shrink it, or leave the image out"
        ) from None
    except _DAMAGED as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: is cut off or damaged ({reason}); download it again, or leave the image out"
        ) from None


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Whether an upright image is of a kind that is stored as it is, if training can read it."""
    if image.mode != "RGB" or image.has_transparency_data:
        return False
    if image.format == "PNG":
        return data[PNG_DEPTH] == 8 and not getattr(image, "is_animated", False)
    # Words after the end marker are not taken along.
    return image.format == "JPEG" and data.rstrip(b"\0\r\n").endswith(b"\xff\xd9")


def _check_png(data: bytes) -> None:
    """Raise where TensorFlow's decoder would: Pillow forgives wrong checksums and missing rows."""
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
    if len(zlib.decompress(b"".join(pixels))) < _count_png_bytes(data):
        raise ValueError("too few pixels")


def _count_png_bytes(data: bytes) -> int:
    """How many bytes the rows of a PNG have, each with one for its filter."""
    width, height, bits, color, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    bits *= {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    total = 0
    for top, left, down, across in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        rows, columns = -((top - height) // down), -((left - width) // across)
        total += max(rows, 0) * (1 + -(-columns * bits // 8)) if columns > 0 else 0
    return total


def is_lossless_jpeg(data: bytes) -> bool:
    """Whether a JPEG is of a lossless process: ITU T.81, table B.1, SOF3, 7, 11 and 15."""
    start = 2
    while start + 4 <= len(data):
        marker = data[start + 1]
        if marker == 0xFF:
            start += 1  # fill
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker % 4 == 3
        start += 2 + int.from_bytes(data[start + 2 : start + 4])
    return False


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
