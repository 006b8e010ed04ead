"""The range of pixel values a network expects, as its first layer."""

from typing import Any, Literal, get_args

import keras
from keras import ops

ScaleMode = Literal[
    "minus_one_one", "imagenet", "zero_one", "caffe", "minus_one_below_one", "mean_127"
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable(package="tfskin")
class Scale(keras.layers.Layer):
    """RGB images brought to the range that a network was trained with.

    Input (N, H, W, 3) in 0..255; output of the same shape in the compute dtype, computed in
    float32 from the uncast input.

    - ``minus_one_one``: ``x / 127.5 - 1`` (Inception, MobileNet)
    - ``zero_one``: ``x / 255``
    - ``imagenet``: ``(x / 255 - mean) / deviation`` per channel, with ImageNet's mean
      (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225) (ResNet and most of torchvision)
    - ``caffe``: blue, green and red in this order, less ImageNet's mean (103.939, 116.779,
      123.68), not divided (VGG and Keras's ResNets)
    - ``minus_one_below_one``: ``x / 128 - 1`` (EfficientNetV2-S, M and L in Keras)
    - ``mean_127``: ``(x - 127) / 128`` (EfficientNet-Lite)

    Args:
        mode: the range.
        **kwargs: arguments of ``keras.layers.Layer``.

    Raises:
        ValueError: an unknown mode.
    """

    def __init__(self, mode: ScaleMode = "minus_one_one", **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "autocast": False})
        if mode not in get_args(ScaleMode):
            raise ValueError(f"mode must be one of {', '.join(get_args(ScaleMode))}, got {mode!r}")
        self.mode = mode

    def call(self, images: Any) -> Any:
        """``images`` in the range."""
        images = ops.cast(images, "float32")
        if self.mode == "minus_one_one":
            scaled = images / 127.5 - 1.0
        elif self.mode == "zero_one":
            scaled = images / 255.0
        elif self.mode == "minus_one_below_one":
            scaled = images / 128.0 - 1.0
        elif self.mode == "mean_127":
            scaled = (images - 127.0) / 128.0
        elif self.mode == "caffe":
            scaled = ops.flip(images, axis=-1) - ops.array(CAFFE_MEAN, dtype="float32")
        else:
            mean = ops.array(IMAGENET_MEAN, dtype="float32")
            scaled = (images / 255.0 - mean) / ops.array(IMAGENET_DEVIATION, dtype="float32")
        return ops.cast(scaled, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again."""
        return {**super().get_config(), "mode": self.mode}
