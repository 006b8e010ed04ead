"""What a fit writes, and when: the weights of its best epoch, and checkpoints."""

import logging
import time
from pathlib import Path

import keras
import numpy as np

from tfskin.files import replace_file
from tfskin.training.checkpoints import FitState, assign_all, copy_values, save_checkpoint

logger = logging.getLogger(__name__)


class Keeper:
    """Writes ``<folder>/model.keras`` and ``<folder>/checkpoints``.

    Args:
        folder: the run; None: nothing is written, for this process is not the one that writes.
        model: what is fitted.
        whole: the network that is kept, where ``model`` is but its head.
        seconds: finished epochs are written when so much time has passed since the last one was,
            and at the end; those in between are trained again after a kill, to the same end.
    """

    def __init__(
        self,
        folder: Path | None,
        model: keras.Model,
        *,
        whole: keras.Model | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.folder = folder
        self.model = model
        self.whole = model if whole is None else whole
        self.seconds = seconds
        self.written = time.monotonic()
        self.best: list[np.ndarray] | None = None

    def keep_best(self) -> None:
        """Remember the present weights as those of the best epoch."""
        if self.folder is None:
            return
        if self._is_due():
            self.best = None
            self._write_model()
        else:
            # A backbone that is not fitted stays what it is.
            self.best = copy_values(self.model.variables)

    def end_epoch(self, state: FitState, *, last: bool) -> None:
        """Write what is remembered and a checkpoint, if it is time or the last epoch of a stage."""
        if last or self._is_due():
            self.save(state)
            self.written = time.monotonic()

    def save(self, state: FitState) -> None:
        """Write what is remembered, and a checkpoint.

        A full disk is no reason to lose what is still in memory: it is told of, and the fit goes
        on with the checkpoint before as its last.
        """
        if self.folder is None:
            return
        if self.best is not None:
            now = copy_values(self.model.variables)
            assign_all(self.model.variables, self.best)
            self._write_model()
            assign_all(self.model.variables, now)
            self.best = None
        try:
            save_checkpoint(self.folder / "checkpoints", self.model, state, whole=self.whole)
        except OSError as error:
            logger.warning(
                f"the checkpoint after {state} could not be written ({error.strerror}); "
                "training goes on, the checkpoint before stays"
            )

    def _is_due(self) -> bool:
        return time.monotonic() - self.written >= self.seconds

    def _write_model(self) -> None:
        assert self.folder is not None
        with replace_file(self.folder / "model.keras") as temporary:
            self.whole.save(temporary)
