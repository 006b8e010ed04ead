"""Encoded images, good and broken, made without files."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def make_image(seed: int, *, height: int = 30, width: int = 40) -> Image.Image:
    """A smooth coloured image without any symmetry."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    if kind == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    image.save(stream, kind, **options)
    return stream.getvalue()


def encode_turned(image: Image.Image, orientation: int, byte_order: str) -> bytes:
    """JPEG bytes of an image with an EXIF orientation, in one of TIFF's two byte orders."""
    exif = Image.Exif()
    exif.endian = byte_order
    exif[0x010F] = "maker"
    exif[0x0112] = orientation
    return encode(image, exif=exif)


def png_header(width: int, height: int) -> bytes:
    """A small PNG file that claims a size and holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"") + _chunk(b"IEND", b"")
    )


def jpeg_claiming(width: int, height: int) -> bytes:
    """A JPEG file whose header claims another size than it has."""
    data = bytearray(encode(make_image(0)))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def broken_files() -> dict[str, bytes]:
    """What arrives at an endpoint instead of an image."""
    jpeg = encode(make_image(1, height=60, width=80))
    png = bytearray(encode(make_image(2), "PNG"))
    # A byte in the middle of IDAT, so that the chunk's checksum is wrong.
    png[png.index(b"IDAT") + 20] ^= 0xFF
    return {
        "empty": b"",
        "one byte": b"\xff",
        "html": b"<html><body>404 Not Found</body></html>",
        "jpeg start only": b"\xff\xd8\xff",
        "truncated jpeg": jpeg[: len(jpeg) // 2],
        "truncated png": encode(make_image(2), "PNG")[:60],
        "png with a wrong checksum": bytes(png),
        "png of 60000 x 60000": png_header(60_000, 60_000),
        "png of negative size": png_header(2**31 + 10, 10),
        "png of 0 x 0": png_header(0, 0),
        "jpeg of 65000 x 65000": jpeg_claiming(65_000, 65_000),
        "jpeg of 20000 x 2": encode(make_image(3, height=2, width=20_000)),
        "gif": encode(make_image(4), "GIF"),
        "bmp": encode(make_image(4), "BMP"),
        "webp": encode(make_image(4), "WEBP"),
    }


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
