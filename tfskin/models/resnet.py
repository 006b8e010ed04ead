"""ResNet-10 to ResNet-152, and the residual network that ResNeXt shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import keras
from keras import layers

from tfskin.layers.batch_norm import BatchNormMode
from tfskin.layers.blocks import HE_FAN_OUT, Norm, attach_input, pad_and_convolve
from tfskin.layers.color import ColorSpaceName
from tfskin.models.arguments import ArgumentError, check_smallest_side
from tfskin.models.heads import attach_logits

REPEATS = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Blocks in each of the four stages (He et al., table 1; depth 10: one a stage)."""

BOTTLENECK_FROM = 50
EXPANSION = 4
SMALL_IMAGE = 96
StridePlacement = Literal["v1", "v1.5"]


@dataclass(frozen=True)
class Residual:
    """What the blocks of a residual network have in common."""

    norm: Norm
    bottleneck: bool
    stride_placement: StridePlacement = "v1.5"
    zero_init_gamma: bool = False
    cardinality: int = 1
    group_width: int = 64

    def inner_width(self, width: int) -> int:
        """Channels of the 3 x 3 convolution in a bottleneck block of a stage of that width."""
        return width * self.group_width // 64 * self.cardinality


def build_resnet(
    *,
    depth: int,
    image_size: tuple[int, int] = (224, 224),
    num_classes: int,
    color_space: ColorSpaceName = "rgb",
    widths: Sequence[int] = (64, 128, 256, 512),
    stride_placement: StridePlacement = "v1.5",
    zero_init_gamma: bool = False,
    small_stem: bool | None = None,
    dropout: float = 0.0,
    batch_norm: BatchNormMode = "update",
    bn_momentum: float = 0.9,
    bn_epsilon: float | None = None,
    head_bn: bool = False,
) -> keras.Model:
    """A ResNet from RGB images 0..255 to float32 logits.

    He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385,
    table 1 and section 4.1 (projection shortcuts where the shape changes, option B). No
    convolution has a bias, since batch normalisation follows; kernels are He-normal by fan-out.
    Layers have torchvision's names with ``_`` for ``.`` (``layer1_0_conv1``), and the paddings
    are symmetric as there. Depth 10 is one basic block a stage.

    ``v1`` is the paper: the stride of a bottleneck is in its first 1 x 1 convolution, and it
    takes ``keras.applications``'s weights, so it has their epsilon 1.001e-5 and the scaling
    ``caffe``. ``v1.5`` has the stride in the 3 x 3 convolution (Goyal et al., "Accurate, Large
    Minibatch SGD", 2017, arXiv:1706.02677, section 5.1), torchvision's epsilon 1e-5, weights and
    scaling. Basic blocks (depth 10, 18, 34) are the same in both.

    Args:
        depth: 10, 18, 34, 50, 101 or 152.
        image_size: height and width; at least 32 px, or 8 px with the small stem.
        num_classes: number of logits.
        color_space: what the first layer turns RGB into.
        widths: channels of the four stages (a bottleneck's output has four times as many).
        stride_placement: which convolution of a bottleneck has the stride.
        zero_init_gamma: start the last gamma of each block at 0, so that each block starts as the
            identity (Goyal et al., section 5.1).
        small_stem: a 3 x 3 convolution without stride or pooling in place of the 7 x 7 one with
            both (He et al., section 4.2); unless given, for images with a side under 96 px.
        dropout: probability of dropping a pooled feature.
        batch_norm: what training changes in batch normalisation.
        bn_momentum: momentum of the moving statistics.
        bn_epsilon: added to the variance.
        head_bn: a batch normalisation of the pooled features.

    Raises:
        ArgumentError: an image too small, or other than four widths.
    """
    if bn_epsilon is None:
        bn_epsilon = 1e-5 if stride_placement == "v1.5" else 1.001e-5
    blocks = Residual(
        norm=Norm(batch_norm, bn_momentum, bn_epsilon),
        bottleneck=depth >= BOTTLENECK_FROM,
        stride_placement=stride_placement,
        zero_init_gamma=zero_init_gamma,
    )
    return build_residual(
        f"resnet{depth}",
        blocks,
        image_size=image_size,
        color_space=color_space,
        widths=widths,
        repeats=REPEATS[depth],
        small_stem=small_stem,
        head={"num_classes": num_classes, "dropout": dropout, "head_bn": head_bn},
    )


def build_residual(
    name: str,
    blocks: Residual,
    *,
    image_size: tuple[int, int],
    color_space: ColorSpaceName,
    widths: Sequence[int],
    repeats: Sequence[int],
    small_stem: bool | None,
    head: dict[str, Any],
) -> keras.Model:
    """A residual network of these blocks; see :func:`build_resnet` for the arguments."""
    if len(widths) != len(repeats):
        raise ArgumentError("widths", f"four numbers are needed, one a stage, got {len(widths)}")
    small = min(image_size) < SMALL_IMAGE if small_stem is None else small_stem
    check_smallest_side(image_size, 8 if small else 32)
    scale = "caffe" if blocks.bottleneck and blocks.stride_placement == "v1" else "imagenet"
    image, x = attach_input(image_size, color_space, scale=scale)  # type: ignore[arg-type]
    x = _stem(x, widths[0], blocks.norm, small=small)
    block = _bottleneck if blocks.bottleneck else _basic
    for stage, (width, count) in enumerate(zip(widths, repeats, strict=True), start=1):
        for number in range(count):
            strides = 2 if stage > 1 and number == 0 else 1
            x = block(x, width, blocks, strides=strides, name=f"layer{stage}_{number}")
    logits = attach_logits(
        x,
        head["num_classes"],
        dropout=head["dropout"],
        head_norm=blocks.norm if head["head_bn"] else None,
    )
    return keras.Model(image, logits, name=name)


def _stem(x: Any, width: int, norm: Norm, *, small: bool) -> Any:
    kernel, strides = (3, 1) if small else (7, 2)
    x = _convolution(x, width, kernel, strides=strides, name="conv1")
    x = norm.layer("bn1")(x)
    x = layers.Activation("relu", name="relu")(x)
    if small:
        return x
    x = layers.ZeroPadding2D(1, name="maxpool_pad")(x)  # zeros are the lowest values after ReLU
    return layers.MaxPooling2D(3, 2, name="maxpool")(x)


def _basic(x: Any, width: int, blocks: Residual, *, strides: int, name: str) -> Any:
    """Two 3 x 3 convolutions and the shortcut (He et al., figure 5, left)."""
    shortcut = _shortcut(x, width, blocks.norm, strides=strides, name=name)
    y = _convolution(x, width, 3, strides=strides, name=f"{name}_conv1")
    y = blocks.norm.layer(f"{name}_bn1")(y)
    y = layers.Activation("relu", name=f"{name}_relu1")(y)
    y = _convolution(y, width, 3, name=f"{name}_conv2")
    return _join(y, shortcut, blocks, last=f"{name}_bn2", name=name)


def _bottleneck(x: Any, width: int, blocks: Residual, *, strides: int, name: str) -> Any:
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution and the shortcut (He et al., figure 5, right)."""
    inner, outer = blocks.inner_width(width), EXPANSION * width
    first, second = (strides, 1) if blocks.stride_placement == "v1" else (1, strides)
    shortcut = _shortcut(x, outer, blocks.norm, strides=strides, name=name)
    y = _convolution(x, inner, 1, strides=first, name=f"{name}_conv1")
    y = blocks.norm.layer(f"{name}_bn1")(y)
    y = layers.Activation("relu", name=f"{name}_relu1")(y)
    y = _convolution(y, inner, 3, strides=second, groups=blocks.cardinality, name=f"{name}_conv2")
    y = blocks.norm.layer(f"{name}_bn2")(y)
    y = layers.Activation("relu", name=f"{name}_relu2")(y)
    y = _convolution(y, outer, 1, name=f"{name}_conv3")
    return _join(y, shortcut, blocks, last=f"{name}_bn3", name=name)


def _shortcut(x: Any, width: int, norm: Norm, *, strides: int, name: str) -> Any:
    if strides == 1 and x.shape[-1] == width:
        return x
    x = _convolution(x, width, 1, strides=strides, name=f"{name}_downsample_0")
    return norm.layer(f"{name}_downsample_1")(x)


def _join(y: Any, shortcut: Any, blocks: Residual, *, last: str, name: str) -> Any:
    gamma = "zeros" if blocks.zero_init_gamma else "ones"
    y = blocks.norm.layer(last, gamma=gamma)(y)
    y = layers.Add(name=f"{name}_add")([y, shortcut])
    return layers.Activation("relu", name=f"{name}_relu")(y)


def _convolution(
    x: Any, filters: int, kernel: int, *, strides: int = 1, groups: int = 1, name: str
) -> Any:
    return pad_and_convolve(
        x,
        filters,
        kernel,
        strides=strides,
        groups=groups,
        name=name,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(**HE_FAN_OUT),
    )


build_resnet10 = partial(build_resnet, depth=10)
build_resnet18 = partial(build_resnet, depth=18)
build_resnet34 = partial(build_resnet, depth=34)
build_resnet50 = partial(build_resnet, depth=50)
build_resnet101 = partial(build_resnet, depth=101)
build_resnet152 = partial(build_resnet, depth=152)
