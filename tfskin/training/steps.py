"""What is done after each step of an epoch: progress, a look at the loss, a checkpoint in time."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from tfskin.training.checkpoints import FitState, assign_all
from tfskin.training.guards import check_loss, check_weights


class StepWatch(keras.callbacks.Callback):
    """Follows one epoch of ``model.fit`` and keeps its ``state`` up to date.

    An epoch that goes on in its middle gets the metrics that it had there, so that its figures
    are those of the whole epoch.

    Args:
        state: how far the fit has come; its step, times and metrics are those of this epoch.
        steps: batches of the whole epoch.
        checkpoint_minutes: time between checkpoints within the epoch; 0: none.
        save: writes a checkpoint.
        advance: moves the progress bar on by so many steps.
        checkpoints: where checkpoints are written.

    Attributes:
        first_step_seconds: what the first step took, making the graph and the input's start
            included; 0 before it.
    """

    def __init__(
        self,
        state: FitState,
        *,
        steps: int,
        checkpoint_minutes: float,
        save: Callable[[], None],
        advance: Callable[[int], None],
        checkpoints: Path,
    ) -> None:
        super().__init__()
        self.state = state
        self.steps = steps
        self.interval = 60 * checkpoint_minutes
        self.save = save
        self.advance = advance
        self.checkpoints = checkpoints
        self.first = state.step
        self.began = time.monotonic()
        self.first_step_seconds = 0.0
        self.saved = time.monotonic()
        # The clocks as if the epoch had begun in this process.
        self.start = time.monotonic() - state.seconds
        self.start_cpu = time.process_time() - state.cpu_seconds

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Put the metrics of the steps before back: ``fit`` has just reset them."""
        self.advance(self.first)
        if self.state.step:
            _build_metrics(self.model)
            assign_all(self.model.metrics_variables, self.state.metrics)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Count the step; stop at a loss that is no number; write a checkpoint when it is time.

        Raises:
            UserError: the loss is NaN or infinite, or a weight at the time of a checkpoint.
        """
        step = self.first + batch + 1
        if not batch:
            self.first_step_seconds = time.monotonic() - self.began
        place: dict[str, Any] = {"epoch": self.state.epoch + 1, "step": step}
        place["checkpoints"] = self.checkpoints
        check_loss((logs or {}).get("loss", 0.0), self.model, **place)
        self.advance(step - self.state.step)
        self.state.step = step
        self.measure_time()
        # Never after the last step: the epoch's own checkpoint follows at once.
        due = self.interval and time.monotonic() - self.saved >= self.interval
        if due or step == self.steps:
            check_weights(self.model, **place)
        if due and step < self.steps:
            self.state.metrics = [value.numpy() for value in self.model.metrics_variables]
            self.save()
            self.saved = time.monotonic()

    def measure_time(self) -> None:
        """Note in the state what the epoch has taken so far."""
        self.state.seconds = time.monotonic() - self.start
        self.state.cpu_seconds = time.process_time() - self.start_cpu


def _build_metrics(model: keras.Model) -> None:
    """Let compiled metrics have their variables now, not within the first step of training."""
    logits = keras.ops.zeros((1, model.output_shape[-1]))
    model.compute_metrics(None, keras.ops.zeros((1,), "int32"), logits)
