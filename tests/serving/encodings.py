"""One small image in every encoding that readers are known to differ on, seeded."""

import base64
import io
import itertools
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, features

from tests.serving.images import encode, make_image

HEIGHT, WIDTH = 17, 23
Encoding = tuple[str, bytes]

# Of cjpeg (libjpeg-turbo), for what Pillow can't write: arithmetic coding, odd sampling factors.
_RARE = Path(__file__).with_name("rare_jpegs.json")
_XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def make_encodings(seed: int = 0) -> Iterator[Encoding]:
    """(name, bytes of a file): at least 300, of images that are HEIGHT x WIDTH as stored."""
    for family in (_jpegs, _marked_jpegs, _lossless_jpegs, _pngs, _gifs, _bmps, _others):
        yield from family(make_image(seed, height=HEIGHT, width=WIDTH))


def _jpegs(image: Image.Image) -> Iterator[Encoding]:
    cmyk = _make_cmyk(image)
    kinds = {"grey": image.convert("L"), "YCbCr": image, "CMYK": cmyk}
    for (space, variant), progressive, subsampling, quality in itertools.product(
        kinds.items(), (False, True), (0, 1, 2), (30, 95)
    ):
        data = encode(variant, progressive=progressive, subsampling=subsampling, quality=quality)
        name = f"JPEG {space} {'progressive' if progressive else 'baseline'} {subsampling}"
        yield f"{name} q{quality}", data
        if space == "grey":
            continue
        yield f"{name} q{quality} without markers", drop_segments(data, (0xE0, 0xEE))
        for transform in (0, 1, 2):
            yield f"{name} q{quality} Adobe {transform}", set_adobe(data, transform)
    yield "JPEG RGB", encode(image, keep_rgb=True)
    yield "JPEG RGB without markers", drop_segments(encode(image, keep_rgb=True), (0xE0, 0xEE))
    for start, space in itertools.product(range(1, 5), ("YCbCr", "CMYK")):
        data = drop_segments(encode(kinds[space]), (0xE0, 0xEE))
        names = [start + place * 3 for place in range(4)]
        yield f"JPEG {space} with component names {names}", rename_components(data, names)
    yield (
        "JPEG with components named RGB",
        rename_components(drop_segments(encode(image), (0xE0, 0xEE)), list(b"RGB")),
    )
    for blocks in (1, 2, 5):
        yield f"JPEG restart {blocks}", encode(image, restart_marker_blocks=blocks)
    yield "JPEG optimized", encode(image, optimize=True)
    for quality in (1, 10, 60, 100):
        yield f"JPEG quality {quality}", encode(image, quality=quality)
    for name, text in json.loads(_RARE.read_text()).items():
        yield f"JPEG {name}", base64.b64decode(text)


def _marked_jpegs(image: Image.Image) -> Iterator[Encoding]:
    plain = encode(image)
    for orientation, endian in itertools.product(range(10), "<>"):
        yield f"JPEG EXIF {orientation} {endian}", insert(plain, exif(orientation, endian))
    for kind, endian in itertools.product((1, 2, 4, 5, 8, 9), "<>"):
        data = exif(6, endian, kind=kind)
        yield f"JPEG EXIF 6 {endian} as TIFF type {kind}", insert(plain, data)
    odd = {
        "of two values": exif(6, "<", count=2),
        "without values": exif(6, "<", count=0),
        "of more values than there are": exif(8, "<", kind=4, count=513),
        "named twice": exif(6, "<", tags=((0x0112, 6), (0x0112, 3))),
        "after 300 tags": exif(6, ">", tags=(*((n, 1) for n in range(0x8000, 0x812C)), (0x112, 6))),
        "cut off": exif(6, "<")[:-14],
        "without its zeros": exif(6, "<").replace(b"Exif\0\0", b"Exif\0A"),
        "of a strange byte order": exif(6, "<").replace(b"II", b"IM"),
        "of a strange version": exif(6, "<").replace(b"II*", b"II+"),
    }
    for name, data in odd.items():
        yield f"JPEG EXIF 6 {name}", insert(plain, data)
    yield "JPEG EXIF 6 then 3", insert(plain, exif(6, "<") + exif(3, "<"))
    yield "JPEG EXIF before JFIF", plain[:2] + exif(6, "<") + plain[2:]
    yield "JPEG EXIF after fill bytes", insert(plain, b"\xff\xff" + exif(6, "<"))
    yield "JPEG EXIF after the tables", insert(plain, exif(6, "<"), before=0xC0)
    yield "JPEG EXIF before the scan", insert(plain, exif(6, "<"), before=0xDA)
    for count in (1, 30, 80, 254):
        yield (
            f"JPEG EXIF after {count} comments",
            insert(plain, segment(0xFE, b"x") * count + exif(6, "<")),
        )
    yield "JPEG with 'Exif' in a comment", insert(plain, segment(0xFE, exif(6, "<")))
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + _XMP.encode()
    yield "JPEG XMP 6", insert(plain, segment(0xE1, xmp))
    yield "JPEG XMP 6, EXIF 1", insert(plain, segment(0xE1, xmp) + exif(1, "<"))
    yield "JPEG EXIF 8 after XMP 6", insert(plain, segment(0xE1, xmp) + exif(8, "<"))
    for name, profile in profiles().items():
        yield f"JPEG with {name} profile", encode(image, icc_profile=profile)
        yield f"JPEG CMYK with {name} profile", encode(_make_cmyk(image), icc_profile=profile)
        data = encode(image, icc_profile=profile, exif=exif(6, "<")[4:])
        yield f"JPEG with {name} profile and EXIF 6", data
    yield (
        "JPEG with 'Adobe' in a profile",
        insert(drop_segments(encode(_make_cmyk(image)), (0xEE,)), segment(0xE2, b"Adobe CMYK")),
    )
    yield (
        "JPEG CMYK with a short Adobe marker",
        insert(drop_segments(encode(_make_cmyk(image)), (0xEE,)), segment(0xEE, b"Adobe\0d")),
    )
    yield "JPEG with bytes at its end", plain + b"0123456789" * 3
    yield "JPEG with zeros at its end", plain + b"\0\0\r\n"
    yield "JPEG twice", plain + encode(image.rotate(180))
    yield "JPEG without its end", plain[:-2]
    yield "JPEG without its last 20 bytes", plain[:-20]
    yield "JPEG cut, with an end", plain[:-40] + b"\xff\xd9"
    yield "JPEG of 9 bits", patch(plain, plain.index(b"\xff\xc0") + 4, b"\x09")
    yield "JPEG after a line break", b"\n" + plain
    random = np.random.default_rng(3)
    start = plain.index(b"\xff\xda") + 14
    for place in random.integers(start, len(plain) - 4, 20):
        yield f"JPEG with byte {place} wrong", patch(plain, place, bytes([plain[place] ^ 0x55]))
    stream = io.BytesIO()
    image.save(stream, "MPO", save_all=True, append_images=[image.rotate(180)], quality=95)
    yield "JPEG of two (MPO)", stream.getvalue()


def _lossless_jpegs(image: Image.Image) -> Iterator[Encoding]:
    for predictor in range(1, 8):
        yield f"JPEG lossless grey {predictor}", lossless_jpeg(image.convert("L"), predictor)
        yield f"JPEG lossless colour {predictor}", lossless_jpeg(image, predictor)
    for bits in (2, 7, 9, 12, 16):
        yield f"JPEG lossless grey of {bits} bits", lossless_jpeg(image.convert("L"), 1, bits=bits)
        yield f"JPEG lossless colour of {bits} bits", lossless_jpeg(image, 1, bits=bits)
    yield "JPEG lossless RGB by Adobe", set_adobe(lossless_jpeg(image, 1), 0)


def _pngs(image: Image.Image) -> Iterator[Encoding]:
    depths = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for color, bits, interlaced in (
        (color, bits, interlaced)
        for color, many in depths.items()
        for bits in many
        for interlaced in (False, True)
    ):
        name = f"PNG type {color}, {bits} bits{', interlaced' * interlaced}"
        samples = png_samples(image, color, bits)
        palette = [chunk(b"PLTE", _palette(bits))] if color == 3 else []
        yield name, png(samples, color, bits, palette, interlaced=interlaced)
        if color in (0, 2, 3):
            key = _transparency(samples, color)
            yield (
                f"{name}, transparent",
                png(samples, color, bits, [*palette, key], interlaced=interlaced),
            )
    rgb = png_samples(image, 2, 8)
    extras = {
        "gamma 1.0": chunk(b"gAMA", struct.pack(">I", 100_000)),
        "gamma 1/2.2": chunk(b"gAMA", struct.pack(">I", 45_455)),
        "sRGB": chunk(b"sRGB", b"\0"),
        "chromaticities": chunk(b"cHRM", struct.pack(">8I", *[31_270, 32_900] * 4)),
        "significant bits": chunk(b"sBIT", b"\5\6\5"),
        "background": chunk(b"bKGD", b"\0\1\0\2\0\3"),
        "lengths": chunk(b"pHYs", struct.pack(">IIB", 3000, 1000, 1)),
        "text": chunk(b"tEXt", b"Comment\0tRNS eXIf Exif"),
        "XMP 6": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP.encode()),
        "unknown chunk": chunk(b"abCd", b"tRNS"),
        "HDR": chunk(b"cICP", b"\x09\x10\x00\x01"),
        "three sets of tags": chunk(b"tIME", b"\x07\xe8\1\1\1\1\1") * 3,
    }
    for name, profile in profiles().items():
        extras[f"{name} profile"] = chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))
    for orientation in range(1, 9):
        tags = exif(orientation, ">")[10:]
        extras[f"EXIF {orientation}"] = chunk(b"eXIf", tags)
        hexed = (b"Exif\0\0" + tags).hex().encode()
        raw = b"\nexif\n" + str(len(tags) + 6).rjust(8).encode() + b"\n" + hexed + b"\n"
        extras[f"raw EXIF {orientation}"] = chunk(
            b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw)
        )
    for name, extra in extras.items():
        yield f"PNG with {name}", png(rgb, 2, 8, [extra])
        if "EXIF" in name or "gamma" in name or "profile" in name:
            yield f"PNG grey with {name}", png(png_samples(image, 0, 8), 0, 8, [extra])
            yield f"PNG with alpha and {name}", png(png_samples(image, 6, 8), 6, 8, [extra])
        if "EXIF" in name:
            yield f"PNG with {name} at its end", png(rgb, 2, 8, [], after=[extra])
    for kind in range(5):
        yield f"PNG of filter {kind}", png(rgb, 2, 8, [], filtered=kind)
    yield "PNG in many parts", png(rgb, 2, 8, [], part=7)
    yield (
        "PNG after 200 chunks, transparent",
        png(rgb, 2, 8, [chunk(b"tEXt", b"a\0b")] * 200 + [_transparency(rgb, 2)]),
    )
    short = png_samples(image, 3, 8)
    yield "PNG of a short palette", png(short, 3, 8, [chunk(b"PLTE", _palette(8)[: 3 * 20])])
    yield (
        "PNG of a short palette, opaque",
        png(short % 20, 3, 8, [chunk(b"PLTE", _palette(8)[: 3 * 20])]),
    )
    yield "PNG without a palette", png(short, 3, 8, [])
    yield "PNG RGB with a palette", png(rgb, 2, 8, [chunk(b"PLTE", _palette(8))])
    late = png(rgb, 2, 8, [], after=[_transparency(rgb, 2)])
    yield "PNG with transparency after its pixels", late
    plain = png(rgb, 2, 8, [])
    yield "PNG without its end", plain[:-12]
    yield "PNG with bytes at its end", plain + b"0123456789"
    yield "PNG with a wrong checksum of its pixels", patch(plain, plain.index(b"IEND") - 5, b"!")
    yield "PNG with a wrong checksum of its header", patch(plain, 30, b"!")
    yield "PNG with too few pixels", png(rgb[:-3], 2, 8, [], height=HEIGHT)
    yield "PNG with too many pixels", png(np.concatenate([rgb, rgb]), 2, 8, [], height=HEIGHT)
    for frames in (1, 2):
        stream = io.BytesIO()
        more = [image.rotate(180)] * frames
        image.save(stream, "PNG", save_all=True, append_images=more, default_image=frames == 1)
        yield f"PNG animated {frames}", stream.getvalue()


def _gifs(image: Image.Image) -> Iterator[Encoding]:
    palette = image.quantize(30)
    clear = palette.copy()
    clear.info["transparency"] = int(np.asarray(clear)[3, 5])
    for name, variant in {"palette": palette, "grey": image.convert("L"), "clear": clear}.items():
        for interlace in (0, 1):
            yield f"GIF {name} interlaced {interlace}", encode(variant, "GIF", interlace=interlace)
    unused = palette.copy()
    unused.info["transparency"] = 31
    yield "GIF with an unused transparent colour", encode(unused, "GIF")
    yield "GIF with a background", encode(palette, "GIF", background=3)
    yield "GIF with a comment", encode(palette, "GIF", comment=b"x" * 600)
    for disposal in range(4):
        yield (
            f"GIF animated {disposal}",
            encode(
                palette,
                "GIF",
                save_all=True,
                append_images=[palette.rotate(180)],
                disposal=disposal,
                duration=40,
            ),
        )
    plain = encode(palette, "GIF")
    yield "GIF of a larger screen", patch(plain, 6, struct.pack("<HH", WIDTH + 4, HEIGHT + 3))
    yield "GIF of a smaller screen", patch(plain, 6, struct.pack("<HH", WIDTH - 4, HEIGHT - 3))
    yield (
        "GIF of a larger screen, clear",
        patch(encode(clear, "GIF"), 6, struct.pack("<HH", WIDTH + 4, HEIGHT + 3)),
    )
    yield "GIF87a", patch(plain, 0, b"GIF87a")
    yield "GIF with an unknown version", patch(plain, 0, b"GIF88a")
    yield "GIF without its end", plain[:-1]
    yield "GIF cut off", plain[:-40]
    yield "GIF without colours", _gif_without_colors(plain)
    yield "GIF with half of its colours", _gif_with_few_colors(image)


def _bmps(image: Image.Image) -> Iterator[Encoding]:
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"BMP {mode}", encode(image.convert(mode), "BMP")
    alpha = image.convert("RGBA")
    alpha.putalpha(image.convert("L"))
    yield "BMP RGBA with alpha", encode(alpha, "BMP")
    pixels = np.asarray(image)[:, :, ::-1]
    for bits, upside, size in itertools.product((24, 32), (1, -1), (40, 52, 56, 108, 124)):
        fourth = np.full((HEIGHT, WIDTH, 1), 77, np.uint8)
        stored = pixels if bits == 24 else np.concatenate([pixels, fourth], axis=2)
        rows = b"".join(
            row.tobytes().ljust(-(-row.size // 4) * 4, b"\0") for row in stored[::-upside]
        )
        sizes = struct.pack("<IiiHHIIiiII", size, WIDTH, upside * HEIGHT, 1, bits, 0, 0, 0, 0, 0, 0)
        header = sizes.ljust(size, b"\0")
        start = 14 + size
        head = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start)
        yield f"BMP {bits} bits, header {size}, {upside}", head + header + rows
        if bits == 32 and size > 40:
            fields = bytearray(header)
            fields[16:20] = struct.pack("<I", 3)
            fields[40:52] = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
            yield f"BMP bit fields, header {size}, {upside}", head + bytes(fields) + rows
    plain = encode(image, "BMP")
    core = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24)
    yield "BMP of OS/2", b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + core + plain[54:]
    late = plain[:10] + struct.pack("<I", 60) + plain[14:54] + b"\0" * 6 + plain[54:]
    yield "BMP with a gap before its pixels", late
    yield "BMP cut off", plain[:-30]
    yield "BMP with an unknown header", patch(plain, 14, struct.pack("<I", 7_929_896))
    yield "BMP that says its pixels start later", patch(plain, 10, struct.pack("<I", 400))
    yield "BMP with bytes at its end", plain + b"123"
    five = (pixels >> 3).astype(np.uint16)
    words = (five[..., 2] << 10 | five[..., 1] << 5 | five[..., 0])[::-1]
    rows = b"".join(row.tobytes().ljust(-(-row.size * 2 // 4) * 4, b"\0") for row in words)
    yield "BMP 16 bits", plain[:28] + struct.pack("<H", 16) + plain[30:54] + rows


def _others(image: Image.Image) -> Iterator[Encoding]:
    alpha = image.convert("RGBA")
    alpha.putalpha(image.convert("L"))
    for compression in (
        "raw",
        "tiff_lzw",
        "tiff_deflate",
        "packbits",
        "jpeg",
        "tiff_adobe_deflate",
    ):
        modes = {"RGB": image, "L": image.convert("L"), "CMYK": _make_cmyk(image)}
        for mode, variant in modes.items():
            yield f"TIFF {mode} {compression}", encode(variant, "TIFF", compression=compression)
    for mode in ("1", "P", "LAB", "YCbCr"):
        yield f"TIFF {mode}", encode(image.convert(mode) if mode != "LAB" else _lab(image), "TIFF")
    yield "TIFF RGBA", encode(alpha, "TIFF")
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    yield "TIFF 16 bits", encode(deep, "TIFF")
    yield "TIFF 32 bits", encode(image.convert("I"), "TIFF")
    yield "TIFF floats", encode(image.convert("F"), "TIFF")
    for orientation in range(1, 9):
        yield f"TIFF turned {orientation}", encode(image, "TIFF", tiffinfo={0x0112: orientation})
        tags = Image.Exif()
        tags[0x0112] = orientation
        yield f"WebP turned {orientation}", encode(image, "WEBP", exif=tags, lossless=True)
    kinds: dict[str, dict[str, Any]] = {"lossy": {"quality": 80}, "lossless": {"lossless": True}}
    for name, options in kinds.items():
        yield f"WebP {name}", encode(image, "WEBP", **options)
        yield f"WebP {name} with alpha", encode(alpha, "WEBP", **options)
    yield (
        "WebP animated",
        encode(image, "WEBP", save_all=True, append_images=[image.rotate(180)], lossless=True),
    )
    for kind in ("JPEG2000", "PPM", "TGA", "ICO", "AVIF", "PCX"):
        if kind != "AVIF" or features.check("avif"):
            yield kind, encode(image, kind)


def _make_cmyk(image: Image.Image) -> Image.Image:
    """CMYK with black in it, which Pillow's own conversion leaves out."""
    pixels = np.array(image.convert("CMYK"))
    pixels[..., 3] = np.asarray(image.convert("L")) // 3
    return Image.merge("CMYK", [Image.fromarray(pixels[..., place]) for place in range(4)])


def _lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    found = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
    assert found is not None
    return found


def profiles() -> dict[str, bytes]:
    """ICC profiles: sRGB, one with wide primaries, one in several segments."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide = bytearray(srgb)
    for tag, xyz in {b"rXYZ": (0.7977, 0.2880, 0.0), b"gXYZ": (0.1352, 0.7119, 0.0)}.items():
        at = wide.index(tag)  # ProPhoto's red and green
        (start,) = struct.unpack(">I", wide[at + 4 : at + 8])
        wide[start + 8 : start + 20] = struct.pack(">3i", *(round(65536 * v) for v in xyz))
    return {"sRGB": srgb, "wide": bytes(wide), "large": srgb + b"Exif Adobe tRNS" * 14_000}


def segment(marker: int, payload: bytes) -> bytes:
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def exif(
    orientation: int,
    endian: str,
    *,
    kind: int = 3,
    count: int = 1,
    tags: Sequence[tuple[int, int]] | None = None,
) -> bytes:
    """An EXIF segment; of ``tags``, (number, value), instead of an orientation alone."""
    form = {1: "B3x", 2: "B3x", 3: "H2x", 4: "I", 5: "I", 8: "h2x", 9: "i"}[kind]
    tags = ((0x0112, orientation),) if tags is None else tags
    entries = b"".join(
        struct.pack(f"{endian}HHI{form}", tag, kind, count, value) for tag, value in tags
    )
    start = (b"II*\0" if endian == "<" else b"MM\0*") + struct.pack(f"{endian}IH", 8, len(tags))
    return segment(0xE1, b"Exif\0\0" + start + entries + b"\0\0\0\0" + b"\0\0\0\6\0\0\0\1")


def insert(jpeg: bytes, extra: bytes, *, before: int = 0xDB) -> bytes:
    """A JPEG with more bytes before its first segment of a kind."""
    for marker, start, _ in split_segments(jpeg):
        if marker == before:
            return jpeg[:start] + extra + jpeg[start:]
    raise ValueError(f"no segment {before:#x}")


def drop_segments(jpeg: bytes, markers: Sequence[int]) -> bytes:
    """A JPEG without its segments of some kinds."""
    kept = jpeg[:2]
    end = 2
    for marker, start, end in split_segments(jpeg):
        kept += b"" if marker in markers else jpeg[start:end]
    return kept + jpeg[end:]


def set_adobe(jpeg: bytes, transform: int) -> bytes:
    """A JPEG whose colours are what an Adobe marker says: 0 none, 1 YCbCr, 2 YCCK."""
    marker = segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))
    bare = drop_segments(jpeg, (0xE0, 0xEE))
    return bare[:2] + marker + bare[2:]


def rename_components(jpeg: bytes, names: Sequence[int]) -> bytes:
    """A JPEG whose components have other numbers."""
    data = bytearray(jpeg)
    for marker, start, _ in split_segments(jpeg):
        if marker in (0xC0, 0xC2):
            count = data[start + 9]
            old = [data[start + 10 + 3 * place] for place in range(count)]
            for place in range(count):
                data[start + 10 + 3 * place] = names[place]
        if marker == 0xDA:
            for place in range(data[start + 4]):
                at = start + 5 + 2 * place
                data[at] = names[old.index(data[at])]
    return bytes(data)


def split_segments(jpeg: bytes) -> list[tuple[int, int, int]]:
    """(marker, start, end) of the segments up to the first scan's header."""
    found, start = [], 2
    while True:
        marker, length = struct.unpack(">xBH", jpeg[start : start + 4])
        found.append((marker, start, start + 2 + length))
        if marker == 0xDA:
            return found
        start += 2 + length


def patch(data: bytes, place: int, new: bytes) -> bytes:
    """Bytes with some of them overwritten."""
    return data[:place] + new + data[place + len(new) :]


def lossless_jpeg(image: Image.Image, predictor: int, *, bits: int = 8) -> bytes:
    """A lossless JPEG (process 14): ITU T.81, annex H."""
    samples = np.asarray(image).astype(np.int64)
    samples = samples.reshape(*samples.shape[:2], -1)
    samples = samples << (bits - 8) if bits > 8 else samples >> (8 - bits)
    height, width, count = samples.shape
    out = []
    for y, x, c in itertools.product(range(height), range(width), range(count)):
        left = int(samples[y, x - 1, c]) if x else 0
        up = int(samples[y - 1, x, c]) if y else 0
        corner = int(samples[y - 1, x - 1, c]) if x and y else 0
        if not x and not y:
            guess = 1 << (bits - 1)
        elif not y:
            guess = left
        elif not x:
            guess = up
        else:
            guess = {
                1: left,
                2: up,
                3: corner,
                4: left + up - corner,
                5: left + ((up - corner) >> 1),
                6: up + ((left - corner) >> 1),
                7: (left + up) >> 1,
            }[predictor]
        difference = (int(samples[y, x, c]) - guess + 32768) % 65536 - 32768
        size = abs(difference).bit_length()
        # A table in which each of 17 sizes has five bits.
        out.append(f"{size:05b}")
        if 0 < size < 16:
            value = difference if difference > 0 else difference + (1 << size) - 1
            out.append(f"{value:0{size}b}")
    text = "".join(out)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11]) + bytes(range(17))
    frame = struct.pack(">BHHB", bits, height, width, count)
    frame += b"".join(bytes([place + 1, 0x11, 0]) for place in range(count))
    head = bytes([count]) + b"".join(bytes([place + 1, 0]) for place in range(count))
    return (
        b"\xff\xd8"
        + segment(0xC4, table)
        + segment(0xC3, frame)
        + segment(0xDA, head + bytes([predictor, 0, 0]))
        + scan
        + b"\xff\xd9"
    )


def chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_samples(image: Image.Image, color: int, bits: int) -> np.ndarray:
    """Samples (h, w, channels) of a PNG of a colour type, as large as its bits allow."""
    rgb = np.asarray(image).astype(np.int64)
    grey = np.asarray(image.convert("L")).astype(np.int64)[..., np.newaxis]
    alpha = 255 - grey
    channels = {
        0: grey,
        2: rgb,
        3: grey,
        4: np.concatenate([grey, alpha], axis=2),
        6: np.concatenate([rgb, alpha], axis=2),
    }[color]
    if bits == 16:
        return channels * 256 + 200  # the lower byte must not round the upper one up
    return channels >> (8 - bits)


def png(
    samples: np.ndarray,
    color: int,
    bits: int,
    extras: Sequence[bytes],
    *,
    after: Sequence[bytes] = (),
    interlaced: bool = False,
    filtered: int = 0,
    part: int = 1 << 30,
    height: int | None = None,
) -> bytes:
    """A PNG file, every chunk written here: PNG specification, sections 7 to 11."""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [
            (0, 0, 8, 8),
            (0, 4, 8, 8),
            (4, 0, 8, 4),
            (0, 2, 4, 4),
            (2, 0, 4, 2),
            (0, 1, 2, 2),
            (1, 0, 2, 1),
        ]
    rows = []
    for top, left, down, across in passes:
        above = b""
        for row in samples[top::down, left::across]:
            if row.size:
                packed = _pack(row.ravel(), bits)
                step = max(1, samples.shape[2] * bits // 8)
                rows.append(_filter(packed, above or bytes(len(packed)), filtered, step))
                above = packed
    pixels = zlib.compress(b"".join(rows))
    header = struct.pack(
        ">IIBBBBB", samples.shape[1], height or samples.shape[0], bits, color, 0, 0, interlaced
    )
    data = [chunk(b"IDAT", pixels[at : at + part]) for at in range(0, len(pixels), part)]
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *extras, *data, *after, chunk(b"IEND", b"")]
    )


def _pack(values: np.ndarray, bits: int) -> bytes:
    if bits >= 8:
        return values.astype({8: ">u1", 16: ">u2"}[bits]).tobytes()
    text = "".join(f"{value:0{bits}b}" for value in values)
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def _filter(row: bytes, above: bytes, kind: int, step: int) -> bytes:
    raw = np.frombuffer(row, np.uint8).astype(int)
    up = np.frombuffer(above, np.uint8).astype(int)
    left = np.concatenate([np.zeros(step, int), raw[:-step]])
    corner = np.concatenate([np.zeros(step, int), up[:-step]])
    guess = left + up - corner
    distances = np.abs(np.stack([guess - left, guess - up, guess - corner]))
    paeth = np.take_along_axis(np.stack([left, up, corner]), distances.argmin(0)[None], 0)[0]
    taken = [np.zeros_like(raw), left, up, (left + up) // 2, paeth][kind]
    return bytes([kind]) + ((raw - taken) % 256).astype(np.uint8).tobytes()


def _palette(bits: int) -> bytes:
    random = np.random.default_rng(11)
    return random.integers(0, 256, (2**bits, 3), dtype=np.uint8).tobytes()


def _transparency(samples: np.ndarray, color: int) -> bytes:
    """The tRNS chunk that makes the colour of one pixel transparent."""
    values = [int(value) for value in samples[3, 5]]
    if color == 3:
        return chunk(b"tRNS", bytes([255] * values[0] + [60]))
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


def _gif_without_colors(gif: bytes) -> bytes:
    length = 3 * 2 ** (gif[10] % 8 + 1)
    return gif[:10] + bytes([gif[10] & 0x70]) + gif[11:13] + gif[13 + length :]


def _gif_with_few_colors(image: Image.Image) -> bytes:
    """A GIF whose pixels name colours that its table does not hold."""
    gif = encode(image.quantize(256), "GIF")
    return gif[:10] + bytes([gif[10] & 0xF8 | 5]) + gif[11 : 13 + 3 * 64] + gif[13 + 3 * 256 :]
