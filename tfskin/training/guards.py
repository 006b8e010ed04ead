"""What stops a fit before it does harm."""

from pathlib import Path

import keras
import numpy as np

from tfskin.errors import UserError

WHAT_TO_TRY = "try a lower train.learning_rate, train.clip_norm=1 or train.precision=float32"


def check_loss(
    loss: float, model: keras.Model, *, epoch: int, step: int, checkpoints: Path
) -> None:
    """Stop where the loss of the epoch so far is NaN or infinite.

    Raises:
        UserError: it is. Names the epoch, the step (from 1), the learning rate and the newest
            checkpoint, which was written before.
    """
    if np.isfinite(loss):
        return
    rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
    kept = max(checkpoints.glob("*.npz"), key=lambda path: path.stat().st_mtime_ns, default=None)
    last = "nothing has been written yet" if kept is None else f"the last good checkpoint is {kept}"
    raise UserError(
        f"epoch {epoch}, step {step}: the loss is {loss} at learning rate {rate:.3g}; "
        f"{WHAT_TO_TRY}; {last}"
    )
