"""Colour constancy: images as if each had been taken in white light."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfskin")
class ShadesOfGray(keras.layers.Layer):
    """Each RGB image divided by the colour of its light, estimated as the p-mean of its pixels.

    The light is ``e_c = mean(x_c^p)^(1/p)`` for channel c, scaled to length 1, and the result is
    ``x_c / (sqrt(3) e_c)``, cut at 255 (Finlayson and Trezzi, "Shades of Gray and Colour
    Constancy", 2004, equation 5 and section 4, which finds p = 6 best; for dermoscopy Barata et
    al., "Improving Dermoscopy Image Classification Using Color Constancy", 2015). ``p`` 1 is the
    grey world; towards infinity it is the brightest pixel (white patch). Grey light changes
    nothing. Pixel values are taken as they are, without undoing gamma; a channel that is black
    everywhere stays black.

    Input and output (N, H, W, 3) float32 in 0..255, under every policy: the colour space layer
    behind it computes in float32 too.

    Args:
        power: p, at least 1.
        **kwargs: arguments of ``keras.layers.Layer``.

    Raises:
        ValueError: ``power`` below 1.
    """

    def __init__(self, power: float = 6.0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "autocast": False, "dtype": "float32"})
        if power < 1:
            raise ValueError(f"power must be at least 1, got {power}")
        self.power = power

    def call(self, images: Any) -> Any:
        """``images`` in white light."""
        images = ops.cast(images, "float32")
        # In 0..1: the sixth power of 255 times a megapixel leaves float32 few digits.
        means = ops.mean((images / 255.0) ** self.power, axis=(1, 2), keepdims=True)
        light = ops.maximum(means, 1e-12) ** (1.0 / self.power)
        light = light / ops.sqrt(ops.sum(light**2, axis=-1, keepdims=True))
        return ops.minimum(images / (3.0**0.5 * light), 255.0)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "power": self.power}
