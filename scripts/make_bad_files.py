"""Writes a corpus of bad images and broken tables, and what tfskin has to say to each.

Example: python scripts/make_bad_files.py FOLDER && tfskin-audit table FOLDER/images.csv

FOLDER/images/ holds the images, FOLDER/tables/<name>/ a broken table each, and
FOLDER/expected.csv a line each: what comes of it ("decoded", with what is unusual; "listed", with
the reason; "refused", with the error) as a regular expression.
"""

import argparse
import csv
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 36)


@dataclass(frozen=True)
class BadImage:
    """A file: its bytes; whether it is decoded; a regular expression for what is said of it."""

    data: bytes
    decoded: bool
    said: str


@dataclass(frozen=True)
class BadTable:
    """A layout: its source, its files, and a regular expression for the error."""

    source: str
    files: dict[str, bytes]
    said: str


def draw(seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    """A smooth random RGB image."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of an image."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def make_png(
    rows: bytes, *, size: tuple[int, int] = SIZE, bits: int = 8, colour: int = 2, end: bool = True
) -> bytes:
    """A PNG of raw rows (a filter byte each), whatever they are."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0))
    parts = [b"\x89PNG\r\n\x1a\n", header, chunk(b"IDAT", zlib.compress(rows))]
    return b"".join([*parts, chunk(b"IEND", b"")] if end else parts)


def flip_byte(data: bytes, after: bytes, offset: int) -> bytes:
    """The same with one bit changed, so far behind a mark."""
    changed = bytearray(data)
    changed[data.index(after) + len(after) + offset] ^= 1
    return bytes(changed)


def claim_size(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    place = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:place] + struct.pack(">HH", height, width) + jpeg[place + 4 :]


def list_images() -> dict[str, BadImage]:
    """File name -> the image and what comes of it."""
    return {**_no_images(), **_damaged(), **_too_large(), **_unusual()}


def _no_images() -> dict[str, BadImage]:
    noise = np.random.default_rng(1).integers(0, 256, 900, dtype=np.uint8).tobytes()
    unknown = r"is no image that Pillow knows; download it again"
    contents = {
        "web_page.jpg": (b"<!DOCTYPE html><html>404 Not Found</html>", "is a web page or XML"),
        "xml_error.png": (b"\n <?xml version='1.0'?><Error/>", "is a web page or XML"),
        "drawing.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is a web page or XML"),
        "empty.jpg": (b"", "is empty; download it again"),
        "table.jpg": (b"image_id,dx\nISIC_1,nv\n", unknown),
        "json_error.jpg": (b'{"detail": "Not found."}', unknown),
        "archive.jpg": (b"PK\x03\x04" + noise, unknown),
        "document.jpg": (b"%PDF-1.7\n" + noise, unknown),
        "git_lfs_pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\n", unknown),
        "zeros.jpg": (bytes(2000), unknown),
        "noise.png": (noise, unknown),
        "dicom.jpg": (bytes(128) + b"DICM" + noise, unknown),
        "heic.jpg": (b"\0\0\0\x18ftypheic" + noise, unknown),
        "postscript.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", unknown),
        "portable_pixmap.png": (encode(draw(2), "PPM"), unknown),
        "first_bytes_only.jpg": (b"\xff\xd8\xff", r"is no image|is cut off or damaged"),
    }
    return {name: BadImage(data, False, said) for name, (data, said) in contents.items()}


def _damaged() -> dict[str, BadImage]:
    jpeg = encode(draw(3), "JPEG", quality=95)
    progressive = encode(draw(4), "JPEG", quality=95, progressive=True)
    png = encode(draw(5), "PNG")
    frames = [draw(6), draw(7)]
    webp = encode(draw(8), "WEBP", quality=90)
    tiff = encode(draw(9), "TIFF", compression="tiff_lzw")
    bmp, gif = encode(draw(10), "BMP"), encode(frames[0], "GIF")
    wide = flip_byte(png, b"IHDR", 3)
    contents = {
        "half.jpg": jpeg[: len(jpeg) // 2],
        "nearly_whole.jpg": jpeg[: len(jpeg) * 19 // 20],
        "half_progressive.jpg": progressive[: len(progressive) // 2],
        "half.png": png[: len(png) // 2],
        "half.webp": webp[: len(webp) // 2],
        "half.tif": tiff[: len(tiff) // 2],
        "half.bmp": bmp[: len(bmp) // 2],
        "half_a_gif.jpg": gif[: len(gif) // 2],
        "no_end_chunk.png": make_png(_rows(3), end=False),
        "wrong_checksum_of_pixels.png": flip_byte(make_png(_rows(3)), b"IDAT", 9),
        "wrong_checksum_of_header.png": wide,
        "too_few_rows.png": make_png(_rows(3)[:300]),
        "zeros_from_the_middle.jpg": jpeg[: len(jpeg) // 3] + bytes(len(jpeg) * 2 // 3),
    }
    said = r"is cut off or damaged|is no image"
    return {name: BadImage(data, False, said) for name, data in contents.items()}


def _rows(samples: int) -> bytes:
    """Raw rows of an image of :data:`SIZE` with so many bytes a pixel."""
    return (b"\0" + bytes(place % 256 for place in range(SIZE[0] * samples))) * SIZE[1]


def _too_large() -> dict[str, BadImage]:
    said = r"has \d+ x \d+ pixels, and|has too many pixels, maybe as an attack; shrink it"
    jpeg = encode(draw(11), "JPEG")
    return {
        "bomb.png": BadImage(make_png(b"", size=(60_000, 60_000)), False, said),
        "smaller_bomb.png": BadImage(make_png(b"", size=(10_000, 10_000)), False, said),
        "bomb.jpg": BadImage(claim_size(jpeg, 65_500, 65_500), False, said),
        "one_pixel.png": BadImage(encode(draw(11).resize((1, 1)), "PNG"), False, said),
        "one_column.png": BadImage(encode(draw(11).resize((1, 900)), "PNG"), False, said),
        "grey_of_32_bits.tif": BadImage(
            encode(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"), False, "grey of 32 bits"
        ),
        "whole_numbers_of_32_bits.tif": BadImage(
            encode(Image.fromarray(np.ones((9, 9), np.int32)), "TIFF"), False, "grey of 32 bits"
        ),
    }


def _unusual() -> dict[str, BadImage]:
    image, frames = draw(12), [draw(13), draw(14)]
    jpeg = encode(draw(15), "JPEG", quality=95)
    turned, senseless = Image.Exif(), Image.Exif()
    turned[0x0112], senseless[0x0112] = 6, 99
    palette = draw(16).convert("P")
    more = {"save_all": True, "append_images": frames[1:]}
    levels = np.tile(np.linspace(0, 65535, 48).astype(np.uint16), (36, 1))
    contents = {
        "cmyk.jpg": (encode(draw(17).convert("CMYK"), "JPEG"), "CMYK"),
        "cmyk.tif": (encode(draw(18).convert("CMYK"), "TIFF"), "CMYK"),
        "grey.jpg": (encode(draw(19).convert("L"), "JPEG"), "grey"),
        "grey_of_16_bits.png": (encode(Image.fromarray(levels), "PNG"), "16 bits a channel"),
        "colour_of_16_bits.png": (make_png(_rows(6), bits=16), "16 bits a channel"),
        "black_and_white.png": (encode(draw(20).convert("1"), "PNG"), "black and white"),
        "palette.png": (encode(palette, "PNG"), "palette"),
        "transparent_palette.png": (encode(palette, "PNG", transparency=0), "transparent"),
        "transparent.png": (encode(_fade(draw(21)), "PNG"), "transparent"),
        "transparent.webp": (encode(_fade(draw(22)), "WEBP"), "transparent"),
        "grey_and_transparent.png": (encode(_fade(draw(23)).convert("LA"), "PNG"), "transparent"),
        "animated_gif.png": (encode(frames[0], "GIF", **more), r"animated.*a GIF named \.png"),
        "animated.png": (encode(frames[0], "PNG", **more), "animated"),
        "animated.webp": (encode(frames[0], "WEBP", **more), "animated"),
        "two_pages.tif": (encode(frames[0], "TIFF", **more), "animated"),
        "turned.jpg": (encode(draw(24), "JPEG", exif=turned), "turned by EXIF"),
        "turned.png": (encode(draw(25), "PNG", exif=turned), "turned by EXIF"),
        "senseless_turn.jpg": (encode(draw(26), "JPEG", exif=senseless), "turned by EXIF"),
        "broken_exif.jpg": (_insert(jpeg, b"\xff\xe1", b"Exif\0\0II*\0\xff\xff\xff\xff"), ""),
        "png_named.jpg": (encode(draw(27), "PNG"), r"a PNG named \.jpg"),
        "jpeg_named.png": (encode(draw(28), "JPEG"), r"a JPEG named \.png"),
        "bmp_named.jpeg": (encode(draw(29), "BMP"), r"a BMP named \.jpeg"),
        "words_behind_the_end.jpg": (jpeg + b"words of a camera", "no end marker"),
        "smallest.png": (encode(image.resize((8, 8)), "PNG"), ""),
        "narrowest.png": (encode(image.resize((8, 160)), "PNG"), ""),
        "long_comment.jpg": (_insert(jpeg, b"\xff\xfe", b"x" * 60_000), ""),
    }
    return {name: BadImage(data, True, said) for name, (data, said) in contents.items()}


def _fade(image: Image.Image) -> Image.Image:
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def _insert(jpeg: bytes, marker: bytes, data: bytes) -> bytes:
    """A JPEG with one more segment behind its first mark."""
    return jpeg[:2] + marker + struct.pack(">H", len(data) + 2) + data + jpeg[2:]


def list_tables() -> dict[str, BadTable]:
    """Name -> broken table and what is said of it; images ``a.jpg`` and ``b.jpg`` lie beside."""
    return {**_broken_csv(), **_wrong_values(), **_wrong_challenges()}


def _broken_csv() -> dict[str, BadTable]:
    contents = {
        "empty": (b"", "first line is empty; it must hold the column names"),
        "blank_first_line": (b"\npath,label\na.jpg,x\n", "first line is empty"),
        "header_only": (b"path,label\n", "no row under the header"),
        "latin_1": ("path,label\na.jpg,N\xe6vus\n".encode("latin-1"), "not a CSV file in UTF-8"),
        "utf_16": ("path,label\na.jpg,x\n".encode("utf-16"), "not a CSV file in UTF-8"),
        "spreadsheet": (b"PK\x03\x04\x14\x00\x06\x00\x08\x00!\x00\xff\xfe", "not a CSV file"),
        "nul_bytes": (b"path,label\na.jpg,x\n\0\0\0\0,\0\0\n", "line 3 holds NUL bytes; copy"),
        "cut_off": (b"path,label,sex\na.jpg,x,male\nb.jp", "line 3 has 1 fields, the header has 3"),
        "too_many_fields": (b"path,label\na.jpg,x\nb.jpg,y,z\n", "line 3 has 3 fields"),
        "open_quote": (b'path,label\na.jpg,x\nb.jpg,"y\n', "line 3.*quotation marks"),
        "column_twice": (b"path,label,label\na.jpg,x,y\n", "column 'label' stands there twice"),
        "no_label_column": (b"path,lable\na.jpg,x\n", "no column 'label'.*found: path, lable"),
        "no_path_column": (b"photo,label\na.jpg,x\n", "no column 'path'.*found: photo, label"),
    }
    return {
        name: BadTable("table", {"table.csv": data}, said)
        for name, (data, said) in contents.items()
    }


def _wrong_values() -> dict[str, BadTable]:
    head = "image_id,path,label,age,split"
    rows = {
        "empty_label": ("i,a.jpg,,50,\n", "line 2: 'label' is empty; fill it in"),
        "empty_path": ("i,,x,50,\n", "line 2: 'path' is empty; fill it in"),
        "missing_image": ("i,c.jpg,x,50,\n", r"line 2: there is no image .*c\.jpg; put it"),
        "path_is_a_folder": ("i,.,x,50,\n", "line 2: there is no image"),
        "id_twice": ("i,a.jpg,x,50,\ni,b.jpg,y,50,\n", "image_id 'i' stands in more than one row"),
        "id_climbs_out": ("../../i,a.jpg,x,50,\n", r"image_id '\.\./\.\./i' is a path; use a"),
        "id_climbs_out_windows": ("..\\i,a.jpg,x,50,\n", "is a path; use a plain name"),
        "id_is_dots": ("..,a.jpg,x,50,\n", r"image_id '\.\.' is a path"),
        "id_with_control_characters": ("i\x07,a.jpg,x,50,\n", "holds control characters; rename"),
        "age_in_words": ("i,a.jpg,x,fifty,\n", "image 'i': age 'fifty' is no number; write years"),
        "unknown_split": ("i,a.jpg,x,50,dev\n", "line 2: split 'dev' is none of train, val, test"),
    }
    return {
        name: BadTable("table", {"table.csv": f"{head}\n{text}".encode()}, said)
        for name, (text, said) in rows.items()
    }


def _wrong_challenges() -> dict[str, BadTable]:
    truth = "ISIC2018_Task3_Training_GroundTruth.csv"
    classes = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    ham, of_2016 = "HAM10000_metadata.csv", "ISBI2016_ISIC_Part3_Training_GroundTruth.csv"
    contents = {
        "two_truths": ("isic_2018", truth, f"{classes}a,1,1,0,0,0,0,0\n", "line 2: 2 of .* are 1"),
        "no_truth": ("isic_2018", truth, f"{classes}a,0,0,0,0,0,0,0\n", "line 2: 0 of .* are 1"),
        "half_a_truth": ("isic_2018", truth, f"{classes}a,.5,0,0,0,0,0,0\n", r"'MEL' is '\.5'"),
        "truth_without_image": (
            "isic_2018",
            truth,
            f"{classes}c,1,0,0,0,0,0,0\n",
            "line 2: no image of 'c'",
        ),
        "word_for_a_label": ("isic_2016", of_2016, "a,maybe\n", "line 1: label 'maybe' is none of"),
        "no_table": ("isic_2019", "readme.txt", "?", "no ISIC_2019.* in this folder"),
        "ham_without_dx": ("ham10000", ham, "lesion_id,image_id\nl,a\n", "no column 'dx'"),
        "ham_id_twice": (
            "ham10000",
            ham,
            "lesion_id,image_id,dx\nl,a,nv\nl,a,nv\n",
            r"'a' stands in more than one row \(lines 2 and 3\)",
        ),
        "archive_without_id": ("isic_archive", "metadata.csv", "id,diagnosis\na,nevus\n", "no col"),
        "archive_without_diagnosis": (
            "isic_archive",
            "metadata.csv",
            "isic_id,sex\na,male\n",
            "no column|no image has a diagnosis",
        ),
    }
    return {
        name: BadTable(source, {file: text.encode()}, said)
        for name, (source, file, text, said) in contents.items()
    }


def write_images(folder: Path) -> Path:
    """The table ``images.csv`` of all images, written with them; every other one a class."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "images.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["image_id", "path", "label"])
        for number, (name, image) in enumerate(list_images().items()):
            (folder / "images" / name).write_bytes(image.data)
            table.writerow([name.replace(".", "_"), f"images/{name}", "ab"[number % 2]])
    return folder / "images.csv"


def write_table(folder: Path, table: BadTable) -> None:
    """Write a broken table, and two sound images beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in table.files.items():
        (folder / name).write_bytes(data)
    for number, name in enumerate(("a.jpg", "b.jpg")):
        (folder / name).write_bytes(encode(draw(number), "JPEG"))


def main() -> None:
    """Write everything into the folder that is given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    write_images(folder)
    rows = [
        ["images/" + name, "decoded" if image.decoded else "listed", image.said]
        for name, image in list_images().items()
    ]
    for name, table in list_tables().items():
        write_table(folder / "tables" / name, table)
        rows.append([f"tables/{name}", f"refused by {table.source}", table.said])
    with (folder / "expected.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["what", "outcome", "said"], *rows])
    print(f"{folder}: {len(list_images())} images, {len(list_tables())} tables")


if __name__ == "__main__":
    main()
