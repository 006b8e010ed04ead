import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.inputs.fake_shards import encode, smooth_image
from tfskin.inputs.decode import decode_and_resize, decode_image, make_resize, resize_image

BILINEAR = Image.Resampling.BILINEAR


@pytest.mark.parametrize("options", [{"quality": 95, "subsampling": 0}, {"quality": 75}])
def test_jpeg_is_decoded_as_pillow_does(options):
    data = encode(smooth_image(1), **options)
    ours = decode_image(tf.constant(data)).numpy().astype(int)
    assert np.abs(ours - np.asarray(Image.open(io.BytesIO(data)))).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_png_is_decoded_exactly(mode):
    image = Image.fromarray(smooth_image(2)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    np.testing.assert_array_equal(
        decode_image(tf.constant(buffer.getvalue())), np.asarray(image.convert("RGB"))
    )


@pytest.mark.parametrize("data", [b"", b"<html>", encode(smooth_image(3))[:300]])
def test_bytes_that_are_no_image_raise(data):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(tf.constant(data))


def shrink_with_pillow(pixels: np.ndarray, size: tuple[int, int], resize: str) -> np.ndarray:
    (height, width), (rows, columns) = size, pixels.shape[:2]
    image = Image.fromarray(pixels)
    if resize == "squash":
        return np.asarray(image.resize((width, height), BILINEAR))
    ratios = height / rows, width / columns
    ratio = {"crop": max(ratios), "imagenet": max(ratios) * 8 / 7, "pad": min(ratios)}[resize]
    scaled = round(columns * ratio), round(rows * ratio)
    image = image.resize(scaled, BILINEAR)
    left, top = (scaled[0] - width) / 2, (scaled[1] - height) / 2
    left, top = int(left), int(top)  # towards zero
    return np.asarray(image.crop((left, top, left + width, top + height)))


# 30 x 41 from 150 x 200: the crop and the margins are odd.
@pytest.mark.parametrize("size", [(128, 128), (30, 41), (96, 64), (300, 300)])
@pytest.mark.parametrize("resize", ["squash", "crop", "imagenet", "pad"])
def test_resize_is_within_a_grey_level_of_pillow(size, resize):
    pixels = smooth_image(4, height=150, width=200)
    expected = shrink_with_pillow(pixels, size, resize).astype(float)
    assert np.abs(resize_image(tf.constant(pixels), size, resize) - expected).max() <= 1.01


def test_imagenet_is_the_shorter_side_to_256_and_the_centre_224():
    pixels = smooth_image(5, height=300, width=450)
    whole = resize_image(tf.constant(pixels), (256, 384), "squash")
    found = resize_image(tf.constant(pixels), (224, 224), "imagenet")
    np.testing.assert_allclose(found, whole[16:240, 80:304], atol=1e-3)


def test_resize_of_noise_is_antialiased():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((50, 50), BILINEAR)).astype(float)
    assert np.abs(resize_image(tf.constant(pixels), (50, 50), "squash") - expected).max() <= 1.01


@pytest.mark.parametrize("resize", ["squash", "crop", "imagenet", "pad"])
@pytest.mark.parametrize(
    ("source", "size"),
    [((150, 200), (128, 128)), ((40, 31), (64, 20)), ((1, 5), (9, 8)), ((400, 40), (16, 16))],
)
def test_compiled_resize_gives_the_same(source, size, resize):
    pixels = tf.constant(np.random.default_rng(1).integers(0, 256, (*source, 3)), tf.uint8)
    expected = resize_image(pixels, size, resize)
    for likely in (source, (33, 44)):
        run = tf.function(
            make_resize(size, resize, likely_size=likely),
            input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)],
        )
        np.testing.assert_allclose(run(pixels), expected, atol=0.01)


def test_result_has_static_shape_and_range():
    white = encode(np.full((37, 53, 3), 255, np.uint8), "PNG")
    for resize in ("squash", "crop"):
        image = tf.function(lambda data, how=resize: decode_and_resize(data, (24, 20), how))(white)
        assert image.shape == (24, 20, 3)
        assert image.dtype == tf.float32
        assert tf.reduce_max(image) <= 255.0
        np.testing.assert_allclose(image, 255.0, atol=1e-3)
