"""Ranges of pixel values."""

import keras
import numpy as np
import pytest

from tfskin.layers import Scale

IMAGES = np.arange(0, 256, dtype="float32")[:255].reshape(1, 5, 17, 3)


def scaled(mode, policy="float32"):
    output = Scale(mode, dtype=policy)(IMAGES)
    return keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))


def test_minus_one_one():
    np.testing.assert_allclose(scaled("minus_one_one"), IMAGES / 127.5 - 1, atol=1e-6)


def test_zero_one():
    np.testing.assert_allclose(scaled("zero_one"), IMAGES / 255, atol=1e-7)


def test_mean_127():
    np.testing.assert_allclose(scaled("mean_127"), (IMAGES - 127) / 128, atol=1e-7)


def test_imagenet_is_the_torch_mode_of_keras():
    expected = keras.applications.imagenet_utils.preprocess_input(IMAGES.copy(), mode="torch")
    np.testing.assert_allclose(scaled("imagenet"), expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["minus_one_one", "zero_one", "imagenet", "mean_127"])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_only_rounds_the_result(mode, policy):
    step = {"mixed_float16": 1e-3, "mixed_bfloat16": 8e-3}[policy]
    np.testing.assert_allclose(scaled(mode, policy), scaled(mode), rtol=step, atol=1e-6)


def test_mode_survives_the_config():
    layer = Scale.from_config(Scale("imagenet").get_config())
    assert layer.mode == "imagenet"
    assert layer.compute_output_shape((None, 5, 17, 3)) == (None, 5, 17, 3)


def test_unknown_mode_names_the_known_ones():
    with pytest.raises(ValueError, match="mean_127, got 'tf'"):
        Scale("tf")  # type: ignore[arg-type]
