"""Learning rates as a function of the update."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfskin.schema import Schedule

ONE_CYCLE_START = 1 / 25
"""Where one-cycle begins, as a fraction of its highest rate (Smith's and fastai's default)."""


def make_schedule(
    schedule: Schedule,
    *,
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: float = 0.0,
    decay_rate: float = 0.98,
    final_fraction: float = 0.0,
    step_epochs: int = 10,
    step_factor: float = 0.1,
    rise: float = 0.3,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A schedule of the learning rate; its steps are updates of the weights, also where an update
    takes several batches.

    - constant: ``learning_rate``.
    - step: ``learning_rate * step_factor ** floor(epoch / step_epochs)``.
    - exponential: ``learning_rate * decay_rate ** epoch``, where the epoch is a real number.
    - cosine: half a cosine from ``learning_rate`` to ``learning_rate * final_fraction``
      (Loshchilov and Hutter, "SGDR", arXiv:1608.03983, equation 5, without restarts).
    - one_cycle: half a cosine from ``learning_rate / 25`` up to ``learning_rate`` over the first
      ``rise`` of all updates, and another down to ``learning_rate * final_fraction`` (Smith and
      Topin, "Super-Convergence", arXiv:1708.07120; the cosine is fastai's). The momentum stays.
    - plateau: ``learning_rate * factor``, see :class:`Plateau`.

    During the first ``warmup_epochs`` the rate rises linearly from nearly 0 to ``learning_rate``;
    the decay begins after them. One-cycle has a rise of its own and takes no warm-up.
    """
    total = epochs * steps_per_epoch
    warmup_steps = round(min(warmup_epochs, epochs) * steps_per_epoch)
    if schedule == "one_cycle":
        rise_steps = max(1, round(rise * total))
        return OneCycle(learning_rate, rise_steps, max(total, rise_steps + 1), final_fraction)
    schedules = keras.optimizers.schedules
    after: Any
    if schedule == "exponential":
        after = schedules.ExponentialDecay(learning_rate, steps_per_epoch, decay_rate)
    elif schedule == "step":
        every = step_epochs * steps_per_epoch
        after = schedules.ExponentialDecay(learning_rate, every, step_factor, staircase=True)
    elif schedule == "cosine":
        decay_steps = max(1, total - warmup_steps)
        after = schedules.CosineDecay(learning_rate, decay_steps, alpha=final_fraction)
    elif schedule == "plateau":
        after = Plateau(learning_rate)
    else:
        after = schedules.PolynomialDecay(learning_rate, 1, end_learning_rate=learning_rate)
    return WarmUp(after, warmup_steps) if warmup_steps else after


@keras.saving.register_keras_serializable(package="tfskin")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule behind a linear rise.

    Update ``s`` (from 0) has the rate ``after(0) * (s + 1) / (warmup_steps + 1)`` while
    ``s < warmup_steps``, then ``after(s - warmup_steps)``.
    """

    def __init__(
        self, after: keras.optimizers.schedules.LearningRateSchedule, warmup_steps: int
    ) -> None:
        super().__init__()
        self.after = after
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        """The learning rate of update ``step``."""
        step = ops.cast(step, "float32")
        rise = self.after(0) * (step + 1) / (self.warmup_steps + 1)
        rest = self.after(ops.maximum(step - self.warmup_steps, 0))
        return ops.where(step < self.warmup_steps, rise, rest)

    def get_config(self) -> dict[str, Any]:
        """Everything that makes this schedule again."""
        after = keras.saving.serialize_keras_object(self.after)
        return {"after": after, "warmup_steps": self.warmup_steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """The schedule of a config."""
        after = keras.saving.deserialize_keras_object(config["after"])
        return cls(after, config["warmup_steps"])


@keras.saving.register_keras_serializable(package="tfskin")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Half a cosine up and half a cosine down; see :func:`make_schedule`."""

    def __init__(
        self, learning_rate: float, rise_steps: int, total_steps: int, final_fraction: float
    ) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.rise_steps = rise_steps
        self.total_steps = total_steps
        self.final_fraction = final_fraction

    def __call__(self, step: Any) -> Any:
        """The learning rate of update ``step``."""
        step = ops.cast(step, "float32")
        up = ops.minimum(step / self.rise_steps, 1.0)
        down = (step - self.rise_steps) / (self.total_steps - self.rise_steps)
        risen = _between(ONE_CYCLE_START, 1.0, up)
        fallen = _between(1.0, self.final_fraction, ops.clip(down, 0.0, 1.0))
        return self.learning_rate * ops.where(step < self.rise_steps, risen, fallen)

    def get_config(self) -> dict[str, Any]:
        """Everything that makes this schedule again."""
        return {
            "learning_rate": self.learning_rate,
            "rise_steps": self.rise_steps,
            "total_steps": self.total_steps,
            "final_fraction": self.final_fraction,
        }


@keras.saving.register_keras_serializable(package="tfskin")
class Plateau(keras.optimizers.schedules.LearningRateSchedule):
    """``learning_rate * factor``, where the fit sets ``factor`` before each epoch.

    The factor is a function of the scores of the epochs before (:func:`plateau_factor`), so a
    resumed fit has the same one, and nothing of it needs to be kept.
    """

    def __init__(self, learning_rate: float) -> None:
        super().__init__()
        if keras.backend.backend() == "jax":
            raise NotImplementedError("plateau needs the TensorFlow backend of Keras")
        self.learning_rate = learning_rate
        self.factor = keras.Variable(1.0, trainable=False, dtype="float32", name="plateau_factor")

    def __call__(self, step: Any) -> Any:
        """The learning rate of update ``step``."""
        return self.learning_rate * ops.convert_to_tensor(self.factor)

    def get_config(self) -> dict[str, Any]:
        """Everything that makes this schedule again."""
        return {"learning_rate": self.learning_rate}


def plateau_factor(scores: Sequence[float], *, patience: int, factor: float) -> float:
    """``factor`` to the power of how often ``patience`` epochs in a row brought no new best score.

    The count of epochs begins anew after each fall.
    """
    best, waited, falls = -math.inf, 0, 0
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited >= patience:
            falls, waited = falls + 1, 0
    return float(factor**falls)


def find_plateau(optimizer: Any) -> Plateau | None:
    """The plateau schedule of an optimizer, behind loss scaling and warm-up too; or none."""
    schedule = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    schedule = getattr(schedule, "after", schedule)
    return schedule if isinstance(schedule, Plateau) else None


def _between(first: float, last: float, share: Any) -> Any:
    """From ``first`` to ``last`` on half a cosine."""
    return last + (first - last) * (1.0 + ops.cos(math.pi * share)) / 2.0
