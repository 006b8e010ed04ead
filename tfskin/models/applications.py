"""Networks of ``keras.applications`` in the form that networks have here."""

from collections.abc import Callable
from typing import Any

import keras

from tfskin.layers.batch_norm import replace_batch_norm
from tfskin.layers.blocks import Norm, attach_input
from tfskin.layers.color import ColorSpaceName
from tfskin.layers.scaling import ScaleMode
from tfskin.models.heads import attach_logits
from tfskin.models.names import count_from_zero


def build_application(
    application: Callable[..., keras.Model],
    *,
    name: str,
    scale: ScaleMode,
    image_size: tuple[int, int],
    num_classes: int,
    color_space: ColorSpaceName,
    dropout: float,
    norm: Norm,
    head_bn: bool,
    **options: Any,
) -> keras.Model:
    """A convolutional base of ``keras.applications`` between our first layers and our head.

    The base stands in the model layer by layer, not as a nested model, so that layers can be
    frozen and looked at by name; its batch normalisations are
    :class:`~tfskin.layers.batch_norm.BatchNorm`. Names that Keras counts up within a process
    (``conv2d_188``) are counted from 0, so that they are the same in every process.

    Args:
        application: such as ``keras.applications.InceptionV3``.
        name: of the model.
        scale: the range that its weights were trained with.
        image_size: height and width.
        num_classes: number of logits.
        color_space: what the first layer turns RGB into.
        dropout: probability of dropping a pooled feature.
        norm: mode, momentum and epsilon of every batch normalisation.
        head_bn: a batch normalisation of the pooled features.
        **options: arguments of the application.
    """
    image, x = attach_input(image_size, color_space, scale=scale)
    base = application(include_top=False, weights=None, input_tensor=x, **options)
    model = keras.Model(image, base.output, name=name)
    model = replace_batch_norm(
        model,
        norm.mode,
        names=count_from_zero([layer.name for layer in model.layers]),
        momentum=norm.momentum,
        epsilon=norm.epsilon,
    )
    logits = attach_logits(
        model.output, num_classes, dropout=dropout, head_norm=norm if head_bn else None
    )
    return keras.Model(model.input, logits, name=name)
