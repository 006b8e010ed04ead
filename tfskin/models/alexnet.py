"""AlexNet in its one-tower form."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tfskin.layers.batch_norm import BatchNormMode
from tfskin.layers.blocks import attach_input
from tfskin.layers.color import ColorSpaceName
from tfskin.models.arguments import ArgumentError, check_smallest_side, plain_norm
from tfskin.models.heads import attach_dense_logits

SMALLEST_SIDE = 63
STAGES = ((11, 4, 2, True), (5, 1, 2, True), (3, 1, 1, False), (3, 1, 1, False), (3, 1, 1, True))
"""Kernel, stride, padding, and whether a pooling follows, of the five convolutions."""


def build_alexnet(
    *,
    image_size: tuple[int, int] = (224, 224),
    num_classes: int,
    color_space: ColorSpaceName = "rgb",
    widths: Sequence[int] = (64, 192, 384, 256, 256),
    head_units: Sequence[int] = (4096, 4096),
    dropout: float = 0.5,
    batch_norm: BatchNormMode = "update",
    use_bn: bool = False,
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-5,
) -> keras.Model:
    """AlexNet's one-tower form from RGB images 0..255 to float32 logits.

    Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014,
    arXiv:1404.5997, footnote 1: the network of Krizhevsky, Sutskever and Hinton (2012) with one
    tower in place of two. 61,100,840 parameters with 1,000 classes, like torchvision's, whose
    weights it takes. Pooling is overlapping, 3 x 3 with stride 2.

    Deviations: no local response normalisation (as in torchvision); the map before the dense
    layers is averaged to 6 x 6, which changes nothing at 224 px; dropout follows the dense layers
    instead of preceding them.

    Args:
        image_size: height and width, each at least 63 px.
        num_classes: number of logits.
        color_space: what the first layer turns RGB into.
        widths: channels of the five convolutions.
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
    if len(widths) != len(STAGES):
        raise ArgumentError("widths", f"five numbers are needed, got {len(widths)}")
    check_smallest_side(image_size, SMALLEST_SIDE)
    norm = plain_norm(batch_norm, use_bn=use_bn, momentum=bn_momentum, epsilon=bn_epsilon)

    image, x = attach_input(image_size, color_space, scale="imagenet")
    stages: Any = enumerate(zip(widths, STAGES, strict=True), start=1)
    for number, (width, (kernel, strides, padding, pooled)) in stages:
        name = f"conv{number}"
        x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
        x = layers.Conv2D(
            width,
            kernel,
            strides=strides,
            use_bias=norm is None,
            kernel_initializer="he_normal",
            name=name,
        )(x)
        if norm is not None:
            x = norm.layer(f"{name}_bn")(x)
        x = layers.Activation("relu", name=f"{name}_relu")(x)
        if pooled:
            x = layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
    logits = attach_dense_logits(x, num_classes, units=head_units, grid=6, dropout=dropout)
    return keras.Model(image, logits, name="alexnet")
