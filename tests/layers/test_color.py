"""Colour spaces against colorsys, and what they do in half precision."""

import colorsys
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfskin.layers import ColorSpace, log_magnitude

SPACES = ("rgb", "hsv", "fft")
POLICIES = {"float32": "float32", "mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def random_images(*shape):
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def test_rgb_spans_minus_one_to_one():
    images = np.array([0.0, 127.5, 255.0], "float32").reshape(1, 1, 1, 3)
    np.testing.assert_array_equal(to_numpy(ColorSpace("rgb")(images)).ravel(), [-1, 0, 1])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=20))
def test_hsv_is_colorsys_with_the_hue_turned(pixels):
    images = np.array(pixels, "float32").reshape(1, 1, -1, 3)
    got = to_numpy(ColorSpace("hsv")(images)).reshape(-1, 3)
    for (red, green, blue), (hue, saturation, value) in zip(pixels, got, strict=True):
        expected = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
        turned = 2 * ((expected[0] + 0.5) % 1.0) - 1
        # The two ends of the range are the same hue, cyan.
        gap = abs(hue - turned)
        assert min(gap, 2 - gap) < 1e-5
        np.testing.assert_allclose([saturation, value], 2 * np.array(expected[1:]) - 1, atol=1e-5)


def test_hue_is_continuous_around_red():
    images = np.array([[255, 60, 58], [255, 60, 60], [255, 58, 60]], "float32")
    hue = to_numpy(ColorSpace("hsv")(images.reshape(1, 1, 3, 3)))[0, 0, :, 0]
    assert np.ptp(hue) < 0.01
    assert hue[1] == 0.0


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("level", [0.0, 127.0, 255.0])
@pytest.mark.parametrize("policy", POLICIES)
def test_flat_images_give_finite_values(space, level, policy):
    images = np.full((2, 5, 4, 3), level, "float32")
    assert np.isfinite(to_numpy(ColorSpace(space, dtype=policy)(images))).all()


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("policy", POLICIES)
def test_half_precision_only_rounds_the_result(space, policy):
    images = random_images(2, 9, 12, 3)
    exact = to_numpy(ColorSpace(space, dtype="float32")(images))
    output = ColorSpace(space, dtype=policy)(images)
    assert keras.backend.standardize_dtype(output.dtype) == POLICIES[policy]
    rounded = to_numpy(keras.ops.cast(exact, POLICIES[policy]))
    # One unit in the last place: a fused kernel may round once less.
    step = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}[POLICIES[policy]]
    np.testing.assert_allclose(to_numpy(output), rounded, rtol=step, atol=step)


@pytest.mark.parametrize("space", SPACES)
def test_space_survives_the_config(space):
    layer = ColorSpace(space, name="first")
    twin = ColorSpace.from_config(layer.get_config())
    images = random_images(1, 6, 6, 3)
    np.testing.assert_array_equal(to_numpy(layer(images)), to_numpy(twin(images)))
    assert layer.compute_output_shape((None, 6, 6, 3)) == (None, 6, 6, 3)


def test_integer_images_are_taken():
    images = random_images(1, 4, 4, 3).astype("uint8")
    exact = ColorSpace("hsv")(images.astype("float32"))
    np.testing.assert_array_equal(to_numpy(ColorSpace("hsv")(images)), to_numpy(exact))


def test_unknown_space_names_the_known_ones():
    with pytest.raises(ValueError, match="rgb, hsv, fft, got 'lab'"):
        ColorSpace("lab")  # type: ignore[arg-type]


def test_real_images_are_comparable_in_every_space(real_ham10000: Path):
    image = pytest.importorskip("PIL.Image")
    files = sorted((real_ham10000 / "images").glob("*.jpg"))[::200]
    images = np.stack(
        [np.asarray(image.open(file).resize((96, 96), image.Resampling.BILINEAR)) for file in files]
    )
    spectrum = to_numpy(log_magnitude(keras.ops.cast(images, "float32")))
    assert abs(spectrum.mean()) < 0.15
    assert abs(spectrum.std() - 1) < 0.15
    for space in ("rgb", "hsv"):
        assert np.abs(to_numpy(ColorSpace(space)(images))).max() <= 1
    hue = to_numpy(ColorSpace("hsv")(images))[..., 0]
    assert abs(np.median(hue)) < 0.3  # skin is in the middle
