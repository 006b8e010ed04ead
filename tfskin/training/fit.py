"""The fit: one fresh data set an epoch, best weights kept, every epoch resumable."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from tfskin.errors import UserError
from tfskin.files import replace_file
from tfskin.progress import progress_bar
from tfskin.training.checkpoints import FitState, restore_checkpoint, save_checkpoint
from tfskin.training.losses import CrossEntropy
from tfskin.training.metrics import ConfusionMatrix, MacroAUC
from tfskin.training.tensorboard import make_epoch_logger

Figures = dict[str, float | None]


@dataclass(frozen=True)
class FitOptions:
    """How long, what chooses the best epoch, and where things are kept.

    ``epochs`` are those of this stage; ``later_epochs`` those of stages to come, for the clock.
    """

    epochs: int
    folder: Path
    monitor: Literal["auc", "balanced_accuracy", "accuracy", "f1", "loss"] = "auc"
    patience: int = 0
    later_epochs: int = 0


@dataclass(frozen=True)
class FitData:
    """Where an epoch's batches come from, and how its figures are computed.

    Attributes:
        make_epoch: epoch -> batches of (images, labels), a pure function of the epoch.
        steps_per_epoch: number of those batches.
        images_per_epoch: number of training images in them.
        val_batches: batches of (images, labels) in the order of ``val_labels``.
        val_labels: (N,) integers.
        score: (``val_labels``, probabilities (rows of ``val_batches``, C)) -> figures, for val.
        score_confusion: (C, C) counts -> figures, for train.
    """

    make_epoch: Callable[[int], Any]
    steps_per_epoch: int
    images_per_epoch: int
    val_batches: Any
    val_labels: np.ndarray
    score: Callable[[np.ndarray, np.ndarray], Figures]
    score_confusion: Callable[[np.ndarray], Figures]


def compile_model(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    *,
    label_smoothing: float = 0.0,
    jit_compile: bool = False,
) -> None:
    """Compile for logits: cross-entropy, and the counts from which train figures are made.

    Under mixed_float16 Keras wraps the optimiser in loss scaling here.
    """
    classes = model.output_shape[-1]
    model.compile(
        optimizer=optimizer,
        loss=CrossEntropy(label_smoothing),
        metrics=[ConfusionMatrix(classes), MacroAUC(classes)],
        jit_compile=jit_compile,
    )


def fit(
    model: keras.Model,
    data: FitData,
    *,
    options: FitOptions,
    state: FitState | None = None,
    say: Callable[[str], None] = print,
) -> FitState:
    """Train a compiled model to the end and return how it went.

    ``<folder>/model.keras`` holds the weights of the best epoch, ``<folder>/checkpoints`` what
    resumption needs: a second call goes on from there. The state of an epoch is a pure function
    of the one before and of the epoch's data, so a resumed fit equals an uninterrupted one.
    ``state`` is what an earlier stage ended with; unless given, the checkpoints are read.

    Raises:
        UserError: the loss became NaN or infinite; the best weights stay as they are.
        KeyboardInterrupt: passed on; finished epochs are kept.
    """
    checkpoints = options.folder / "checkpoints"
    if state is None:
        state = restore_checkpoint(checkpoints, model) or FitState()
        if state.epoch:
            say(f"going on after epoch {state.epoch} of {_last_epoch(state, options)}")
    log = make_epoch_logger(options.folder / "tb", model)
    start = time.monotonic()
    first = state.epoch
    while state.stage_epoch < options.epochs and not _out_of_patience(state, options.patience):
        row = _train_epoch(model, data, state.epoch, _last_epoch(state, options))
        row |= _validate(model, data)
        score = _monitored(row, options.monitor)
        state.history.append(row)
        log(row)
        state.epoch += 1
        state.stage_epoch += 1
        if score > state.best_score or state.best_epoch < 0:
            state.best_score, state.best_epoch = score, state.epoch
            with replace_file(options.folder / "model.keras") as temporary:
                model.save(temporary)
        save_checkpoint(checkpoints, model, state)
        spent = (time.monotonic() - start) / (state.epoch - first)
        left = spent * (_last_epoch(state, options) - state.epoch)
        say(_epoch_line(row, state, options, seconds_left=left))
    return state


def stalled(history: list[dict[str, Any]], num_classes: int) -> str | None:
    """A sentence when the training loss has not moved, else none.

    The loss counts as unmoved when its lowest value is above 98 % of the loss of a guess that
    gives every class the same probability, and above 98 % of the first epoch's.
    """
    losses = [row["loss"] for row in history]
    lowest = min(losses)
    if len(losses) < 2 or lowest < 0.98 * float(np.log(num_classes)) or lowest < 0.98 * losses[0]:
        return None
    return (
        f"the training loss has not moved ({losses[0]:.3f} to {lowest:.3f}): try "
        "train.learning_rate ten times lower or higher, train.precision=float32, more epochs, "
        "or look at the labels"
    )


def _train_epoch(model: keras.Model, data: FitData, epoch: int, epochs: int) -> dict[str, Any]:
    start, start_cpu = time.monotonic(), time.process_time()
    title = f"epoch {epoch + 1}/{epochs}"
    with progress_bar(title, total=data.steps_per_epoch) as advance:
        batches = data.make_epoch(epoch)
        watch = _Watch(advance)
        logs = model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[watch]).history
    loss = logs["loss"][-1]
    if not np.isfinite(loss):
        rate = _learning_rate(model)
        raise UserError(
            f"epoch {epoch + 1}: the loss is {loss} at learning rate {rate:.3g}; try a lower "
            "train.learning_rate or train.precision=float32 (the last good weights are kept)"
        )
    confusion = next(m for m in _metrics(model) if isinstance(m, ConfusionMatrix)).matrix()
    figures = data.score_confusion(confusion)
    seconds = time.monotonic() - start
    return {
        "epoch": epoch + 1,
        "loss": loss,
        "learning_rate": _learning_rate(model),
        "auc": logs["auc"][-1],
        **figures,
        "seconds": seconds,
        "cpu_seconds": time.process_time() - start_cpu,  # of all threads: fair where others work
        "images_per_second": data.images_per_epoch / seconds,
    }


def _validate(model: keras.Model, data: FitData) -> dict[str, Any]:
    logits = model.predict(data.val_batches, verbose=0)
    if not np.isfinite(logits).all():
        raise UserError(
            "the network's outputs on val are not finite; try a lower train.learning_rate or "
            "train.precision=float32 (the last good weights are kept)"
        )
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits, axis=-1))
    figures = data.score(data.val_labels, probabilities)
    return {f"val_{name}": value for name, value in figures.items()}


def _monitored(row: dict[str, Any], monitor: str) -> float:
    value = row[f"val_{monitor}"]
    if value is None:
        return float("-inf")
    return -value if monitor == "loss" else value


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
        f"{_clock(seconds_left)} left{best}"
    )


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


class _Watch(keras.callbacks.Callback):
    """Moves the progress bar."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        super().__init__()
        self.advance = advance

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.advance(1)
