"""From features to logits, and from logits to probabilities."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tfskin.layers.blocks import Norm
from tfskin.layers.grid_pool import GridPool


def attach_logits(
    features: Any, num_classes: int, *, dropout: float, head_norm: Norm | None = None
) -> Any:
    """Float32 logits (N, num_classes) of a feature map (N, H, W, C).

    Global average pooling, batch normalisation where ``head_norm`` is given, dropout and a dense
    layer named ``logits``, all in float32 under every precision policy: sums over a large map
    overflow float16, and a loss needs the range. Everything from layer ``pool`` on is the head.
    """
    pooled = layers.GlobalAveragePooling2D(dtype="float32", name="pool")(features)
    if head_norm is not None:
        pooled = head_norm.layer("head_bn")(pooled)
    dropped = layers.Dropout(dropout, dtype="float32", name="dropout")(pooled)
    return layers.Dense(num_classes, dtype="float32", name="logits")(dropped)


def attach_dense_logits(
    features: Any, num_classes: int, *, units: Sequence[int], grid: int, dropout: float
) -> Any:
    """Float32 logits of a feature map by way of dense layers, as AlexNet and VGG have them.

    The map is averaged to ``grid`` x ``grid`` (layer ``pool``; the size of the input changes no
    number of weights, and at the paper's size nothing is averaged), flattened, and each of
    ``units`` is a dense layer ``fc1``, ``fc2``, ... with ReLU, behind dropout before the last.
    """
    x = GridPool(grid, name="pool")(features)
    x = layers.Flatten(name="flatten")(x)
    for number, width in enumerate(units, start=1):
        x = layers.Dense(
            width, activation="relu", kernel_initializer="he_normal", name=f"fc{number}"
        )(x)
        x = layers.Dropout(dropout, name=f"dropout{number}")(x)
    return layers.Dense(num_classes, dtype="float32", name="logits")(x)


def to_probabilities(model: keras.Model) -> keras.Model:
    """A model that shares the weights of ``model`` and returns float32 class probabilities.

    The softmax of the logits, (N, C), rows summing to 1; the output layer is named
    ``probabilities``.

    Raises:
        ValueError: ``model`` has more than one input, or its output is not one layer named
            ``logits`` without activation, so that a softmax is never taken twice.
    """
    name = f"model '{model.name}'"
    if len(model.inputs) != 1:
        raise ValueError(f"{name} has {len(model.inputs)} inputs: networks here take one image")
    last = [tensor._keras_history.operation for tensor in model.outputs]
    if [layer.name for layer in last] != ["logits"]:
        raise ValueError(
            f"{name} ends in {', '.join(layer.name for layer in last)} and not in a layer named "
            "'logits': probabilities are made from logits only"
        )
    activation = getattr(last[0], "activation", keras.activations.linear)
    if activation is not keras.activations.linear:
        raise ValueError(
            f"{name}: layer 'logits' has the activation '{activation.__name__}', so its output "
            "are no logits"
        )
    probabilities = layers.Softmax(dtype="float32", name="probabilities")(model.outputs[0])
    return keras.Model(model.inputs[0], probabilities, name=f"{model.name}_probabilities")
