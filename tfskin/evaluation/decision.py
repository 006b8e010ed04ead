"""What a run decides: one typed value, its file ``decision.json``, and what it makes of logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tfskin.config import parse_config
from tfskin.errors import UserError
from tfskin.evaluation.calibration import Calibration, Number, calibrate, softmax
from tfskin.evaluation.metrics import Floats

Bools: TypeAlias = npt.NDArray[np.bool_]

SET_SLACK = 1e-6
"""How far above its quantile ``1 - p`` may lie for a class to be in a prediction set.

The image that a quantile was taken from lies exactly on it and must be inside. A served graph knows
its probability in float32, a few 1e-7 beside the float64 one, and adding 1e-9 to a quantile does
not even change the float32 number: one in thirteen such images fell out of its own set. With 1e-6
both sides give the same answer.
"""

FITTED_WITH_THE_MODEL = ("temperature", "split", "inside_the_model")
"""The keys of ``decision.json`` that training and ensembling write; evaluation writes the rest."""


class OperatingPoint(BaseModel):
    """A threshold of a score, and what it was chosen for.

    Attributes:
        score: which score; the malignant one is the only one.
        threshold: an image is called malignant where its score is at or above it; above 1, none is.
        target: such as ``{"sensitivity": 0.95}``.
    """

    model_config = ConfigDict(frozen=True)

    score: str = "malignant"
    threshold: Number
    target: dict[str, Number] = Field(default_factory=dict)


class Conformal(BaseModel):
    """Split-conformal prediction sets.

    Attributes:
        coverage: the share of each class's images whose set is to hold the class.
        method: how the quantiles were found.
        per_class: class -> the largest ``1 - p`` with which it is in a set.
    """

    model_config = ConfigDict(frozen=True)

    coverage: Number
    method: str = "class_conditional"
    per_class: dict[str, Number]


class Decision(BaseModel):
    """What is done with a model's logits; docs/metrics-schema.md has the formulas.

    Attributes:
        class_names: index -> class. They stand in ``class_names.json``, not in the file.
        temperature: probabilities are ``softmax(logits / temperature)``, then calibrated.
        split: the split that everything here was fitted on; None where there is none.
        inside_the_model: of an ensemble, the combiner that its model already holds; else empty.
        calibration: what follows the softmax; None for nothing more.
        malignant: the classes whose probabilities add up to the malignant score; empty where they
            are not known.
        thresholds: name -> operating point.
        conformal: prediction sets; None where none were fitted.
    """

    model_config = ConfigDict(frozen=True)

    class_names: tuple[str, ...] = Field(exclude=True)
    temperature: Number = Field(default=1.0, ge=0.01, le=100)
    split: str | None = None
    inside_the_model: dict[str, Any] = Field(default_factory=dict)
    calibration: Calibration | None = None
    malignant: tuple[str, ...] = ()
    thresholds: dict[str, OperatingPoint] = Field(default_factory=dict)
    conformal: Conformal | None = None

    @model_validator(mode="after")
    def _check_classes(self) -> Decision:
        quantiles = self.conformal.per_class if self.conformal else {}
        for name in (*self.malignant, *quantiles):
            if name not in self.class_names:
                raise ValueError(
                    f"'{name}' is no class of the model ({', '.join(self.class_names)})"
                )
        if self.conformal and len(quantiles) < len(self.class_names):
            raise ValueError("'conformal' must hold a quantile for every class")
        if self.calibration and self.calibration.method == "isotonic":
            for name in self.class_names:
                if name not in self.calibration.classes:
                    raise ValueError(f"the isotonic calibration has no class '{name}'")
        return self

    @property
    def levels(self) -> dict[str, float]:
        """Operating point -> the malignant score from which it calls an image malignant."""
        return {name: point.threshold for name, point in self.thresholds.items()}

    @property
    def quantiles(self) -> list[float]:
        """The quantile of each class in the order of ``class_names``; none without sets."""
        found = self.conformal.per_class if self.conformal else {}
        return [found[name] for name in self.class_names if found]

    def to_dict(self) -> dict[str, Any]:
        """What ``decision.json`` holds: the keys that were given, in the order of the attributes.

        What was never decided is left out rather than written as null.
        """
        return self.model_dump(mode="json", exclude_unset=True)

    def to_probabilities(self, logits: Any, *, ops: Any = np) -> Any:
        """(N, C) calibrated probabilities of (N, C) logits.

        Args:
            logits: an array, or a tensor.
            ops: ``numpy`` (float64), or ``keras.ops`` for a graph (float32).
        """
        if ops is np:
            probabilities = softmax(logits, temperature=self.temperature)
        else:
            probabilities = ops.softmax(ops.cast(logits, "float32") / self.temperature)
        return calibrate(probabilities, self.calibration, self.class_names, ops=ops)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What follows from the logits of N images.

    Attributes:
        probabilities: (N, C) float64, calibrated.
        malignancy: (N,) float64, the malignant score; None where the malignant classes are not
            known.
        is_malignant: (N, T) whether each operating point calls the image malignant; None without
            operating points or malignant score.
        prediction_set: (N, C) whether each class is in the image's set; None where no sets were
            fitted.
    """

    probabilities: Floats
    malignancy: Floats | None = None
    is_malignant: Bools | None = None
    prediction_set: Bools | None = None


def decide(logits: npt.ArrayLike, decision: Decision) -> Answer:
    """The answer for (N, C) logits of a run's model.

    The served graph gives the same, by ``tfskin.serving.decisions.decide_in_graph``.
    """
    probabilities = decision.to_probabilities(logits)
    malignancy, is_malignant, prediction_set = None, None, None
    if decision.malignant:
        malignancy = malignant_score(probabilities, decision.class_names, decision.malignant)
        if decision.thresholds:
            is_malignant = malignancy[:, np.newaxis] >= np.array([*decision.levels.values()])
    if decision.conformal is not None:
        prediction_set = prediction_sets(probabilities, decision)
    return Answer(
        probabilities=probabilities,
        malignancy=malignancy,
        is_malignant=is_malignant,
        prediction_set=prediction_set,
    )


def malignant_score(
    probabilities: Floats, class_names: Sequence[str], malignant: Sequence[str]
) -> Floats:
    """(N,) the sum of the probabilities of the malignant classes."""
    names = list(class_names)
    return probabilities[:, [names.index(name) for name in malignant]].sum(axis=1)


def prediction_sets(probabilities: Floats, decision: Decision) -> Bools:
    """(N, C) whether each class is in each image's set; a set may be empty.

    Raises:
        ValueError: the decision has no prediction sets.
    """
    if decision.conformal is None:
        raise ValueError("no prediction sets were fitted")
    return 1 - probabilities <= np.array(decision.quantiles) + SET_SLACK


def parse_decision(
    values: Any,
    class_names: Sequence[str],
    *,
    source: str = "decision.json",
    before_evaluation: bool = False,
) -> Decision:
    """The decision that a ``decision.json`` holds; keys that are not known are ignored.

    Args:
        values: what the file holds.
        class_names: index -> class, of the run.
        source: the file, for the error.
        before_evaluation: only what training or ensembling wrote, whatever is wrong with the rest.

    Raises:
        UserError: a key that does not have the form of docs/metrics-schema.md.
    """
    if not isinstance(values, dict):
        raise UserError(f"{source}: must hold a 'temperature' of 0.01 to 100; train the run again")
    given = {key: value for key, value in values.items() if value is not None or key == "split"}
    given |= {"temperature": values.get("temperature"), "class_names": tuple(class_names)}
    first = {k: v for k, v in given.items() if k in (*FITTED_WITH_THE_MODEL, "class_names")}
    found = _parse(first, source, "train the run again")
    return found if before_evaluation else _parse(given, source, "evaluate the run again")


def _parse(values: dict[str, Any], source: str, advice: str) -> Decision:
    try:
        return parse_config(values, Decision, source=source)
    except UserError as error:
        raise UserError(f"{error}; {advice}") from None
