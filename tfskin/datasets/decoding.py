"""The bytes of one image file -> upright RGB, checked to the last byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfskin.datasets.containers import read_container, split_container_path
from tfskin.errors import UserError

# Pillow knows formats that run other programs (EPS: Ghostscript); a picture gets no such choice.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
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


def read_bytes(path: Path | str) -> bytes:
    """The bytes of an image file, or of one in an HDF5 file; never none.

    Raises:
        UserError: it cannot be read, or is empty.
    """
    inside = split_container_path(path)
    try:
        data = read_container(*inside) if inside else Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if not data:
        raise UserError(f"{path}: is empty; download it again, or leave the image out")
    return data


def decode_picture(path: Path | str, data: bytes, at_least: int | None) -> tuple[bool, Image.Image]:
    """Whether the bytes can be stored as they are, and the image as upright RGB.

    Args:
        path: named in errors.
        data: content of the file.
        at_least: as ``pictures.read_picture`` takes it.

    Raises:
        UserError: as ``pictures.read_picture``.
    """
    with explain_damage(path, data), Image.open(BytesIO(data), formats=FORMATS) as image:
        _check_size(path, image)
        if at_least is not None:
            image.draft("RGB", (at_least, at_least))
        upright = turn_upright(image)
        return upright is image and _is_plain(image, data), _to_rgb(path, upright)


def turn_upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF says; itself where that is not needed or can't be read."""
    image.load()  # turns a TIFF, and shows damage that unreadable EXIF would hide
    turn = _TURNS.get(read_orientation(image))
    return image if turn is None else image.transpose(turn)


def read_orientation(image: Image.Image) -> int:
    """EXIF's orientation; 1, upright, where there is none or it can't be read, as when serving."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, struct.error):
        return 1


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
