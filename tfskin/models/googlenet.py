"""GoogLeNet (Inception v1) with its auxiliary heads."""

from typing import Any, NamedTuple

import keras
from keras import layers

from tfskin.layers.batch_norm import BatchNormMode
from tfskin.layers.blocks import Norm, attach_input, convolve
from tfskin.layers.color import ColorSpaceName
from tfskin.models.arguments import check_smallest_side, plain_norm
from tfskin.models.auxiliary import WithAuxiliaries
from tfskin.models.heads import attach_logits

SMALLEST_SIDE = 32


class Widths(NamedTuple):
    """Channels of an Inception module: a row of the paper's table 1."""

    one: int
    three_reduce: int
    three: int
    five_reduce: int
    five: int
    pooled: int


MODULES = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}
POOL_BEFORE = {"4a": "pool3", "5a": "pool4"}
AUXILIARY_AFTER = {"4a": "aux1", "4d": "aux2"}


def build_googlenet(
    *,
    image_size: tuple[int, int] = (224, 224),
    num_classes: int,
    color_space: ColorSpaceName = "rgb",
    aux_weight: float = 0.3,
    dropout: float = 0.4,
    batch_norm: BatchNormMode = "update",
    use_bn: bool = False,
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-3,
    head_bn: bool = False,
) -> keras.Model:
    """GoogLeNet from RGB images 0..255 to float32 logits.

    Szegedy et al., "Going Deeper with Convolutions", 2015, arXiv:1409.4842, table 1: 6,998,552
    parameters with 1,000 classes without the auxiliary heads, 13,378,280 with both. In training
    the loss of each auxiliary head counts ``aux_weight``; at inference the heads are absent from
    the graph, and so from exports (:class:`~tfskin.models.auxiliary.WithAuxiliaries`).

    Deviations: no local response normalisation. Below 224 px the average pooling of an auxiliary
    head is as large as the map where that is under 5 px.

    Args:
        image_size: height and width, each at least 32 px.
        num_classes: number of logits.
        color_space: what the first layer turns RGB into.
        aux_weight: weight of each auxiliary loss; 0 builds no auxiliary heads.
        dropout: probability of dropping a pooled feature.
        batch_norm: what training changes in batch normalisation.
        use_bn: batch normalisation behind each convolution (Ioffe and Szegedy, 2015).
        bn_momentum: momentum of the moving statistics.
        bn_epsilon: added to the variance.
        head_bn: a batch normalisation of the pooled features.

    Raises:
        ArgumentError: an image too small, a ``batch_norm`` that has no effect.
    """
    check_smallest_side(image_size, SMALLEST_SIDE)
    norm = plain_norm(
        batch_norm, use_bn=use_bn or head_bn, momentum=bn_momentum, epsilon=bn_epsilon
    )
    head_norm, norm = (norm if head_bn else None), (norm if use_bn else None)

    image, x = attach_input(image_size, color_space, scale="imagenet")
    x = convolve(x, 64, 7, strides=2, norm=norm, name="conv1")
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    x = convolve(x, 64, 1, norm=norm, name="conv2_reduce")
    x = convolve(x, 192, 3, norm=norm, name="conv2")
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool2")(x)
    auxiliaries = []
    for module, widths in MODULES.items():
        if module in POOL_BEFORE:
            x = layers.MaxPooling2D(3, 2, padding="same", name=POOL_BEFORE[module])(x)
        x = _inception(x, widths, norm, name=f"inception_{module}")
        if module in AUXILIARY_AFTER and aux_weight:
            auxiliaries.append(_auxiliary(x, num_classes, norm, name=AUXILIARY_AFTER[module]))
    logits = attach_logits(x, num_classes, dropout=dropout, head_norm=head_norm)
    if not auxiliaries:
        return keras.Model(image, logits, name="googlenet")
    network = keras.Model(image, [logits, *auxiliaries], name="training_network")
    return WithAuxiliaries(network, weight=aux_weight, name="googlenet")


def _inception(x: Any, widths: Widths, norm: Norm | None, *, name: str) -> Any:
    """The module of the paper's figure 2(b)."""
    one = convolve(x, widths.one, 1, norm=norm, name=f"{name}_1x1")
    three = convolve(x, widths.three_reduce, 1, norm=norm, name=f"{name}_3x3_reduce")
    three = convolve(three, widths.three, 3, norm=norm, name=f"{name}_3x3")
    five = convolve(x, widths.five_reduce, 1, norm=norm, name=f"{name}_5x5_reduce")
    five = convolve(five, widths.five, 5, norm=norm, name=f"{name}_5x5")
    pooled = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    pooled = convolve(pooled, widths.pooled, 1, norm=norm, name=f"{name}_pool_proj")
    return layers.Concatenate(name=name)([one, three, five, pooled])


def _auxiliary(x: Any, num_classes: int, norm: Norm | None, *, name: str) -> Any:
    """The side head of the paper's section 5."""
    size = tuple(min(5, side) for side in x.shape[1:3])
    x = layers.AveragePooling2D(size, 3, name=f"{name}_pool")(x)
    x = convolve(x, 128, 1, norm=norm, name=f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(1024, activation="relu", kernel_initializer="he_normal", name=f"{name}_fc")(x)
    x = layers.Dropout(0.7, name=f"{name}_dropout")(x)
    return layers.Dense(num_classes, dtype="float32", name=f"{name}_logits")(x)
