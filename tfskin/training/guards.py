"""What stops a fit before it does harm."""

from pathlib import Path

import keras
import numpy as np

from tfskin.errors import DivergenceError
from tfskin.runs import first_not_finite

WHAT_TO_TRY = "try a lower train.learning_rate, train.clip_norm=1 or train.precision=float32"


def check_loss(
    loss: float, model: keras.Model, *, epoch: int, step: int, checkpoints: Path
) -> None:
    """Stop where the loss of the epoch so far is NaN or infinite.

    Raises:
        DivergenceError: it is. Names the epoch, the step (from 1), the learning rate and the newest
            checkpoint, which was written before.
    """
    if not np.isfinite(loss):
        raise _not_finite(f"the loss is {loss}", model, epoch, step, checkpoints)


def check_weights(model: keras.Model, *, epoch: int, step: int, checkpoints: Path) -> None:
    """Stop where a variable of the model is NaN or infinite, before it is written.

    A gradient may overflow where the loss did not: then the loss shows it one step later.

    Raises:
        DivergenceError: one is; as for :func:`check_loss`.
    """
    if name := first_not_finite(model):
        what = f"{name} is no number (NaN or infinity)"
        raise _not_finite(what, model, epoch, step, checkpoints)


def _not_finite(
    what: str, model: keras.Model, epoch: int, step: int, checkpoints: Path
) -> DivergenceError:
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    kept = max(checkpoints.glob("*.npz"), key=lambda path: path.stat().st_mtime_ns, default=None)
    last = "nothing has been written yet" if kept is None else f"the last good checkpoint is {kept}"
    return DivergenceError(
        f"epoch {epoch}, step {step}: {what} at learning rate {rate:.3g}; {WHAT_TO_TRY}; {last}"
    )
