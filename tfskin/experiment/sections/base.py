"""What a section of the report is, and what it is made of."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import keras

from tfskin.datasets.shards import Shards
from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.challenges import Challenge
from tfskin.evaluation.decision import Decision
from tfskin.evaluation.predictions import Predictions, headline_split
from tfskin.evaluation.report import Block
from tfskin.experiment.run_predictions import run_classes
from tfskin.runs import Run
from tfskin.schema import EvaluateConfig, ExternalConfig


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A run that is evaluated: its predictions, what was decided, and where the report goes.

    Attributes:
        run: a run directory.
        model: its model, in float32.
        shards: whose images it predicted.
        predictions: split -> predictions.
        decision: of the run.
        config: how it is evaluated.
        folder: where everything is written.
        external: the other data set, if it is one.
        challenge: the ISIC challenge that the predictions are submitted to, if any.
    """

    run: Run
    model: keras.Model
    shards: Shards
    predictions: Mapping[str, Predictions]
    decision: Decision
    config: EvaluateConfig
    folder: Path
    external: ExternalConfig | None = None
    challenge: Challenge | None = None

    @property
    def split(self) -> str:
        """The split whose metrics speak for the run: test, else val, else the other data set."""
        return headline_split(self.predictions)

    @property
    def headline(self) -> Predictions:
        """The predictions of that split."""
        return self.predictions[self.split]

    @property
    def classes(self) -> dict[str, list[str]]:
        """Class of the predictions -> the diagnoses in it."""
        return run_classes(self.run) if self.external is None else self.external.classes

    @property
    def bootstrap(self) -> Bootstrap:
        """How the intervals are made."""
        return Bootstrap(resamples=self.config.resamples, confidence=self.config.confidence)


class ReportSection(ABC):
    """One section of the report: what it computes, when it applies, and what it shows.

    Attributes:
        heading: above the section.
        keys: what :meth:`compute` adds to ``metrics.json``; null there where the section does not
            apply.
    """

    heading: ClassVar[str]
    keys: ClassVar[tuple[str, ...]] = ()

    def applies(self, evaluation: Evaluation) -> bool:
        """Whether there is anything to compute and to show."""
        return True

    def compute(self, evaluation: Evaluation) -> dict[str, Any]:
        """The section's part of ``metrics.json``: plain numbers, text, lists and dictionaries."""
        return {}

    @abstractmethod
    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> Sequence[Block]:
        """The paragraphs, tables and plots of the section; without any it is left out.

        Args:
            evaluation: of the run.
            metrics: the whole of ``metrics.json``.
        """

    def save_plots(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> None:
        """Write the plots that a run has as files of their own, in ``<folder>/plots``."""
        return
