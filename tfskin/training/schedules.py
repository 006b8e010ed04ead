"""Learning rates as a function of the update."""

from typing import Any, Literal

import keras
from keras import ops


def make_schedule(
    schedule: Literal["constant", "exponential", "cosine"],
    *,
    learning_rate: float,
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: float = 0.0,
    decay_rate: float = 0.98,
    final_fraction: float = 0.0,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A schedule of the learning rate; its steps are updates of the weights.

    - constant: ``learning_rate``.
    - exponential: ``learning_rate * decay_rate ** epoch``, where the epoch is a real number.
    - cosine: half a cosine from ``learning_rate`` to ``learning_rate * final_fraction``
      (Loshchilov and Hutter, "SGDR", arXiv:1608.03983, equation 5, without restarts).

    During the first ``warmup_epochs`` the rate rises linearly from nearly 0 to ``learning_rate``;
    the decay begins after them.
    """
    warmup_steps = round(min(warmup_epochs, epochs) * steps_per_epoch)
    decay_steps = max(1, epochs * steps_per_epoch - warmup_steps)
    schedules = keras.optimizers.schedules
    if schedule == "exponential":
        after = schedules.ExponentialDecay(learning_rate, steps_per_epoch, decay_rate)
    elif schedule == "cosine":
        after = schedules.CosineDecay(learning_rate, decay_steps, alpha=final_fraction)
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
