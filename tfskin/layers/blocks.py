"""What convolutional networks are built of: the scaled input, convolutions, their norm."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from tfskin.layers.batch_norm import BatchNorm, BatchNormMode
from tfskin.layers.color import ColorSpace, ColorSpaceName
from tfskin.layers.scaling import Scale, ScaleMode

HE_FAN_OUT: dict[str, Any] = {
    "scale": 2.0,
    "mode": "fan_out",
    "distribution": "untruncated_normal",
}
"""He et al., "Delving Deep into Rectifiers", 2015, arXiv:1502.01852, equation 14."""


@dataclass(frozen=True)
class Norm:
    """How the batch normalisations of a network are made."""

    mode: BatchNormMode = "update"
    momentum: float = 0.9
    epsilon: float = 1e-5

    def layer(self, name: str, *, gamma: str = "ones") -> BatchNorm:
        """A new layer; ``gamma`` is a Keras initialiser."""
        return BatchNorm(
            mode=self.mode,
            momentum=self.momentum,
            epsilon=self.epsilon,
            gamma_initializer=gamma,
            name=name,
        )


def attach_input(
    image_size: tuple[int, int], color_space: ColorSpaceName, *, scale: ScaleMode
) -> tuple[Any, Any]:
    """The input ``image`` (N, H, W, 3) in 0..255, and the same in the range of the network.

    RGB goes through a layer ``scale`` to the range that the network's pretrained weights were
    trained with; HSV and FFT have ranges of their own (layer ``color_space``).
    """
    image = keras.Input((*image_size, 3), dtype="float32", name="image")
    if color_space == "rgb":
        return image, Scale(scale, name="scale")(image)
    return image, ColorSpace(color_space, name="color_space")(image)


def pad_and_convolve(
    x: Any, filters: int, kernel: int, *, strides: int, name: str, **options: Any
) -> Any:
    """A convolution with ``(kernel - 1) // 2`` zeros on each side, as Caffe and PyTorch have it.

    Keras's ``same`` puts the odd row of zeros of a strided convolution on one side.
    """
    padding = (kernel - 1) // 2
    if strides > 1 and padding:
        x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        name=name,
        **options,
    )(x)


def convolve(
    x: Any,
    filters: int,
    kernel: int,
    *,
    name: str,
    norm: Norm | None = None,
    strides: int = 1,
    activation: str = "relu",
) -> Any:
    """Convolution, batch normalisation where ``norm`` is given (then without bias), activation.

    The layers are ``<name>``, ``<name>_bn`` and ``<name>_<activation>``; kernels are He-normal.
    """
    x = pad_and_convolve(
        x,
        filters,
        kernel,
        strides=strides,
        name=name,
        use_bias=norm is None,  # BatchNorm's beta takes its place
        kernel_initializer="he_normal",
    )
    if norm is not None:
        x = norm.layer(f"{name}_bn")(x)
    return layers.Activation(activation, name=f"{name}_{activation}")(x)
