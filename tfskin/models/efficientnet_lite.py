"""EfficientNet-Lite0, -Lite1 and -Lite2."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras
from keras import layers

from tfskin.layers.batch_norm import BatchNormMode
from tfskin.layers.blocks import HE_FAN_OUT, Norm, attach_input
from tfskin.layers.color import ColorSpaceName
from tfskin.models.arguments import check_smallest_side
from tfskin.models.heads import attach_logits

SMALLEST_SIDE = 32
STEM_WIDTH, HEAD_WIDTH = 32, 1280

SCALING = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
"""Variant -> factors of the width and of the depth."""

# Blocks, kernel, stride, expansion and output channels of each stage (EfficientNet, table 1).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class _Block:
    """One inverted bottleneck."""

    name: str
    kernel: int
    strides: int
    expansion: int
    width: int
    drop: float


def build_efficientnet_lite(
    *,
    variant: Literal[0, 1, 2],
    image_size: tuple[int, int] = (224, 224),
    num_classes: int,
    color_space: ColorSpaceName = "rgb",
    dropout: float = 0.2,
    stochastic_depth: float = 0.2,
    batch_norm: BatchNormMode = "update",
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-3,
    head_bn: bool = False,
) -> keras.Model:
    """EfficientNet-Lite from RGB images 0..255 to float32 logits.

    EfficientNet (Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
    Networks", 2019, arXiv:1905.11946, table 1 and section 3.3) as TensorFlow's Lite variants have
    it: no squeeze-and-excitation, ReLU6 in place of SiLU; the widths of the stem (32 channels) and
    of the head (1,280) and the depths of the first and of the last stage are not scaled.
    4,652,008 (Lite0), 5,416,680 (Lite1) and 6,092,072 (Lite2) trainable parameters with 1,000
    classes, images scaled by ``(x - 127) / 128``.

    Convolutions are padded as TensorFlow's ``same`` (the odd row of zeros of a strided convolution
    is below and on the right), which the published weights were trained with; so is the
    epsilon of batch normalisation. Its momentum was 0.99 there; 0.9, as in every network here,
    follows a fine-tuning of a few hundred steps. Layers have the names of the PyTorch port
    ``efficientnet_lite_pytorch``, without leading underscores and with ``_`` for ``.``
    (``blocks_3_depthwise_conv``).

    Args:
        variant: 0, 1 or 2.
        image_size: height and width, each at least 32 px; published for 224 (Lite0), 240 (Lite1)
            and 260 px (Lite2).
        num_classes: number of logits.
        color_space: what the first layer turns RGB into.
        dropout: probability of dropping a pooled feature; 0.3 for Lite2.
        stochastic_depth: probability of leaving out the last block in a training step; that of
            the blocks before it rises linearly from 0 (Huang et al., "Deep Networks with
            Stochastic Depth", 2016, arXiv:1603.09382, equation 4).
        batch_norm: what training changes in batch normalisation.
        bn_momentum: momentum of the moving statistics.
        bn_epsilon: added to the variance.
        head_bn: a batch normalisation of the pooled features.

    Raises:
        ArgumentError: an image too small.
    """
    check_smallest_side(image_size, SMALLEST_SIDE)
    norm = Norm(batch_norm, bn_momentum, bn_epsilon)
    image, x = attach_input(image_size, color_space, scale="mean_127")
    x = layers.Conv2D(STEM_WIDTH, 3, strides=2, name="conv_stem", **_CONVOLUTION)(x)
    x = _activate(norm.layer("bn0")(x), "relu0")
    for block in _blocks(*SCALING[variant], stochastic_depth):
        x = _inverted_bottleneck(x, block, norm)
    x = layers.Conv2D(HEAD_WIDTH, 1, name="conv_head", **_CONVOLUTION)(x)
    x = _activate(norm.layer("bn1")(x), "relu1")
    logits = attach_logits(x, num_classes, dropout=dropout, head_norm=norm if head_bn else None)
    return keras.Model(image, logits, name=f"efficientnet_lite{variant}")


_CONVOLUTION: dict[str, Any] = {
    "padding": "same",
    "use_bias": False,
    "kernel_initializer": keras.initializers.VarianceScaling(**HE_FAN_OUT),
}


def _activate(x: Any, name: str) -> Any:
    return layers.Activation("relu6", name=name)(x)


def _blocks(wider: float, deeper: float, stochastic_depth: float) -> list[_Block]:
    """The blocks of all stages; the first and the last stage are as deep in every variant."""
    depths = [
        count if number in (0, len(STAGES) - 1) else math.ceil(deeper * count)
        for number, (count, *_) in enumerate(STAGES)
    ]
    blocks: list[_Block] = []
    for depth, (_, kernel, strides, expansion, width) in zip(depths, STAGES, strict=True):
        for number in range(depth):
            blocks.append(
                _Block(
                    name=f"blocks_{len(blocks)}",
                    kernel=kernel,
                    strides=1 if number else strides,
                    expansion=expansion,
                    width=_round_width(wider * width),
                    drop=stochastic_depth * len(blocks) / sum(depths),
                )
            )
    return blocks


def _round_width(width: float) -> int:
    """The nearest multiple of 8 that is not more than a tenth less."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def _inverted_bottleneck(x: Any, block: _Block, norm: Norm) -> Any:
    """A 1 x 1 convolution to more channels, a depthwise one, a 1 x 1 one to fewer; a shortcut."""
    name, y = block.name, x
    if block.expansion > 1:
        inner = block.expansion * x.shape[-1]
        y = layers.Conv2D(inner, 1, name=f"{name}_expand_conv", **_CONVOLUTION)(y)
        y = _activate(norm.layer(f"{name}_bn0")(y), f"{name}_relu0")
    y = layers.DepthwiseConv2D(
        block.kernel,
        strides=block.strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=_CONVOLUTION["kernel_initializer"],
        name=f"{name}_depthwise_conv",
    )(y)
    y = _activate(norm.layer(f"{name}_bn1")(y), f"{name}_relu1")
    y = layers.Conv2D(block.width, 1, name=f"{name}_project_conv", **_CONVOLUTION)(y)
    y = norm.layer(f"{name}_bn2")(y)
    if block.strides > 1 or x.shape[-1] != block.width:
        return y
    if block.drop:
        y = layers.Dropout(block.drop, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(y)
    return layers.Add(name=f"{name}_add")([y, x])


build_efficientnet_lite0 = partial(build_efficientnet_lite, variant=0)
build_efficientnet_lite1 = partial(build_efficientnet_lite, variant=1, image_size=(240, 240))
build_efficientnet_lite2 = partial(
    build_efficientnet_lite, variant=2, image_size=(260, 260), dropout=0.3
)
