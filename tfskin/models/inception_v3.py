"""InceptionV3."""

import keras

from tfskin.layers.batch_norm import BatchNormMode
from tfskin.layers.blocks import Norm
from tfskin.layers.color import ColorSpaceName
from tfskin.models.applications import build_application
from tfskin.models.arguments import check_smallest_side

SMALLEST_SIDE = 75


def build_inception_v3(
    *,
    image_size: tuple[int, int] = (299, 299),
    num_classes: int,
    color_space: ColorSpaceName = "rgb",
    dropout: float = 0.2,
    batch_norm: BatchNormMode = "update",
    bn_momentum: float = 0.9,
    bn_epsilon: float = 1e-3,
    head_bn: bool = False,
) -> keras.Model:
    """InceptionV3 from RGB images 0..255 to float32 logits.

    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer
    Vision", 2016, arXiv:1512.00567, table 1, as ``keras.applications.InceptionV3`` has it:
    23,817,352 trainable parameters with 1,000 classes, images scaled to [-1, 1], no gamma in
    batch normalisation. Blocks end in the layers ``mixed0`` to ``mixed10``.

    Deviations: no auxiliary head; dropout before the logits, as in the authors' code; the momentum
    is 0.9 unless given (Keras: 0.99).

    Args:
        image_size: height and width, each at least 75 px.
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
        keras.applications.InceptionV3,
        name="inception_v3",
        scale="minus_one_one",
        image_size=image_size,
        num_classes=num_classes,
        color_space=color_space,
        dropout=dropout,
        norm=Norm(batch_norm, bn_momentum, bn_epsilon),
        head_bn=head_bn,
    )
