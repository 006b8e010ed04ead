"""LeNet-5."""

from typing import Any

import keras
from keras import layers

from tfskin.layers.batch_norm import BatchNormMode
from tfskin.layers.color import ColorSpace, ColorSpaceName
from tfskin.models.arguments import check_keras_name, check_smallest_side, plain_norm

SMALLEST_SIDE = 32


def build_lenet(
    *,
    image_size: tuple[int, int] = (32, 32),
    num_classes: int,
    color_space: ColorSpaceName = "rgb",
    activation: str = "tanh",
    dropout: float = 0.0,
    batch_norm: BatchNormMode = "update",
    use_bn: bool = False,
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
) -> keras.Model:
    """LeNet-5 from RGB images 0..255 to float32 logits.

    LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition",
    Proceedings of the IEEE 86 (1998), section II.B and figure 2: convolutions C1 (6 maps), C3
    (16) and C5 (120) of 5 x 5 without padding, 2 x 2 average pooling S2 and S4, dense F6 (84).
    Three colours in place of grey add 300 weights; with ten classes there are 62,006 parameters.

    Deviations: plain tanh; plain average pooling (the paper's has a gain and a bias); C3 sees all
    maps of S2; the output is linear, not radial basis functions. On images above 32 px C5 has a
    map, which is averaged, so the size of the input does not change the number of weights.

    Args:
        image_size: height and width, each at least 32 px.
        num_classes: number of logits.
        color_space: what the first layer turns RGB into.
        activation: a Keras activation.
        dropout: probability of dropping a feature of F6.
        batch_norm: what training changes in batch normalisation.
        use_bn: batch normalisation behind each convolution.
        bn_momentum: momentum of the moving statistics.
        bn_epsilon: added to the variance.

    Raises:
        ArgumentError: an image too small, an unknown activation, a ``batch_norm`` that has no
            effect.
    """
    check_smallest_side(image_size, SMALLEST_SIDE)
    check_keras_name("activation", activation, keras.activations)
    norm = plain_norm(batch_norm, use_bn=use_bn, momentum=bn_momentum, epsilon=bn_epsilon)

    image = keras.Input((*image_size, 3), dtype="float32", name="image")
    x: Any = ColorSpace(color_space, name="color_space")(image)
    for name, maps, pooling in (("c1", 6, "s2"), ("c3", 16, "s4"), ("c5", 120, None)):
        x = layers.Conv2D(maps, 5, use_bias=norm is None, name=name)(x)
        if norm is not None:
            x = norm.layer(f"{name}_bn")(x)
        x = layers.Activation(activation, name=f"{name}_activation")(x)
        if pooling:
            x = layers.AveragePooling2D(2, name=pooling)(x)
    x = layers.GlobalAveragePooling2D(dtype="float32", name="pool")(x)
    x = layers.Dense(84, activation=activation, name="f6")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="lenet")
