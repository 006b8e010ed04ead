"""The replicas that train one model; where nothing else is asked for, the one of this process."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np

from tfskin.training.steps import StepWatch


class Replicas:
    """The replicas that train one model, and which of them are this process's.

    This class is one process with one replica, which trains by Keras's own ``fit``;
    :class:`tfskin.training.distribution.Distribution` is several.

    Attributes:
        replicas: how many there are in all.
        first: the number of this process's first one.
        local: how many are this process's.
    """

    replicas = 1
    first = 0
    local = 1

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.first == 0

    def facts(self) -> dict[str, Any]:
        """What ``environment.json`` says of the replicas; nothing of one process."""
        return {}

    def scope(self) -> AbstractContextManager[Any]:
        """Where the model's and the optimizer's variables are made."""
        return nullcontext()

    def adopt(self, model: keras.Model) -> None:
        """Make a freshly compiled model fit for :meth:`train_epoch`."""

    def begin(self, model: keras.Model) -> None:
        """Take a compiled model, which the methods below train and ask."""
        self._model = model

    def check_agreement(self, text: str, what: str) -> None:
        """Raise a UserError unless ``text``, which ``what`` describes, is that of every process."""

    def wait_for_all(self) -> None:
        """Return when every process has come here."""

    def train_epoch(
        self, batches: Iterable[Any], *, images: int, images_per_step: int, watch: StepWatch
    ) -> dict[str, float]:
        """Train on what is left of an epoch and return its metrics, the same in every process.

        Args:
            batches: this process's, those of one step after one another.
            images: of the whole epoch, in all processes.
            images_per_step: of a whole step, in all processes.
            watch: is told of each step.
        """
        fitted = self._model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[watch])
        return {name: values[-1] for name, values in fitted.history.items()}

    def predict(self, batches: Iterable[Any], rows: tuple[int, int, int] | None) -> np.ndarray:
        """Logits of all rows, (N, C), in every process.

        Args:
            batches: (images, labels) of this process's rows.
            rows: the first and last (exclusive) of them, and the number of all rows; none: these
                are all.
        """
        return self._model.predict(batches, verbose=0)


ALONE = Replicas()
"""This process's one replica, for who only asks how many there are."""
