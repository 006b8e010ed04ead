import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.datasets.tiny import make_image
from tests.serving.encodings import lossless_jpeg
from tfskin.datasets.decoder import decodes_to
from tfskin.datasets.images import encode_image, examine_image, map_images, read_image
from tfskin.errors import UserError


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def store(path: Path, *, max_side: int = 64) -> Image.Image:
    return Image.open(BytesIO(encode_image(path, max_side=max_side, jpeg_quality=95).data))


def max_difference(first: Image.Image, second: Image.Image) -> int:
    pair = [np.asarray(image.convert("RGB")).astype(int) for image in (first, second)]
    return int(np.abs(pair[0] - pair[1]).max())


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_small_plain_image_keeps_its_bytes(tmp_path, name):
    path = save(tmp_path / name, make_image(0))
    stored = encode_image(path, max_side=40, jpeg_quality=95)
    assert stored.data == path.read_bytes()
    assert (stored.width, stored.height) == (40, 30)


def test_a_large_image_is_shrunk_to_max_side_and_keeps_its_shape(tmp_path):
    path = save(tmp_path / "a.png", make_image(1, size=(30, 400)))
    stored = encode_image(path, max_side=100, jpeg_quality=95)
    image = Image.open(BytesIO(stored.data))
    assert image.format == "JPEG"
    assert image.size == (8, 100)
    assert (stored.width, stored.height) == (30, 400)


def test_shrinking_does_not_alias(tmp_path):
    stripes = np.zeros((200, 200, 3), np.uint8)
    stripes[:, ::2] = 255
    path = save(tmp_path / "a.png", Image.fromarray(stripes))
    pixels = np.asarray(store(path, max_side=50))
    assert abs(pixels[5:-5, 5:-5].astype(float) - 127.5).max() < 4


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((1, 1), "has 1 x 1 pixels, and 8 are the smallest side"),
        ((7, 100), "8 are the smallest side"),
        ((8, 161), "one side may be 20 times as long as the other"),
        ((4000, 1), "has 4000 x 1 pixels"),
    ],
)
@pytest.mark.parametrize("read", [read_image, examine_image, store])
def test_a_size_that_cannot_be_served_is_refused_everywhere(tmp_path, size, said, read):
    path = save(tmp_path / "a.png", Image.new("RGB", size))
    with pytest.raises(UserError, match=said):
        read(path)


def test_the_smallest_sizes_that_are_taken(tmp_path):
    assert store(save(tmp_path / "a.png", Image.new("RGB", (8, 160)))).size == (3, 64)
    assert store(save(tmp_path / "b.png", Image.new("RGB", (8, 8)))).size == (8, 8)


def test_more_pixels_than_are_served_are_refused(tmp_path):
    path = save(tmp_path / "a.png", Image.new("1", (8000, 6251)))
    with pytest.raises(
        UserError, match=r"has 8000 x 6251 pixels, and 50 million in all are the most; shrink it"
    ):
        read_image(path)


def test_what_the_decoder_of_training_cannot_read_is_encoded_anew_and_said(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(lossless_jpeg(make_image(0), 1))
    assert max_difference(read_image(path), make_image(0)) == 0
    assert examine_image(path).oddities == ("lossless JPEG",)
    stored = encode_image(path, max_side=64, jpeg_quality=95).data
    assert stored != path.read_bytes()
    assert decodes_to(stored, np.asarray(Image.open(BytesIO(stored))))
    assert not decodes_to(path.read_bytes(), np.asarray(make_image(0)))


def test_an_orientation_in_xmp_turns_nothing(tmp_path):
    xmp = b'<x tiff:Orientation="6"/>'
    for name in ("a.jpg", "a.webp", "a.tif"):
        options = {"tiffinfo": {700: xmp}} if name == "a.tif" else {"xmp": xmp}
        path = save(tmp_path / name, make_image(2), **options)
        with Image.open(path) as opened:
            assert opened.info["xmp"] == xmp
        assert read_image(path).size == (40, 30)
        assert examine_image(path).oddities == ()


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_exif_orientation_is_applied(tmp_path, orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality = {"quality": 100, "subsampling": 0} if name == "a.jpg" else {}
    path = save(tmp_path / name, make_image(2), exif=exif, **quality)
    upright = ImageOps.exif_transpose(Image.open(path))
    stored = encode_image(path, max_side=64, jpeg_quality=95)
    again = Image.open(BytesIO(stored.data))
    assert (stored.width, stored.height) == upright.size == again.size
    assert 0x0112 not in again.getexif()
    assert max_difference(again, upright) < 30
    assert max_difference(read_image(path), upright) < 10


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_the_size_of_a_turned_image_is_that_of_the_upright_one(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6
    found = examine_image(save(tmp_path / name, make_image(2), exif=exif))
    assert "turned by EXIF" in found.oddities
    assert (found.width, found.height) == found.image.size == (30, 40)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.jpg", {"dpi": (72, 72)}), ("a.jpg", {}), ("a.png", {}), ("a.webp", {"lossless": True})],
)
@pytest.mark.parametrize("exif", [b"no header of a TIFF", b"II*\0"])
def test_an_image_whose_exif_cannot_be_read_is_upright(tmp_path, name, options, exif):
    path = save(tmp_path / name, make_image(2), exif=b"Exif\0\0" + exif, **options)
    assert max_difference(read_image(path), make_image(2)) < 60
    assert "turned by EXIF" not in examine_image(path).oddities
    stored = encode_image(path, max_side=64, jpeg_quality=95)
    assert (stored.width, stored.height) == (40, 30)
    assert (stored.data == path.read_bytes()) == (name != "a.webp")


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.jpg", "L", {}),
        ("a.jpg", "CMYK", {"quality": 100}),
        ("a.png", "L", {}),
        ("a.png", "LA", {}),
        ("a.png", "P", {}),
        ("a.png", "RGBA", {}),
        ("a.bmp", "RGB", {}),
        ("a.gif", "P", {}),
        ("a.tif", "RGB", {"compression": "tiff_lzw"}),
        ("a.tif", "CMYK", {}),
        ("a.webp", "RGB", {"lossless": True}),
    ],
)
def test_other_formats_and_modes_become_rgb_jpegs(tmp_path, name, mode, options):
    image = make_image(3).convert(mode)
    stored = store(save(tmp_path / name, image, **options))
    assert (stored.format, stored.mode) == ("JPEG", "RGB")
    assert max_difference(stored, image) < 30


def test_transparency_is_laid_over_white(tmp_path):
    image = Image.new("RGBA", (20, 20), (200, 0, 0, 0))
    image.paste((0, 0, 200, 255), (0, 0, 10, 20))
    pixels = np.asarray(read_image(save(tmp_path / "a.png", image)))
    assert pixels[5, 15].tolist() == [255, 255, 255]
    assert pixels[5, 5].tolist() == [0, 0, 200]


def test_a_palette_with_a_transparent_colour_is_laid_over_white(tmp_path):
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    path = save(tmp_path / "a.png", image, transparency=1)
    assert np.asarray(read_image(path)).min() == 255


def test_16_bit_grey_keeps_its_upper_8_bits(tmp_path):
    levels = np.linspace(0, 65535, 256).astype(np.uint16)
    path = save(tmp_path / "a.png", Image.fromarray(np.tile(levels, (16, 1))))
    pixels = np.asarray(read_image(path))
    assert np.array_equal(pixels[0], np.repeat(levels[:, None] >> 8, 3, axis=1))


def test_16_bit_rgb_png_is_encoded_anew(tmp_path):
    pixels = np.full((8, 9, 3), 0x8012, ">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    path = tmp_path / "a.png"
    path.write_bytes(make_png(9, 8, rows, bit_depth=16))
    image = store(path)
    assert image.format == "JPEG"
    assert np.unique(np.asarray(image)).tolist() == [0x80]


def make_png(width: int, height: int, rows: bytes, *, bit_depth: int = 8) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, bit_depth, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*pair) for pair in chunks)


def test_32_bit_grey_is_refused(tmp_path):
    path = save(tmp_path / "a.tif", Image.fromarray(np.ones((8, 8), np.float32)))
    with pytest.raises(UserError, match=r"a\.tif: is grey of 32 bits.*8 bits"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"image_id,label\n1,2\n", "is no image"),
        (b"\xff\xd8\xff", "is no image|damaged"),
    ],
)
def test_a_file_that_is_no_image_is_named(tmp_path, content, message):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "gif", "tif", "webp"])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_cut_off_image_is_refused(tmp_path, suffix, keep):
    path = save(tmp_path / f"whole.{suffix}", make_image(4, size=(120, 90)))
    data = path.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match=r"cut\.\w+: is .*(cut off or damaged|no image)"):
        read_image(cut)


def test_a_gif_cut_off_in_its_second_frame_is_refused_when_examined(tmp_path):
    frames = [make_image(seed) for seed in (0, 1)]
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert "animated" in examine_image(path).oddities
    data = path.read_bytes()
    second = data.rindex(b"!\xf9\x04")  # its graphic control extension, then its descriptor
    for more in (1, 12):
        path.write_bytes(data[: second + more])
        with pytest.raises(UserError, match=r"a\.gif: is cut off or damaged"):
            examine_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.jpg: cannot be read"):
        read_image(tmp_path / "none.jpg")


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path):
    for width in (10_000, 60_000):  # Pillow warns of the first and refuses the second
        path = tmp_path / f"bomb{width}.png"
        path.write_bytes(make_png(width, width, b""))
        with pytest.raises(UserError, match=r"bomb.*pixels.*shrink it"):
            read_image(path)


@pytest.mark.parametrize("kind", [b"IDAT", b"IHDR"])
def test_a_png_with_a_wrong_checksum_is_refused(tmp_path, kind):
    data = bytearray(make_png(9, 8, bytes(8 * 28)))
    data[data.index(kind) + 4 + (9 if kind == b"IHDR" else 7)] ^= 1
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"damaged|no image"):
        encode_image(path, max_side=64, jpeg_quality=95)


def test_a_jpeg_without_its_end_is_not_stored_as_it_is(tmp_path):
    path = save(tmp_path / "a.jpg", make_image(5))
    path.write_bytes(path.read_bytes() + b"trailing words of a camera")
    stored = encode_image(path, max_side=64, jpeg_quality=95)
    assert stored.data.endswith(b"\xff\xd9")


def test_whatever_is_stored_of_a_damaged_image_tensorflow_decodes(tmp_path):
    tf = pytest.importorskip("tensorflow")
    generator = np.random.default_rng(0)
    kept = 0
    for suffix in ("jpg", "png"):
        whole = save(tmp_path / f"whole.{suffix}", make_image(6)).read_bytes()
        for _ in range(60):
            data = bytearray(whole)
            data[generator.integers(len(data))] = generator.integers(256)
            path = tmp_path / f"flipped.{suffix}"
            path.write_bytes(data)
            try:
                stored = encode_image(path, max_side=64, jpeg_quality=95)
            except UserError:
                continue
            kept += 1
            assert tf.io.decode_image(stored.data, expand_animations=False).shape[2] == 3
    assert kept > 0


def test_map_images_keeps_the_order_and_holds_few_results():
    started: list[str] = []

    def work(path: str) -> str:
        started.append(path)
        return path

    paths = [str(index) for index in range(300)]
    results = map_images(work, paths, title="test", workers=2)
    assert [next(results) for _ in range(3)] == paths[:3]
    results.close()
    assert len(started) <= 7 * 8  # three batches a worker, and one in place of the first
    assert list(map_images(work, paths, title="test", workers=3)) == paths
