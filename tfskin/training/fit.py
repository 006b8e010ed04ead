"""The fit: one fresh data set an epoch, best weights kept, resumable from any checkpoint."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from tfskin.errors import DivergenceError
from tfskin.progress import progress_bar
from tfskin.training.checkpoints import FitState, read_checkpoint
from tfskin.training.guards import WHAT_TO_TRY
from tfskin.training.keeping import Keeper
from tfskin.training.losses import CrossEntropy
from tfskin.training.metrics import ConfusionMatrix, MacroAUC
from tfskin.training.progressive import Progress
from tfskin.training.schedules import find_plateau, plateau_factor
from tfskin.training.steps import StepWatch
from tfskin.training.tensorboard import make_epoch_logger
from tfskin.training.updates import CountingLossScale, averaged_weights, skipped_steps

if TYPE_CHECKING:
    from tfskin.training.distribution import Distribution

logger = logging.getLogger(__name__)

Figures = dict[str, float | None]


@dataclass(frozen=True)
class FitOptions:
    """How long, what chooses the best epoch, and where things are kept.

    ``epochs`` are those of this stage; ``later_epochs`` those of stages to come, for the clock.
    ``checkpoint_minutes`` is the time between checkpoints within an epoch, 0 for none: one is
    written at the end of each epoch anyway, or of those that are ``save_seconds`` apart.
    ``distribution`` are the replicas that train the model together; none: this process alone.
    """

    epochs: int
    folder: Path
    monitor: Literal["auc", "balanced_accuracy", "accuracy", "f1", "loss"] = "auc"
    patience: int = 0
    later_epochs: int = 0
    plateau_patience: int = 5
    plateau_factor: float = 0.1
    checkpoint_minutes: float = 0.0
    save_seconds: float = 0.0
    distribution: "Distribution | None" = None

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes."""
        return self.distribution is None or self.distribution.is_chief

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
        from_backbone: backbone -> the same data with its features in place of images, for stages
            that train the head alone.
        of_views: the same data with few random views of each image, for the same stages.
        at: progress -> the same data at that size and strength.
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
    from_backbone: "Callable[[keras.Model], FitData] | None" = None
    of_views: "FitData | None" = None
    at: "Callable[[Progress], FitData] | None" = None
    images_per_step: int = 0
    val_rows: tuple[int, int, int] | None = None


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


def fit(
    model: keras.Model,
    data: FitData,
    *,
    options: FitOptions,
    state: FitState | None = None,
    whole: keras.Model | None = None,
) -> FitState:
    """Train a compiled model to the end and return how it went.

    ``<folder>/model.keras`` holds the weights of the best epoch, ``<folder>/checkpoints`` what
    resumption needs: a second call goes on from there. What follows a step is a pure function of
    the state before it and of the epoch's data, so a resumed fit equals an uninterrupted one.
    ``state`` is what an earlier stage ended with; unless given, the checkpoints are read.
    ``whole`` is the network that is kept, where ``model`` is but its head.

    Raises:
        DivergenceError: the loss became NaN or infinite; what was written stays as it is.
        KeyboardInterrupt: passed on; what the last checkpoint holds is kept.
    """
    state = state or resume_fit(model, options)
    if options.distribution is not None:
        options.distribution.begin(model)
    log = make_epoch_logger(options.folder / "tb" if options.writes else None, model)
    keeper = Keeper(
        options.folder if options.writes else None,
        model,
        whole=whole,
        seconds=options.save_seconds,
    )
    start, first = time.monotonic(), state.epoch
    while not _is_over(state, options):
        _set_plateau(model, state, options)
        row, startup = _train_epoch(model, data, state, options, keeper)
        row |= _skipped(model, state)
        with averaged_weights(model):
            row |= _validate(model, data, options)
            score = _monitored(row, options.monitor)
            state.history.append(row)
            log(row)
            state.epoch += 1
            state.stage_epoch += 1
            state.step, state.seconds, state.cpu_seconds, state.metrics = 0, 0.0, 0.0, []
            if score > state.best_score or state.best_epoch < 0:
                state.best_score, state.best_epoch = score, state.epoch
                keeper.keep_best()
        keeper.end_epoch(state, last=_is_over(state, options))
        if state.epoch == first + 1:
            start += startup  # the graph is made once
        spent = (time.monotonic() - start) / (state.epoch - first)
        left = spent * (_last_epoch(state, options) - state.epoch)
        logger.info(_epoch_line(row, state, options, seconds_left=left))
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
    logger.info(f"going on after {checkpoint.state}")
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


def _train_epoch(
    model: keras.Model,
    data: FitData,
    state: FitState,
    options: FitOptions,
    keeper: Keeper,
) -> tuple[dict[str, Any], float]:
    """Train on what is left of an epoch; the figures of all of it, seconds of the first step."""
    title = f"epoch {state.epoch + 1}/{_last_epoch(state, options)}"
    with progress_bar(title, total=data.steps_per_epoch) as advance:
        watch = StepWatch(
            state,
            steps=data.steps_per_epoch,
            checkpoint_minutes=options.checkpoint_minutes,
            save=lambda: keeper.save(state),
            advance=advance,
            checkpoints=options.checkpoints,
        )
        batches = data.make_epoch(state.epoch, state.step)
        logs = _train_on(model, batches, data, options, watch)
    confusion = next(m for m in _metrics(model) if isinstance(m, ConfusionMatrix)).matrix()
    figures = data.score_confusion(confusion)
    watch.measure_time()
    row = {
        "epoch": state.epoch + 1,
        "loss": logs["loss"],
        "learning_rate": _learning_rate(model),
        "auc": logs["auc"],
        **figures,
        "seconds": state.seconds,
        "cpu_seconds": state.cpu_seconds,  # of all threads: fair where others work
        "images_per_second": data.images_per_epoch / state.seconds,
    }
    return row, watch.first_step_seconds


def _train_on(
    model: keras.Model, batches: Any, data: FitData, options: FitOptions, watch: StepWatch
) -> dict[str, float]:
    """Train on batches; the metrics of the epoch, those before the first batch included."""
    if options.distribution is None:
        fitted = model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[watch])
        return {name: values[-1] for name, values in fitted.history.items()}
    return options.distribution.train_epoch(
        model,
        batches,
        images=data.images_per_epoch,
        images_per_step=data.images_per_step,
        watch=watch,
    )


def _validate(model: keras.Model, data: FitData, options: FitOptions) -> dict[str, Any]:
    if options.distribution is None or data.val_rows is None:
        logits = model.predict(data.val_batches, verbose=0)
    else:
        *rows, total = data.val_rows
        logits = options.distribution.predict(
            data.val_batches, rows=(rows[0], rows[1]), total=total
        )
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


def _is_over(state: FitState, options: FitOptions) -> bool:
    """Whether the stage has come to its end."""
    return state.stage_epoch >= options.epochs or _out_of_patience(state, options.patience)


def _out_of_patience(state: FitState, patience: int) -> bool:
    waited = min(state.stage_epoch, state.epoch - max(state.best_epoch, 0))
    return bool(patience) and waited >= patience


def _last_epoch(state: FitState, options: FitOptions) -> int:
    """The number of the last epoch, if patience ends no stage."""
    return state.epoch + options.epochs - state.stage_epoch + options.later_epochs


def _epoch_line(
    row: dict[str, Any], state: FitState, options: FitOptions, *, seconds_left: float
) -> str:
    best = "  best" if state.best_epoch == state.epoch else ""
    auc, balanced = row["val_auc"], row["val_balanced_accuracy"]
    return (
        f"epoch {row['epoch']:>3}/{_last_epoch(state, options)}  loss {row['loss']:.4f}  "
        f"val loss {row['val_loss']:.4f}  AUC {'-' if auc is None else format(auc, '.4f')}  "
        f"balanced accuracy {'-' if balanced is None else format(balanced, '.4f')}  "
        f"{row['images_per_second']:.0f} images/s  "
        f"{_overflows(row)}"
        f"{_clock(seconds_left)} left{best}"
    )


def _overflows(row: dict[str, Any]) -> str:
    count = row.get("skipped_steps", 0)
    return f"{count} step{'s' * (count > 1)} skipped by overflow  " if count else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _learning_rate(model: keras.Model) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def _metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    found: list[keras.metrics.Metric] = []
    for metric in model.metrics:
        found.extend(getattr(metric, "metrics", None) or [metric])
    return found
