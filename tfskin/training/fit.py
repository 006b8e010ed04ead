"""The fit: one fresh data set an epoch, best weights kept, resumable from any checkpoint."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from tfskin.errors import DivergenceError
from tfskin.progress import progress_bar
from tfskin.training.checkpoints import FitState, read_checkpoint
from tfskin.training.epoch_line import epoch_line
from tfskin.training.guards import WHAT_TO_TRY
from tfskin.training.keeping import Keeper
from tfskin.training.losses import CrossEntropy
from tfskin.training.metrics import ConfusionMatrix, MacroAUC
from tfskin.training.replicas import Replicas
from tfskin.training.schedules import find_plateau, plateau_factor
from tfskin.training.steps import StepWatch
from tfskin.training.tensorboard import make_epoch_logger
from tfskin.training.updates import CountingLossScale, averaged_weights, skipped_steps

logger = logging.getLogger(__name__)

Figures = dict[str, float | None]


@dataclass(frozen=True)
class FitOptions:
    """What chooses the best epoch of a run, where things are kept, and who trains.

    ``checkpoint_minutes`` is the time between checkpoints within an epoch, 0 for none: one is
    written at the end of each epoch anyway. ``distribution`` are the replicas that train the
    model together.
    """

    folder: Path
    monitor: Literal["auc", "balanced_accuracy", "accuracy", "f1", "loss"] = "auc"
    patience: int = 0
    plateau_patience: int = 5
    plateau_factor: float = 0.1
    checkpoint_minutes: float = 0.0
    distribution: Replicas = field(default_factory=Replicas)

    @property
    def checkpoints(self) -> Path:
        """Where what resumption needs is kept."""
        return self.folder / "checkpoints"


@dataclass(frozen=True)
class FitData:
    """Where an epoch's batches come from, and how its figures are computed.

    Attributes:
        make_epoch: (epoch, steps) -> its batches of (images, labels) without the first ``steps``,
            a pure function of the epoch. Of a distribution, those of this process's replicas.
        steps_per_epoch: number of steps in it.
        images_per_epoch: number of training images in it, of all processes together.
        val_batches: batches of (images, labels) in the order of ``val_labels``.
        val_labels: (N,) integers.
        score: (``val_labels``, probabilities (rows of ``val_batches``, C)) -> figures, for val.
        score_confusion: (C, C) counts -> figures, for train.
        class_counts: class -> training images of it in an epoch.
        images_per_step: of a whole step, on all replicas together.
        val_rows: first and last (exclusive) row of val that ``val_batches`` hold, and the number
            of all rows; none: they hold all.
    """

    make_epoch: Callable[[int, int], Any]
    steps_per_epoch: int
    images_per_epoch: int
    val_batches: Any
    val_labels: np.ndarray
    score: Callable[[np.ndarray, np.ndarray], Figures]
    score_confusion: Callable[[np.ndarray], Figures]
    class_counts: dict[str, int] = field(default_factory=dict)
    images_per_step: int = 0
    val_rows: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class FitTask:
    """What one call of :func:`fit` trains: a network, on which data, for how long.

    Attributes:
        model: compiled.
        data: its batches.
        epochs: how many.
        whole: the network that is kept, where ``model`` is but its head or a copy of another
            size that shares its weights.
        save_seconds: epochs that end sooner than so many seconds after the last checkpoint are
            not written; those are trained again after a kill, to the same end.
        later_epochs: those of tasks to come, for the clock.
    """

    model: keras.Model
    data: FitData
    epochs: int
    whole: keras.Model | None = None
    save_seconds: float = 0.0
    later_epochs: int = 0


def compile_model(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    *,
    loss: keras.losses.Loss | None = None,
    jit_compile: bool = False,
) -> None:
    """Compile for logits: a loss, and the counts from which train figures are made.

    The loss is the cross-entropy unless given. Under mixed_float16 the optimiser is wrapped in
    loss scaling.
    """
    classes = model.output_shape[-1]
    if model.dtype_policy.name == "mixed_float16":
        optimizer = CountingLossScale(optimizer)
    model.compile(
        optimizer=optimizer,
        loss=loss or CrossEntropy(),
        metrics=[ConfusionMatrix(classes), MacroAUC(classes)],
        jit_compile=jit_compile,
    )


def fit(task: FitTask, *, options: FitOptions, state: FitState | None = None) -> FitState:
    """Train a task to its end and return how it went.

    ``<folder>/model.keras`` holds the weights of the best epoch, ``<folder>/checkpoints`` what
    resumption needs: a second call goes on from there. What follows a step is a pure function of
    the state before it and of the epoch's data, so a resumed fit equals an uninterrupted one.
    ``state`` is what an earlier task ended with; unless given, the checkpoints are read.

    Raises:
        DivergenceError: the loss became NaN or infinite; what was written stays as it is.
        KeyboardInterrupt: passed on; what the last checkpoint holds is kept.
    """
    model, data, replicas = task.model, task.data, options.distribution
    state = state or resume_fit(model, options)
    replicas.begin(model)
    kept_in = options.folder if replicas.is_chief else None
    log = make_epoch_logger(kept_in and kept_in / "tb", model)
    keeper = Keeper(kept_in, model, whole=task.whole, seconds=task.save_seconds)
    start, first = time.monotonic(), state.epoch
    while not _is_over(state, task, options):
        _set_plateau(model, state, options)
        title = f"epoch {state.epoch + 1}/{_last_epoch(state, task)}"
        with progress_bar(title, total=data.steps_per_epoch) as advance:
            watch = StepWatch(
                state,
                steps=data.steps_per_epoch,
                checkpoint_minutes=options.checkpoint_minutes,
                save=lambda: keeper.save(state),
                advance=advance,
                checkpoints=options.checkpoints,
            )
            logs = replicas.train_epoch(
                data.make_epoch(state.epoch, state.step),
                images=data.images_per_epoch,
                images_per_step=data.images_per_step,
                watch=watch,
            )
        row = _train_figures(task, state, logs, watch)
        with averaged_weights(model):
            row |= _validate(data, replicas)
            log(row)
            if _end_epoch(state, row, options.monitor):
                keeper.keep_best()
        keeper.end_epoch(state, last=_is_over(state, task, options))
        if state.epoch == first + 1:
            start += watch.first_step_seconds  # the graph is made once
        spent = (time.monotonic() - start) / (state.epoch - first)
        last = _last_epoch(state, task)
        left = spent * (last - state.epoch)
        is_best = state.best_epoch == state.epoch
        logger.info(epoch_line(row, last_epoch=last, seconds_left=left, is_best=is_best))
    return state


def resume_fit(model: keras.Model, options: FitOptions) -> FitState:
    """Bring a compiled model to its newest checkpoint; how far that is, or a fresh state.

    Raises:
        UserError: the checkpoint is of another network or optimizer.
    """
    checkpoint = read_checkpoint(options.checkpoints)
    if checkpoint is None:
        return FitState()
    checkpoint.restore(model)
    return checkpoint.state


def stalled(history: list[dict[str, Any]], num_classes: int) -> str | None:
    """A sentence when the training loss has not fallen, else none.

    It has risen when the last epoch's is above 102 % of the first epoch's, and none was below
    98 % of it. It has not moved when it stayed between these, and above 98 % of the loss of a
    guess that gives every class the same probability.
    """
    losses = [row["loss"] for row in history]
    if len(losses) < 2 or min(losses) < 0.98 * losses[0]:
        return None
    first, last = losses[0], losses[-1]
    if last > 1.02 * first:
        return (
            f"the training loss has risen ({first:.3f} to {last:.3f}): try train.learning_rate ten "
            "times lower, train.clip_norm=1, train.precision=float32, or look at the labels"
        )
    if min(losses) < 0.98 * float(np.log(num_classes)):
        return None
    return (
        f"the training loss has not moved ({first:.3f} to {last:.3f}): try "
        "train.learning_rate ten times lower or higher, train.precision=float32, more epochs, "
        "or look at the labels"
    )


def _set_plateau(model: keras.Model, state: FitState, options: FitOptions) -> None:
    """Let the rate of a plateau schedule be what the scores of this stage's epochs make it."""
    plateau = find_plateau(model.optimizer)
    if plateau is None:
        return
    rows = state.history[len(state.history) - state.stage_epoch :]
    scores = [_monitored(row, options.monitor) for row in rows]
    plateau.factor.assign(
        plateau_factor(scores, patience=options.plateau_patience, factor=options.plateau_factor)
    )


def _skipped(model: keras.Model, state: FitState) -> dict[str, int]:
    """How many steps of this epoch overflow has cost, where the loss is scaled."""
    total = skipped_steps(model.optimizer)
    if total is None:
        return {}
    before = state.history[len(state.history) - state.stage_epoch :]
    return {"skipped_steps": total - sum(row["skipped_steps"] for row in before)}


def _train_figures(
    task: FitTask, state: FitState, logs: dict[str, float], watch: StepWatch
) -> dict[str, Any]:
    """The epoch's row of the history, as far as training makes it."""
    model = task.model
    confusion = next(m for m in _metrics(model) if isinstance(m, ConfusionMatrix)).matrix()
    figures = task.data.score_confusion(confusion)
    watch.measure_time()
    row = {
        "epoch": state.epoch + 1,
        "loss": logs["loss"],
        "learning_rate": float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)),
        "auc": logs["auc"],
        **figures,
        "seconds": state.seconds,
        "cpu_seconds": state.cpu_seconds,  # of all threads: fair where others work
        "images_per_second": task.data.images_per_epoch / state.seconds,
    }
    return row | _skipped(model, state)


def _end_epoch(state: FitState, row: dict[str, Any], monitor: str) -> bool:
    """Note that an epoch has ended; whether it is the best so far."""
    state.history.append(row)
    state.epoch += 1
    state.stage_epoch += 1
    state.step, state.seconds, state.cpu_seconds, state.metrics = 0, 0.0, 0.0, []
    score = _monitored(row, monitor)
    is_best = score > state.best_score or state.best_epoch < 0
    if is_best:
        state.best_score, state.best_epoch = score, state.epoch
    return is_best


def _validate(data: FitData, replicas: Replicas) -> dict[str, Any]:
    logits = replicas.predict(data.val_batches, data.val_rows)
    if not np.isfinite(logits).all():
        raise DivergenceError(
            f"the network's outputs on val are not finite; {WHAT_TO_TRY} (the last good weights "
            "are kept)"
        )
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits, axis=-1))
    figures = data.score(data.val_labels, probabilities)
    return {f"val_{name}": value for name, value in figures.items()}


def _monitored(row: dict[str, Any], monitor: str) -> float:
    value = row[f"val_{monitor}"]
    if value is None:
        return float("-inf")
    return -value if monitor == "loss" else value


def _is_over(state: FitState, task: FitTask, options: FitOptions) -> bool:
    """Whether the task has come to its end, of its epochs or of patience."""
    waited = min(state.stage_epoch, state.epoch - max(state.best_epoch, 0))
    return state.stage_epoch >= task.epochs or 0 < options.patience <= waited


def _last_epoch(state: FitState, task: FitTask) -> int:
    """The number of the last epoch, if patience ends no task."""
    return state.epoch + task.epochs - state.stage_epoch + task.later_epochs


def _metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    found: list[keras.metrics.Metric] = []
    for metric in model.metrics:
        found.extend(getattr(metric, "metrics", None) or [metric])
    return found
