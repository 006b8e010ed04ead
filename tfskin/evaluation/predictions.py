"""Predictions of a set of images, with their true classes and what is known of the images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tfskin.datasets.splits_file import SPLITS
from tfskin.evaluation.decision import malignant_score
from tfskin.evaluation.metrics import check_predictions
from tfskin.evaluation.sums import Flags, Floats, Ints
from tfskin.files import replace_file

ID_COLUMNS = ["image_id", "lesion_id", "patient_id", "group", "label"]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model says about N images of a split, and what is known of them.

    Attributes:
        facts: N rows, one an image: ``label`` (an index into ``class_names``), ``group`` (images
            of one value share a lesion or a patient, or copies and photographs link them), and
            whatever else is recorded, such as ids, age and artefacts.
        class_names: C names.
        probabilities: (N, C) float64, calibrated.
        split: the split that the images are of; empty where they are of none.
        logits: (N, K) of the model, whose K classes may be others than these; None where they are
            not known.
        malignant: the names of the malignant classes; empty where that is not known.
        scores: (N,) the malignant score; None where it is not known.
    """

    facts: pd.DataFrame
    class_names: list[str]
    probabilities: Floats
    split: str = ""
    logits: npt.NDArray[Any] | None = None
    malignant: Sequence[str] = ()
    scores: Floats | None = None

    @classmethod
    def of(
        cls,
        labels: npt.ArrayLike,
        probabilities: npt.ArrayLike,
        class_names: Sequence[str],
        groups: npt.ArrayLike | None = None,
        *,
        malignant: Sequence[str] = (),
    ) -> Predictions:
        """Predictions of plain arrays; the malignant score is the sum of the malignant classes.

        Args:
            labels: (N,) integers, the index of each image's class.
            probabilities: (N, C) floats; each row sums to 1.
            class_names: C names.
            groups: (N,) values; images with the same value belong together. Unless given, every
                image is on its own.
            malignant: names of the malignant classes.

        Raises:
            ValueError: as :func:`~tfskin.evaluation.metrics.check_predictions`; groups of another
                length.
        """
        true, values = check_predictions(labels, probabilities, class_names)
        names = np.arange(len(true)) if groups is None else np.asarray(groups)
        if names.shape != true.shape:
            raise ValueError(f"groups of shape {names.shape} for {len(true)} labels")
        return cls(
            facts=pd.DataFrame({"label": true, "group": names}),
            class_names=list(class_names),
            probabilities=values,
            malignant=malignant,
            scores=malignant_score(values, list(class_names), malignant) if malignant else None,
        )

    def __len__(self) -> int:
        return len(self.facts)

    @property
    def labels(self) -> Ints:
        """(N,) int64, the index of each image's true class."""
        return self.facts["label"].to_numpy(np.int64)

    @property
    def groups(self) -> npt.NDArray[Any]:
        """(N,) images of one value are drawn together by the bootstrap."""
        return self.facts["group"].to_numpy()

    @property
    def chosen(self) -> Ints:
        """(N,) the index of the most probable class; among equals the first."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @property
    def positive(self) -> Flags:
        """(N,) whether the true class of each image is malignant."""
        return np.isin(self.labels, [self.class_names.index(name) for name in self.malignant])

    @property
    def malignant_scores(self) -> Floats | None:
        """(N,) the malignant score; None unless both it and the malignant classes are known."""
        return self.scores if self.malignant else None

    @property
    def known_logits(self) -> npt.NDArray[Any]:
        """(N, K) logits of the model.

        Raises:
            ValueError: they are not known.
        """
        if self.logits is None:
            raise ValueError("the logits of these predictions are not known")
        return self.logits

    def take(self, rows: Any) -> Predictions:
        """The predictions of some images, by a mask (N,), a slice, or their places."""
        return dataclasses.replace(
            self,
            facts=self.facts.iloc[rows],
            probabilities=self.probabilities[rows],
            logits=None if self.logits is None else self.logits[rows],
            scores=None if self.scores is None else self.scores[rows],
        )

    def with_probabilities(self, probabilities: Floats) -> Predictions:
        """The same images with other probabilities (N, C); the malignant score follows them."""
        scores = None
        if self.malignant:
            scores = malignant_score(probabilities, self.class_names, self.malignant)
        return dataclasses.replace(self, probabilities=probabilities, logits=None, scores=scores)

    def table(self) -> pd.DataFrame:
        """One row an image: ids, group, the label's name, one probability per class."""
        table = self.facts[ID_COLUMNS].copy()
        table["label"] = [self.class_names[index] for index in self.labels]
        columns = pd.DataFrame(self.probabilities, columns=self.class_names, index=table.index)
        return pd.concat([table, columns], axis=1)

    def write_csv(self, path: Path) -> None:
        """Write :meth:`table`, atomically."""
        with replace_file(path) as temporary:
            self.table().to_csv(temporary, index=False, float_format="%.8g")


def headline_split(splits: Iterable[str]) -> str:
    """The split whose metrics speak for a run: test, else val, else another data set's name."""
    names = list(splits)
    order = ("test", "val", *(name for name in names if name not in SPLITS), *SPLITS)
    return next(name for name in order if name in names)
