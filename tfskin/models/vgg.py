"""VGG-16 and VGG-19."""

from collections.abc import Sequence
from functools import partial

import keras
from keras import layers

from tfskin.layers.batch_norm import BatchNormMode
from tfskin.layers.blocks import attach_input, convolve
from tfskin.layers.color import ColorSpaceName
from tfskin.models.arguments import ArgumentError, check_smallest_side, plain_norm
from tfskin.models.heads import attach_dense_logits

SMALLEST_SIDE = 32
REPEATS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions in each of the five blocks: configurations D and E of the paper's table 1."""


def build_vgg(
    *,
    depth: int,
    image_size: tuple[int, int] = (224, 224),
    num_classes: int,
    color_space: ColorSpaceName = "rgb",
    widths: Sequence[int] = (64, 128, 256, 512, 512),
    head_units: Sequence[int] = (4096, 4096),
    dropout: float = 0.5,
    batch_norm: BatchNormMode = "update",
    use_bn: bool = False,
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
) -> keras.Model:
    """VGG-16 or -19 from RGB images 0..255 to float32 logits.

    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    2015, arXiv:1409.1556, table 1, configurations D and E: 138,357,544 and 143,667,240 parameters
    with 1,000 classes. Layers have the names of ``keras.applications``, whose weights it takes;
    those have neither dropout nor batch normalisation.

    Deviation: the map before the dense layers is averaged to 7 x 7, which changes nothing at
    224 px (the paper crops or scans).

    Args:
        depth: 16 or 19.
        image_size: height and width, each at least 32 px.
        num_classes: number of logits.
        color_space: what the first layer turns RGB into.
        widths: channels of the five blocks.
        head_units: widths of the dense layers before the logits.
        dropout: probability of dropping a feature of a dense layer.
        batch_norm: what training changes in batch normalisation.
        use_bn: batch normalisation behind each convolution.
        bn_momentum: momentum of the moving statistics.
        bn_epsilon: added to the variance.

    Raises:
        ArgumentError: an image too small, other than five widths, a ``batch_norm`` that has no
            effect.
    """
    if len(widths) != len(REPEATS[depth]):
        raise ArgumentError("widths", f"five numbers are needed, one a block, got {len(widths)}")
    check_smallest_side(image_size, SMALLEST_SIDE)
    norm = plain_norm(batch_norm, use_bn=use_bn, momentum=bn_momentum, epsilon=bn_epsilon)

    image, x = attach_input(image_size, color_space, scale="caffe")
    for block, (width, repeats) in enumerate(zip(widths, REPEATS[depth], strict=True), start=1):
        for number in range(1, repeats + 1):
            x = convolve(x, width, 3, norm=norm, name=f"block{block}_conv{number}")
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    logits = attach_dense_logits(x, num_classes, units=head_units, grid=7, dropout=dropout)
    return keras.Model(image, logits, name=f"vgg{depth}")


build_vgg16 = partial(build_vgg, depth=16)
build_vgg19 = partial(build_vgg, depth=19)
