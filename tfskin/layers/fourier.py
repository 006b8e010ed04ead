"""The amplitude spectrum of an image."""

from typing import Any

import keras
from keras import ops

# Mean and deviation of log1p(|F| / sqrt(H W)) over 1,000 images of HAM10000 drawn at random,
# at 96 x 96 px: 1.171 and 0.837 (R 1.144/0.796, G 1.167/0.833, B 1.196/0.864: one pair serves all
# three). The mean falls with the size, as finer frequencies are weaker: 1.28 at 64 px, 1.07 at 128.
SPECTRUM_MEAN = 1.171
SPECTRUM_DEVIATION = 0.837

# The square root has no slope at 0: a frequency without energy would make gradients NaN. Magnitudes
# are below 16 million, so this is far below float32's resolution of any that matters.
TINY = 1e-12


def log_magnitude(images: Any) -> Any:
    """The standardised log-magnitude spectrum of each channel, zero frequency in the middle.

    ``(log1p(|F| / sqrt(H W)) - mean) / deviation`` with the two-dimensional discrete Fourier
    transform ``F`` of a channel, shifted as ``numpy.fft.fftshift`` does. The mean and deviation
    are constants, so an image's spectrum does not depend on its batch. Over dermoscopic images
    the values have mean about 0 and deviation about 1; the smallest is -1.4 (no energy), the
    zero frequency lies near 8.

    The whole plane is returned although half of it mirrors the other: convolutions see a centred
    image, and a transform of the half plane is not offered in two dimensions by Keras.

    Args:
        images: float32 (N, H, W, C) in 0..255.

    Returns:
        float32 (N, H, W, C).

    Raises:
        TypeError: half-precision images; the transform needs float32.
    """
    if keras.backend.standardize_dtype(images.dtype) != "float32":
        raise TypeError(f"images must be float32, got {images.dtype}")
    height, width = images.shape[1:3]
    channels_first = ops.transpose(images, (0, 3, 1, 2))  # fft2 transforms the last two axes
    real, imaginary = ops.fft2((channels_first, ops.zeros_like(channels_first)))
    power = ops.square(real) + ops.square(imaginary)
    magnitude = ops.sqrt(ops.maximum(power, TINY))
    spectrum = ops.log1p(magnitude / (height * width) ** 0.5)
    centred = ops.roll(spectrum, (height // 2, width // 2), axis=(2, 3))
    return (ops.transpose(centred, (0, 2, 3, 1)) - SPECTRUM_MEAN) / SPECTRUM_DEVIATION
