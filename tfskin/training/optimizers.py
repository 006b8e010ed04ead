"""The optimisers a config can name."""

from typing import Any, Literal

import keras
from keras.optimizers import SGD, Adam, AdamW

from tfskin.training.layerwise import LayerwiseAdam, LayerwiseAdamW, LayerwiseSGD


def build_optimizer(
    optimizer: Literal["adam", "adamw", "sgd"],
    *,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    nesterov: bool = True,
    rates: dict[str, float] | None = None,
) -> keras.optimizers.Optimizer:
    """A Keras optimiser.

    ``weight_decay`` is decoupled (Loshchilov and Hutter, arXiv:1711.05101) and applies to adamw
    only. Biases and BatchNorm's gamma and beta are not decayed: it would pull them from values
    that only set the scale of what follows. ``rates`` are factors of the learning rate by the path
    of a weight (:func:`tfskin.training.layerwise.depth_rates`).
    """
    if optimizer == "adam":
        return LayerwiseAdam(learning_rate, rates=rates) if rates else Adam(learning_rate)
    if optimizer == "sgd":
        options: dict[str, Any] = {"momentum": momentum, "nesterov": nesterov}
        return (
            LayerwiseSGD(learning_rate, rates=rates, **options)
            if rates
            else SGD(learning_rate, **options)
        )
    made: Any = (
        LayerwiseAdamW(learning_rate, weight_decay=weight_decay, rates=rates)
        if rates
        else AdamW(learning_rate, weight_decay=weight_decay)
    )
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made
