"""A model in operations that every runtime has: no Fourier transform, no colour conversion."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfskin.evaluation.decision import Decision
from tfskin.layers import ColorSpace
from tfskin.layers.fourier import SPECTRUM_DEVIATION, SPECTRUM_MEAN


def build_portable(model: keras.Model, decision: Decision) -> keras.Model:
    """A float32 model from images to calibrated probabilities, for ONNX and LiteRT.

    Input ``image`` (N, h, w, 3) float32 RGB in 0..255, output ``probabilities`` (N, C). The
    Fourier transform becomes products with the matrices of its cosines and sines, and the
    conversion to HSV arithmetic: both have kernels in few runtimes. Weights are copied.

    Args:
        model: float32, functional, its output the layer "logits"; nested models are rebuilt too.
        decision: temperature and calibration.
    """

    def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, ColorSpace):
            return PortableColorSpace(layer.space, name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    image = keras.Input(model.input_shape[1:], name="image", dtype="float32")
    copy = keras.models.clone_model(model, image, clone_function=copy_layer, recursive=True)
    copy.set_weights(model.get_weights())
    outputs = Probabilities(decision, name="probabilities")(copy.outputs[0])
    return keras.Model(copy.inputs[0], outputs, name=model.name)


class PortableColorSpace(keras.layers.Layer):
    """What :class:`tfskin.layers.ColorSpace` gives, to rounding."""

    def __init__(self, space: str, **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float32"})
        self.space = space

    def call(self, images: Any) -> Any:
        """float32 (N, h, w, 3) in 0..255 in the colour space."""
        if self.space == "rgb":
            return images / 127.5 - 1.0
        return _centred_hsv(images / 255.0) if self.space == "hsv" else _log_magnitude(images)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "space": self.space}


class Probabilities(keras.layers.Layer):
    """Logits (N, C) -> calibrated probabilities."""

    def __init__(self, decision: Decision, **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float32"})
        self.decision = decision

    def call(self, logits: Any) -> Any:
        """float32 (N, C), rows summing to 1."""
        return self.decision.to_probabilities(logits, ops=ops)


def _log_magnitude(images: Any) -> Any:
    """:func:`tfskin.layers.fourier.log_magnitude` by matrix products.

    The mean is taken out before and put back at frequency 0, where alone it appears: sums of
    large equal numbers would cost the digits of the small frequencies.
    """
    height, width = images.shape[1:3]
    mean = ops.mean(images, axis=(1, 2), keepdims=True)
    planes = ops.transpose(images - mean, (0, 3, 1, 2))
    across = [ops.matmul(planes, matrix) for matrix in _dft_matrices(width)]
    turned = [ops.transpose(part, (0, 1, 3, 2)) for part in across]
    down = _dft_matrices(height)
    (cc, cs), (sc, ss) = ([ops.matmul(part, matrix) for matrix in down] for part in turned)
    zero = np.zeros((1, 1, width, height), np.float32)
    zero[..., width // 2, height // 2] = height * width
    real = cc - ss + zero * ops.transpose(mean, (0, 3, 1, 2))
    magnitude = ops.sqrt(ops.square(real) + ops.square(cs + sc))
    spectrum = ops.log(1.0 + magnitude / (height * width) ** 0.5)
    return (ops.transpose(spectrum, (0, 3, 2, 1)) - SPECTRUM_MEAN) / SPECTRUM_DEVIATION


def _dft_matrices(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines (size, size), input by rows, frequency by columns, 0 in the middle."""
    angles = 2 * np.pi * np.outer(np.arange(size), np.arange(size)) / size
    matrices = (np.roll(part(angles), size // 2, axis=1) for part in (np.cos, np.sin))
    cosines, sines = (matrix.astype(np.float32) for matrix in matrices)
    return cosines, sines


def _centred_hsv(images: Any) -> Any:
    """HSV as ``colorsys`` defines it, hue turned by half a turn, in [-1, 1]."""
    red, green, blue = images[..., 0:1], images[..., 1:2], images[..., 2:3]
    value = ops.maximum(ops.maximum(red, green), blue)
    spread = value - ops.minimum(ops.minimum(red, green), blue)
    safe = ops.where(spread > 0, spread, 1.0)
    sixth = ops.where(
        value == red,
        (green - blue) / safe,
        ops.where(value == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe),
    )
    sixth = ops.where(spread > 0, sixth, 0.0)
    # Red lies at 0, so the hue of -1/6 to 0 is that of 5/6 to 1.
    hue = ops.where(sixth < 0, sixth + 6.0, sixth) / 6.0
    turned = ops.where(hue < 0.5, hue + 0.5, hue - 0.5)
    saturation = ops.where(value > 0, spread / ops.where(value > 0, value, 1.0), 0.0)
    return 2.0 * ops.concatenate([turned, saturation, value], axis=-1) - 1.0
