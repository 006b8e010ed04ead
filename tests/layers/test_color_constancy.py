"""Shades of grey against NumPy, its limits, and as a network's first layer."""

import keras
import numpy as np
import pytest

from tests.layers.test_color import random_images, to_numpy
from tfskin.layers import ShadesOfGray
from tfskin.models import build_model


def expected(images, power):
    images = images.astype("float64")
    light = (images**power).mean(axis=(1, 2), keepdims=True) ** (1 / power)
    light /= np.linalg.norm(light, axis=-1, keepdims=True)
    return np.minimum(images / (np.sqrt(3) * light), 255)


@pytest.mark.parametrize("power", [1, 6, 12])
def test_it_is_the_formula(power):
    images = random_images(2, 9, 12, 3) * np.array([0.9, 0.6, 0.4], "float32")
    found = to_numpy(ShadesOfGray(power)(images))
    np.testing.assert_allclose(found, expected(images, power), rtol=1e-4, atol=1e-3)


def test_the_colour_of_the_light_goes_and_grey_light_changes_nothing():
    scene = 0.4 * random_images(1, 16, 16, 3)
    lights = np.array([[0.9, 1.0, 1.1], [1.3, 1.0, 0.8]], "float32")
    first, second = (to_numpy(ShadesOfGray()(scene * light)) for light in lights)
    # Up to brightness, which is no colour.
    np.testing.assert_allclose(first / first.mean(), second / second.mean(), rtol=1e-4)
    grey = np.repeat(scene[..., :1], 3, axis=-1)
    np.testing.assert_allclose(to_numpy(ShadesOfGray()(grey)), grey, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("level", [0.0, 1.0, 255.0])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_flat_images_give_finite_values_in_float32(level, policy, request):
    before = keras.config.dtype_policy()
    request.addfinalizer(lambda: keras.config.set_dtype_policy(before))
    keras.config.set_dtype_policy(policy)
    images = np.full((1, 5, 4, 3), level, "float32")
    images[..., 2] = 0
    found = ShadesOfGray()(images)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    values = to_numpy(found)
    assert np.isfinite(values).all()
    assert values.max() <= 255


def test_a_power_below_one_is_refused_and_the_config_keeps_it():
    with pytest.raises(ValueError, match="at least 1"):
        ShadesOfGray(0.5)
    assert ShadesOfGray.from_config(ShadesOfGray(3).get_config()).power == 3


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("five_layer", {"image_size": (32, 40), "widths": (4,) * 5, "color_space": "hsv"}),
        pytest.param("googlenet", {"image_size": (32, 40), "use_bn": True}, marks=pytest.mark.slow),
    ],
)
def test_a_network_with_it_is_the_network_behind_it(name, arguments, tmp_path):
    """GoogLeNet is a model of a class of its own, with auxiliary heads."""
    images = random_images(2, 32, 40, 3) * np.array([1.0, 0.7, 0.5], "float32")
    keras.utils.set_random_seed(0)
    plain = build_model(name, num_classes=3, **arguments)
    keras.utils.set_random_seed(0)
    model = build_model(name, num_classes=3, color_constancy=True, **arguments)
    assert type(model) is type(plain)
    assert model.inputs[0].name == "image"
    assert model.output_names == ["logits"]
    np.testing.assert_allclose(
        to_numpy(model(images)), to_numpy(plain(ShadesOfGray()(images))), atol=1e-6
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(to_numpy(loaded(images)), to_numpy(model(images)))
