"""The optimisers a config can name."""

from typing import Any, Literal

import keras

from tfskin.training.layerwise import Layerwise
from tfskin.training.updates import OncePerUpdate


@keras.saving.register_keras_serializable(package="tfskin")
class RecipeAdam(OncePerUpdate, Layerwise, keras.optimizers.Adam):
    """Adam with factors of the learning rate, accumulation and averages of the weights."""


@keras.saving.register_keras_serializable(package="tfskin")
class RecipeAdamW(OncePerUpdate, Layerwise, keras.optimizers.AdamW):
    """AdamW, whose decay has the same factors, with accumulation and averages of the weights."""


@keras.saving.register_keras_serializable(package="tfskin")
class RecipeSGD(OncePerUpdate, Layerwise, keras.optimizers.SGD):
    """SGD with factors of the learning rate, accumulation and averages of the weights."""


def build_optimizer(
    optimizer: Literal["adam", "adamw", "sgd"],
    *,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    nesterov: bool = True,
    rates: dict[str, float] | None = None,
    clip_norm: float | None = None,
    accumulate: int = 1,
    batches_per_epoch: int | None = None,
    last_batch: float = 1.0,
    ema: float = 0.0,
) -> keras.optimizers.Optimizer:
    """A Keras optimiser.

    Args:
        optimizer: its name.
        learning_rate: a number, or a schedule over updates.
        weight_decay: decoupled (Loshchilov and Hutter, arXiv:1711.05101), of adamw only. Biases
            and BatchNorm's gamma and beta are not decayed: it would pull them from values that
            only set the scale of what follows.
        momentum: of sgd.
        nesterov: Nesterov's momentum, of sgd.
        rates: factors of the learning rate by the path of a weight
            (:func:`tfskin.training.layerwise.depth_rates`).
        clip_norm: longest gradient, over all weights together; longer ones are shortened to it.
        accumulate: batches an update; see :class:`tfskin.training.updates.OncePerUpdate`.
        batches_per_epoch: as there.
        last_batch: as there.
        ema: as there.
    """
    options: dict[str, Any] = {"learning_rate": learning_rate, "global_clipnorm": clip_norm}
    recipe = bool(rates or ema or accumulate > 1)
    if recipe:
        options |= {
            "rates": rates,
            "accumulate": accumulate,
            "batches_per_epoch": batches_per_epoch,
            "last_batch": last_batch,
            "ema": ema,
        }
    if optimizer == "adam":
        return RecipeAdam(**options) if recipe else keras.optimizers.Adam(**options)
    if optimizer == "sgd":
        options |= {"momentum": momentum, "nesterov": nesterov}
        return RecipeSGD(**options) if recipe else keras.optimizers.SGD(**options)
    options["weight_decay"] = weight_decay
    made = RecipeAdamW(**options) if recipe else keras.optimizers.AdamW(**options)
    made.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return made
