"""What it takes to go on after a stop, in the middle of an epoch too: one file, written whole."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfskin.errors import UserError
from tfskin.files import replace_file

logger = logging.getLogger(__name__)

KEPT = 2


@dataclass
class FitState:
    """How far a fit has come.

    Attributes:
        epoch: finished epochs.
        best_epoch: the best of them, from 1; -1 before the first.
        best_score: its score.
        history: a row of figures an epoch.
        stage: the stage of the last epoch, from 0.
        stage_epoch: finished epochs of that stage.
        step: batches that have been trained on of the epoch that is not finished.
        seconds: what these took.
        cpu_seconds: the same on all processors together.
        metrics: values of the metrics' variables after them; they are not part of the JSON.
    """

    epoch: int = 0
    best_epoch: int = -1
    best_score: float = float("-inf")
    history: list[dict[str, Any]] = field(default_factory=list)
    stage: int = 0
    stage_epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    metrics: list[np.ndarray] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        """``epoch 3``, or ``epoch 3 and step 120 of the next``."""
        return f"epoch {self.epoch}" + (f" and step {self.step} of the next" if self.step else "")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory: how far the fit had come, and the values of all variables."""

    path: Path
    state: FitState
    values: list[np.ndarray]

    def restore(self, model: keras.Model, *, whole: keras.Model | None = None) -> None:
        """Bring a compiled model and its optimizer to where they were, and say so.

        The arguments are those of :func:`save_checkpoint`.

        Raises:
            UserError: the checkpoint is of another network or optimizer.
        """
        own = len((model if whole is None else whole).variables)
        if not all(np.isfinite(np.asarray(v, np.float64)).all() for v in self.values[:own]):
            raise UserError(
                f"{self.path}: holds weights that are no numbers (NaN or infinity); delete it to "
                "go on from the one before, or give --overwrite to train anew"
            )
        try:
            assign_all(_variables(model, whole), self.values)
        except ValueError as error:
            raise UserError(
                f"{self.path}: does not fit the network and optimizer of the config ({error}); "
                "give --overwrite to train anew"
            ) from None
        logger.info(f"going on after {self.state}")


def save_checkpoint(
    folder: Path, model: keras.Model, state: FitState, *, whole: keras.Model | None = None
) -> Path:
    """Write every variable of the model and its optimizer, and ``state``, as one file.

    The variables include the states of seed generators (dropout), the loss scale and gradients
    under accumulation. ``whole`` is the network whose variables are kept, where ``model``, whose
    optimizer is kept, is but its head. The last two checkpoints are kept, so that a torn one
    falls back to the one before; any that lies ahead of this one was damaged, or is of an
    abandoned way, and goes.

    Raises:
        OSError: such as a full disk; the checkpoints that were there stay.
    """
    arrays: dict[str, Any] = {
        **_numbered("variable", [variable.numpy() for variable in _variables(model, whole)]),
        **_numbered("metric", state.metrics),
    }
    facts = {name: value for name, value in vars(state).items() if name != "metrics"}
    path = folder / f"epoch-{state.epoch:05d}-step-{state.step:08d}.npz"
    with replace_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, state=np.array(json.dumps(facts)), **arrays)
    there = _files(folder)
    behind = [old for old in there if old.name <= path.name]
    for old in there:
        if old not in behind[-KEPT:]:
            old.unlink()
    return path


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; none if there is none at all.

    A warning is logged of each that is newer and damaged.

    Raises:
        UserError: there are some, and each is damaged: a fit from the start would replace the
            best weights so far.
    """
    files = _files(folder)
    for path in reversed(files):
        try:
            return _load(path)
        except Exception as error:  # a damaged file fails in every layer of the format
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            if path == files[0]:
                raise UserError(
                    f"{path}: is damaged ({reason}), and there is none before it to go on from; "
                    "give --overwrite to train anew"
                ) from None
            logger.warning(f"{path}: is damaged ({reason}); falling back to the one before")
    return None


def assign_all(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Give each variable its value.

    Raises:
        ValueError: another number of them, or another shape; then nothing was assigned.
    """
    if len(variables) != len(values):
        raise ValueError(f"{len(values)} variables in place of {len(variables)}")
    for variable, value in zip(variables, values, strict=True):
        if tuple(variable.shape) != value.shape:
            raise ValueError(f"{variable.path}: {value.shape} in place of {tuple(variable.shape)}")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def copy_values(variables: Iterable[Any]) -> list[np.ndarray]:
    """The present value of each variable, which does not change with it."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _load(path: Path) -> Checkpoint:
    with path.open("rb") as stream, np.load(stream) as file:
        facts = json.loads(str(file["state"]))
        arrays = {name: file[name] for name in sorted(file.files) if name != "state"}
    values = list(_of_kind("variable", arrays))
    state = FitState(**facts, metrics=list(_of_kind("metric", arrays)))
    return Checkpoint(path, state, values)


def _numbered(kind: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{kind}_{number:05d}": array for number, array in enumerate(arrays)}


def _of_kind(kind: str, arrays: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
    return (array for name, array in arrays.items() if name.startswith(kind))


def _files(folder: Path) -> list[Path]:
    """The checkpoints of a folder, from the earliest point of the fit to the latest."""
    return sorted(folder.glob("epoch-*-step-*.npz"))


def _variables(model: keras.Model, whole: keras.Model | None) -> list[Any]:
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*(model if whole is None else whole).variables, *model.optimizer.variables]
