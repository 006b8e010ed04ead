"""EfficientNetV2-S, -M and -L."""

from functools import partial
from typing import Literal

import keras

from tfskin.layers.batch_norm import BatchNormMode
from tfskin.layers.blocks import Norm
from tfskin.layers.color import ColorSpaceName
from tfskin.models.applications import build_application
from tfskin.models.arguments import check_smallest_side

SMALLEST_SIDE = 32


def build_efficientnet_v2(
    *,
    variant: Literal["S", "M", "L"],
    image_size: tuple[int, int] = (384, 384),
    num_classes: int,
    color_space: ColorSpaceName = "rgb",
    dropout: float = 0.2,
    batch_norm: BatchNormMode = "update",
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-3,
    head_bn: bool = False,
) -> keras.Model:
    """EfficientNetV2 from RGB images 0..255 to float32 logits.

    Tan and Le, "EfficientNetV2: Smaller Models and Faster Training", 2021, arXiv:2104.00298,
    table 4, as ``keras.applications`` has it: 21,458,488 (S), 54,139,356 (M) and 118,515,272 (L)
    trainable parameters with 1,000 classes, images scaled by ``x / 128 - 1``. Keras's own scaling
    inside the network is left out, so that the images are scaled once.

    Args:
        variant: S, M or L.
        image_size: height and width, each at least 32 px.
        num_classes: number of logits.
        color_space: what the first layer turns RGB into.
        dropout: probability of dropping a pooled feature.
        batch_norm: what training changes in batch normalisation.
        bn_momentum: momentum of the moving statistics.
        bn_epsilon: added to the variance.
        head_bn: a batch normalisation of the pooled features.

    Raises:
        ArgumentError: an image too small.
    """
    check_smallest_side(image_size, SMALLEST_SIDE)
    return build_application(
        getattr(keras.applications, f"EfficientNetV2{variant}"),
        name=f"efficientnet_v2_{variant.lower()}",
        scale="minus_one_below_one",
        image_size=image_size,
        num_classes=num_classes,
        color_space=color_space,
        dropout=dropout,
        norm=Norm(batch_norm, bn_momentum, bn_epsilon),
        head_bn=head_bn,
        include_preprocessing=False,
    )


build_efficientnet_v2_s = partial(build_efficientnet_v2, variant="S")
build_efficientnet_v2_m = partial(build_efficientnet_v2, variant="M")
build_efficientnet_v2_l = partial(build_efficientnet_v2, variant="L")
