"""What a model says about encoded images, and about one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Answers(NamedTuple):
    """What a model says about N files."""

    probabilities: np.ndarray
    """float32 (N, C)."""
    valid: np.ndarray
    """bool (N,), false where a file could not be read."""
    malignancy: np.ndarray | None = None
    """float32 (N,), where the model knows which classes are malignant."""
    prediction_set: np.ndarray | None = None
    """bool (N, C), where the model has prediction sets."""


class HeatMap(NamedTuple):
    """Where on an image its most probable class is seen."""

    values: np.ndarray
    """float32 (h, w) in 0..1."""
    box: tuple[float, float, float, float]
    """Top, left, bottom, right of the map on the upright image, as fractions of its sides."""


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image.

    Attributes:
        path: the image's file.
        class_names: index -> class.
        probabilities: one for each class, summing to 1; empty when there is an ``error``.
        error: why the image could not be read; empty when it could.
        malignancy: sum of the probabilities of the malignant classes, where they are known.
        prediction_set: the classes that cannot be ruled out, where the model has such sets.
        heat_map: where the predicted class is seen, if that was asked for.
    """

    path: Path
    class_names: Sequence[str]
    probabilities: tuple[float, ...]
    error: str = ""
    malignancy: float | None = None
    prediction_set: tuple[str, ...] | None = None
    heat_map: HeatMap | None = None

    @property
    def predicted(self) -> str:
        """The class of the highest probability; empty when there is an error."""
        return "" if self.error else self.class_names[int(np.argmax(self.probabilities))]

    @property
    def probability(self) -> float:
        """The highest probability; NaN when there is an error."""
        return float("nan") if self.error else max(self.probabilities)
