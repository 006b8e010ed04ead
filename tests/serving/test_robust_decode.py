import io
import struct
from functools import lru_cache

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.serving.images import broken_files, encode, encode_turned, make_image, png_header
from tfskin.inputs.decode import decode_and_resize
from tfskin.serving.formats import read_size
from tfskin.serving.robust_decode import decode_batch

SIZE = (12, 16)


@lru_cache
def make_decoder(resize="squash", max_pixels=1_000_000):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def decode(encoded):
        decoded = decode_batch(encoded, image_size=SIZE, resize=resize, max_pixels=max_pixels)
        return decoded.images, decoded.valid

    return decode


decode = make_decoder("squash")


def as_batch(files):
    return tf.constant(list(files), tf.string)


def test_good_rows_equal_training_decode():
    files = [encode(make_image(seed)) for seed in range(5)]
    images, valid = decode(as_batch(files))
    assert valid.numpy().all()
    assert images.shape == (5, *SIZE, 3)
    assert images.dtype == tf.float32
    for image, data in zip(images, files, strict=True):
        np.testing.assert_allclose(image, decode_and_resize(tf.constant(data), SIZE, "squash"))


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_broken_files_harm_no_other_row(resize):
    broken = {n: data for n, data in broken_files().items() if n not in ("gif", "bmp")}
    good = [encode(make_image(seed)) for seed in range(len(broken) + 1)]
    mixed = [good[0]]
    for bad, after in zip(broken.values(), good[1:], strict=True):
        mixed += [bad, after]
    decode = make_decoder(resize)
    images, valid = decode(as_batch(mixed))
    alone = [decode(as_batch([data]))[0][0] for data in good]
    assert valid.numpy()[0::2].all()
    named = dict(zip(broken, valid.numpy()[1::2], strict=True))
    assert not any(named.values()), named
    np.testing.assert_array_equal(images[0::2], alone)
    np.testing.assert_array_equal(images[1::2], np.zeros((len(broken), *SIZE, 3)))


@pytest.mark.parametrize("count", [0, 1, 2, 64])
def test_every_batch_size_of_good_and_of_bad_rows(count):
    for data, expected in ((encode(make_image(0)), True), (b"no image", False)):
        images, valid = decode(as_batch([data] * count))
        assert images.shape == (count, *SIZE, 3)
        assert valid.numpy().tolist() == [expected] * count


def test_one_trace_for_all_batch_sizes():
    traces = decode.experimental_get_tracing_count()
    for count in range(1, 6):
        decode(as_batch([encode(make_image(0))] * count))
    assert decode.experimental_get_tracing_count() <= max(traces, 1)


def test_colour_modes_are_read():
    original = make_image(0)
    deep = (np.asarray(original.convert("L"), np.uint16) * 257).astype(np.uint16)
    files = {
        "grey jpeg": encode(original.convert("L")),
        "cmyk jpeg": encode(original.convert("CMYK")),
        "progressive jpeg": encode(original, progressive=True),
        "grey png": encode(original.convert("L"), "PNG"),
        "alpha png": encode(original.convert("RGBA"), "PNG"),
        "palette png": encode(original.convert("P"), "PNG"),
        "16-bit png": encode(Image.fromarray(deep), "PNG"),
        "black and white png": encode(original.convert("1"), "PNG"),
    }
    images, valid = decode(as_batch(files.values()))
    assert valid.numpy().all(), dict(zip(files, valid.numpy(), strict=True))
    for (name, data), image in zip(files.items(), images, strict=True):
        if name == "16-bit png":
            expected = original.convert("L").convert("RGB")
        else:
            expected = Image.open(io.BytesIO(data)).convert("RGB")
        expected = tf.image.resize(np.asarray(expected), SIZE, antialias=True)
        assert np.abs(image - expected).mean() < 2.5, name


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_honoured(orientation, resize):
    # Grey, because Pillow and TensorFlow round the conversion of colours differently.
    data = encode_turned(make_image(0).convert("L"), orientation, "<")
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    images, valid = make_decoder(resize)(as_batch([data]))
    assert valid.numpy().all()
    expected = decode_and_resize(tf.constant(encode(upright, "PNG")), SIZE, resize)
    np.testing.assert_allclose(images[0], expected, atol=1e-3)


def test_size_is_read_before_decoding():
    assert read_size(tf.constant(png_header(60_000, 50_000))).numpy().tolist() == [50_000, 60_000]
    assert read_size(tf.constant(encode(make_image(0)))).numpy().tolist() == [30, 40]
    for kind in ("GIF", "BMP"):
        assert read_size(tf.constant(encode(make_image(0), kind))).numpy().tolist() == [30, 40]
    upside_down = bytearray(encode(make_image(0), "BMP"))
    upside_down[22:26] = struct.pack("<i", -30)
    assert read_size(tf.constant(bytes(upside_down))).numpy().tolist() == [30, 40]
    assert read_size(tf.constant(b"RIFF....WEBP")).numpy().tolist() == [0, 0]


def test_max_pixels_is_the_last_size_that_passes():
    data = as_batch([encode(make_image(0))])
    for limit, expected in ((1199, False), (1200, True)):
        _, valid = make_decoder(max_pixels=limit)(data)
        assert valid.numpy()[0] == expected


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_gif_and_bmp_are_read_as_pillow_reads_them(mode):
    original = make_image(0).convert("P", palette=Image.Palette.ADAPTIVE).convert(mode)
    files = {"gif": encode(original.convert("P"), "GIF")}
    if mode in ("RGB", "RGBA"):
        files["bmp"] = encode(original, "BMP")
    frames = [make_image(seed).convert("P") for seed in (1, 2, 3)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], loop=0)
    files["animated gif"] = stream.getvalue()
    images, valid = decode(as_batch(files.values()))
    assert valid.numpy().all()
    for (name, data), image in zip(files.items(), images, strict=True):
        with Image.open(io.BytesIO(data)) as opened:
            expected = np.asarray(opened.convert("RGB"))
        expected = tf.image.resize(expected, SIZE, antialias=True)
        np.testing.assert_allclose(image, expected, atol=1e-3, err_msg=name)


def test_a_gif_of_many_or_of_huge_frames_is_read_no_further_than_its_first():
    one = encode(make_image(0).convert("P"), "GIF")
    huge = bytearray(one)
    descriptor = one.index(b"\x2c", 13 + 3 * 256)
    huge[descriptor + 5 : descriptor + 9] = b"\xff\xff\xff\xff"
    endless = one[:-1] + bytes(huge[descriptor:-1]) * 3
    images, valid = decode(as_batch([one, bytes(huge), endless, one[: len(one) // 2]]))
    assert valid.numpy().tolist() == [True, False, True, False]
    np.testing.assert_array_equal(images[0], images[2])


@pytest.mark.parametrize("mode", ["P", "L", "1"])
def test_a_bmp_that_tensorflow_would_misread_is_refused(mode):
    _, valid = decode(as_batch([encode(make_image(0).convert(mode), "BMP")]))
    assert not valid.numpy().any()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_stops_the_batch(data):
    good = encode_turned(make_image(0), 6, "<")
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    images, valid = decode(as_batch([good, bytes(damaged), bytes(damaged[:cut]), good]))
    assert valid.numpy()[[0, 3]].all()
    np.testing.assert_array_equal(images[0], images[3])
    assert np.isfinite(images).all()


def test_transparency_is_laid_over_white():
    image = make_image(0).convert("RGBA")
    image.putalpha(make_image(1).convert("L"))
    white = Image.new("RGBA", image.size, "white")
    flat = Image.alpha_composite(white, image).convert("RGB")
    images, _ = decode(as_batch([encode(image, "PNG"), encode(flat, "PNG")]))
    np.testing.assert_allclose(images[0], images[1], atol=1)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA"])
def test_opaque_png_is_what_training_decodes(mode):
    data = encode(make_image(0).convert(mode), "PNG")
    expected = decode_and_resize(tf.constant(data), SIZE, "squash")
    np.testing.assert_array_equal(decode(as_batch([data]))[0][0], expected)
