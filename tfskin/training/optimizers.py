"""The optimisers a config can name."""

from typing import Any, Literal

import keras


def build_optimizer(
    optimizer: Literal["adam", "adamw", "sgd"],
    *,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    nesterov: bool = True,
) -> keras.optimizers.Optimizer:
    """A Keras optimiser.

    ``weight_decay`` is decoupled (Loshchilov and Hutter, arXiv:1711.05101) and applies to adamw
    only. Biases and BatchNorm's gamma and beta are not decayed: it would pull them from values
    that only set the scale of what follows.
    """
    if optimizer == "adam":
        return keras.optimizers.Adam(learning_rate)
    if optimizer == "sgd":
        return keras.optimizers.SGD(learning_rate, momentum=momentum, nesterov=nesterov)
    made: Any = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay)
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made
