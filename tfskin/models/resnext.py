"""ResNeXt-50 32x4d and ResNeXt-101 32x8d."""

from collections.abc import Sequence
from functools import partial

import keras

from tfskin.layers.batch_norm import BatchNormMode
from tfskin.layers.blocks import Norm
from tfskin.layers.color import ColorSpaceName
from tfskin.models.arguments import ArgumentError
from tfskin.models.resnet import REPEATS, Residual, build_residual


def build_resnext(
    *,
    depth: int,
    image_size: tuple[int, int] = (224, 224),
    num_classes: int,
    color_space: ColorSpaceName = "rgb",
    widths: Sequence[int] = (64, 128, 256, 512),
    cardinality: int = 32,
    group_width: int = 4,
    zero_init_gamma: bool = False,
    small_stem: bool | None = None,
    dropout: float = 0.0,
    batch_norm: BatchNormMode = "update",
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
    head_bn: bool = False,
) -> keras.Model:
    """A ResNeXt from RGB images 0..255 to float32 logits.

    Xie, Girshick, Dollár, Tu, He, "Aggregated Residual Transformations for Deep Neural Networks",
    2017, arXiv:1611.05431, table 1, in the form of figure 3(c): a ResNet whose 3 x 3 convolutions
    have ``cardinality`` groups of ``group_width`` channels in the first stage, twice as many in
    each next. 32x4d of depth 50 has 25,028,904 trainable parameters with 1,000 classes, 32x8d of
    depth 101 has 88,791,336. The stride is in the grouped convolution. Layers have torchvision's
    names with ``_`` for ``.``, and take its weights.

    Args:
        depth: 50, 101 or 152.
        image_size: height and width; at least 32 px, or 8 px with the small stem.
        num_classes: number of logits.
        color_space: what the first layer turns RGB into.
        widths: channels of the four stages (a block's output has four times as many).
        cardinality: number of groups.
        group_width: channels of a group where the stage's width is 64.
        zero_init_gamma: start the last gamma of each block at 0.
        small_stem: see :func:`tfskin.models.resnet.build_resnet`.
        dropout: probability of dropping a pooled feature.
        batch_norm: what training changes in batch normalisation.
        bn_momentum: momentum of the moving statistics.
        bn_epsilon: added to the variance.
        head_bn: a batch normalisation of the pooled features.

    Raises:
        ArgumentError: an image too small, other than four widths, or a width whose groups would
            have no whole number of channels.
    """
    for width in widths:
        if width * group_width % 64:
            raise ArgumentError(
                "group_width",
                f"{width} x {group_width} / 64 channels a group is no whole number",
            )
    blocks = Residual(
        norm=Norm(batch_norm, bn_momentum, bn_epsilon),
        bottleneck=True,
        zero_init_gamma=zero_init_gamma,
        cardinality=cardinality,
        group_width=group_width,
    )
    return build_residual(
        f"resnext{depth}_{cardinality}x{group_width}d",
        blocks,
        image_size=image_size,
        color_space=color_space,
        widths=widths,
        repeats=REPEATS[depth],
        small_stem=small_stem,
        head={"num_classes": num_classes, "dropout": dropout, "head_bn": head_bn},
    )


build_resnext50 = partial(build_resnext, depth=50)
build_resnext101 = partial(build_resnext, depth=101, group_width=8)
