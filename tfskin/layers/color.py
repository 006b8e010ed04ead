"""The colour space a network sees, as its first layer."""

from typing import Any, Literal, get_args

import keras
from keras import ops

from tfskin.layers.fourier import log_magnitude

ColorSpaceName = Literal["rgb", "hsv", "fft"]


@keras.saving.register_keras_serializable(package="tfskin")
class ColorSpace(keras.layers.Layer):
    """RGB images in another colour space, all of them in a comparable range around 0.

    Input (N, H, W, 3) RGB in 0..255; output of the same shape in the compute dtype. The input is
    not cast down first and everything is computed in float32: bfloat16 would keep 8 bits of it,
    and the Fourier transform takes no half precision.

    - ``rgb``: ``x / 127.5 - 1``, in [-1, 1].
    - ``hsv``: hue, saturation and value as ``colorsys`` defines them, in [-1, 1]. Hue is an
      angle, and skin is red, where it jumps from 1 to 0: half of the skin would be at one end
      of the range and half at the other. So hue is turned by half a turn: red is 0 in the
      middle, and the jump lies at cyan (-1 and 1). Grey, which has no hue, is 0 too. This
      deviates from the papers, which feed the unturned hue.
    - ``fft``: the standardised log-magnitude spectrum of each channel,
      :func:`tfskin.layers.fourier.log_magnitude`.

    Args:
        space: the colour space.
        **kwargs: arguments of ``keras.layers.Layer``.

    Raises:
        ValueError: an unknown colour space.
    """

    def __init__(self, space: ColorSpaceName = "rgb", **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "autocast": False})
        if space not in get_args(ColorSpaceName):
            known = ", ".join(get_args(ColorSpaceName))
            raise ValueError(f"space must be one of {known}, got {space!r}")
        self.space = space

    def call(self, images: Any) -> Any:
        """``images`` in the colour space."""
        images = ops.cast(images, "float32")
        if self.space == "rgb":
            converted = images / 127.5 - 1.0
        elif self.space == "hsv":
            converted = _centred_hsv(images)
        else:
            converted = log_magnitude(images)
        return ops.cast(converted, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "space": self.space}


def _centred_hsv(images: Any) -> Any:
    hsv = ops.image.rgb_to_hsv(images / 255.0, data_format="channels_last")
    hue, saturation, value = hsv[..., 0:1], hsv[..., 1:2], hsv[..., 2:3]
    turned = ops.where(hue < 0.5, hue + 0.5, hue - 0.5)
    return 2.0 * ops.concatenate([turned, saturation, value], axis=-1) - 1.0
