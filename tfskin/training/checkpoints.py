"""What it takes to go on after a stop: one file an epoch, written atomically."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np

from tfskin.files import replace_file

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
    """

    epoch: int = 0
    best_epoch: int = -1
    best_score: float = float("-inf")
    history: list[dict[str, Any]] = field(default_factory=list)
    stage: int = 0
    stage_epoch: int = 0


def save_checkpoint(folder: Path, model: keras.Model, state: FitState) -> Path:
    """Write every variable of the model and its optimiser, and ``state``, as one file.

    The variables include the states of seed generators (dropout) and the loss scale. The last
    two checkpoints are kept, so that a torn one falls back to the one before.
    """
    arrays = {
        f"variable_{index:05d}": variable.numpy()
        for index, variable in enumerate(_variables(model))
    }
    path = folder / f"epoch-{state.epoch:05d}.npz"
    with replace_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, state=np.array(json.dumps(vars(state))), **arrays)
    for old in sorted(folder.glob("epoch-*.npz"))[:-KEPT]:
        old.unlink()
    return path


def restore_checkpoint(folder: Path, model: keras.Model) -> FitState | None:
    """Bring model and optimiser back to the newest readable checkpoint; none if there is none."""
    for state, arrays in _readable(folder):
        variables = _variables(model)
        if [v.shape for v in variables] != [a.shape for a in arrays]:
            continue
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        return state
    return None


def newest_state(folder: Path) -> FitState | None:
    """How far the newest readable checkpoint has come; none if there is none."""
    return next((state for state, _ in _readable(folder)), None)


def _readable(folder: Path) -> Iterator[tuple[FitState, list[np.ndarray]]]:
    """The state and the variables of each checkpoint that is whole, the newest first."""
    for path in sorted(folder.glob("epoch-*.npz"), reverse=True):
        try:
            with path.open("rb") as stream, np.load(stream) as file:
                state = json.loads(str(file["state"]))
                arrays = [file[name] for name in sorted(file.files) if name != "state"]
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            continue
        yield FitState(**{"stage_epoch": state["epoch"], **state}), arrays


def _variables(model: keras.Model) -> list[Any]:
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]
