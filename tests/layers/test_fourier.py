"""The spectrum against numpy.fft."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfskin.layers import log_magnitude
from tfskin.layers.fourier import SPECTRUM_DEVIATION, SPECTRUM_MEAN


def spectrum(images):
    return keras.ops.convert_to_numpy(log_magnitude(keras.ops.convert_to_tensor(images)))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9), (8, 5), (33, 32), (1, 1)])
def test_parity_with_numpy(height, width):
    images = np.random.default_rng(0).uniform(0, 255, (3, height, width, 3)).astype("float32")
    transform = np.fft.fftshift(np.fft.fft2(images.astype("float64"), axes=(1, 2)), axes=(1, 2))
    expected = np.log1p(np.abs(transform) / np.sqrt(height * width))
    np.testing.assert_allclose(
        spectrum(images), (expected - SPECTRUM_MEAN) / SPECTRUM_DEVIATION, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 9)])
def test_zero_frequency_is_in_the_middle(height, width):
    result = spectrum(np.full((1, height, width, 3), 100.0, "float32"))[0, :, :, 0]
    assert np.unravel_index(result.argmax(), result.shape) == (height // 2, width // 2)


def test_shifted_image_has_the_same_spectrum():
    images = np.random.default_rng(0).uniform(0, 255, (1, 12, 10, 3)).astype("float32")
    rolled = np.roll(images, (3, 4), axis=(1, 2))
    np.testing.assert_allclose(spectrum(images), spectrum(rolled), atol=1e-3)


def test_black_image_is_the_lowest_value():
    result = spectrum(np.zeros((1, 6, 6, 3), "float32"))
    np.testing.assert_allclose(result, -SPECTRUM_MEAN / SPECTRUM_DEVIATION, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_refused(dtype):
    with pytest.raises(TypeError, match="must be float32"):
        log_magnitude(keras.ops.zeros((1, 4, 4, 3), dtype=dtype))


def test_gradient_is_finite_where_a_frequency_has_no_energy():
    images = tf.fill((1, 8, 8, 3), 100.0)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(log_magnitude(images))
    assert np.isfinite(tape.gradient(total, images).numpy()).all()
