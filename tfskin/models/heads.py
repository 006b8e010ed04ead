"""From features to logits, and from logits to probabilities."""

from typing import Any

import keras
from keras import layers


def attach_logits(features: Any, num_classes: int, *, dropout: float) -> Any:
    """Float32 logits (N, num_classes) of a feature map (N, H, W, C).

    Global average pooling, dropout and a dense layer named ``logits``, all in float32 under
    every precision policy: sums over a large map overflow float16, and a loss needs the range.
    """
    pooled = layers.GlobalAveragePooling2D(dtype="float32", name="pool")(features)
    dropped = layers.Dropout(dropout, dtype="float32", name="dropout")(pooled)
    return layers.Dense(num_classes, dtype="float32", name="logits")(dropped)


def to_probabilities(model: keras.Model) -> keras.Model:
    """A model that shares the weights of ``model`` and returns float32 class probabilities.

    The softmax of the logits, (N, C), rows summing to 1; the output layer is named
    ``probabilities``.

    Raises:
        ValueError: the output of ``model`` is not one layer named ``logits`` without activation,
            so that a softmax is never taken twice.
    """
    name = f"model '{model.name}'"
    if list(model.output_names) != ["logits"]:
        raise ValueError(
            f"{name} ends in {', '.join(model.output_names)} and not in a layer named 'logits': "
            "probabilities are made from logits only"
        )
    activation = getattr(model.get_layer("logits"), "activation", keras.activations.linear)
    if activation is not keras.activations.linear:
        raise ValueError(
            f"{name}: layer 'logits' has the activation '{activation.__name__}', so its output "
            "are no logits"
        )
    probabilities = layers.Softmax(dtype="float32", name="probabilities")(model.outputs[0])
    return keras.Model(model.inputs, probabilities, name=f"{model.name}_probabilities")
