"""What is decided on the calibration split: calibration, malignant classes, thresholds, sets."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tfskin.errors import UserError, nearest_hint
from tfskin.evaluation.calibration import Calibration, cross_calibrate, fit_isotonic, softmax
from tfskin.evaluation.decision import (
    FITTED_WITH_THE_MODEL,
    Conformal,
    Decision,
    OperatingPoint,
    malignant_score,
)
from tfskin.evaluation.diagnoses import malignant_classes
from tfskin.evaluation.metrics import Floats, Ints
from tfskin.schema import EvaluateConfig

logger = logging.getLogger(__name__)

ABOVE_ALL = 2.0
"""A threshold that no score reaches: nothing is called malignant."""


def fit_decision(
    before: Decision,
    fitted: tuple[pd.DataFrame, npt.NDArray[Any]] | None,
    classes: Mapping[str, Sequence[str]],
    config: EvaluateConfig,
) -> Decision:
    """What a run decides, for all of ``decision.json``; see docs/metrics-schema.md.

    Args:
        before: what training or ensembling fitted: the temperature is kept.
        fitted: of the calibration split, a table with the columns ``label`` (index of the class)
            and ``group``, and (N, C) logits; None where there is no such split. Of an ensemble by
            stacking, each image's logits are to come from a fit that has not seen its group.
            Isotonic calibration is cross-fitted here for the same reason.
        classes: class -> diagnoses in it.
        config: targets, coverage and the kind of calibration.

    Raises:
        UserError: ``evaluate.malignant`` names a class that the run does not have, or all of them.
    """
    chosen: dict[str, Any] = before.model_dump(
        include=set(FITTED_WITH_THE_MODEL), exclude_unset=True
    )
    chosen |= {"calibration": Calibration(method="temperature"), "thresholds": {}}
    malignant = choose_malignant(classes, config.malignant)
    if malignant:
        chosen["malignant"] = tuple(malignant)
    if fitted is None:
        logger.info(
            "there is no calibration split, so there are no thresholds and no prediction sets"
            + ("; evaluate.calibration=isotonic is left out" * (config.calibration == "isotonic"))
        )
        return Decision(class_names=before.class_names, **chosen)
    facts, logits = fitted
    labels, names = facts["label"].to_numpy(np.int64), list(classes)
    probabilities = softmax(logits, temperature=before.temperature)
    chosen["split"] = "calibration"
    if config.calibration == "isotonic":
        chosen["calibration"] = fit_isotonic(labels, probabilities, names)
        probabilities = cross_calibrate(labels, probabilities, facts["group"].to_numpy(), names)
    if malignant:
        positive = np.isin(labels, [names.index(name) for name in malignant])
        scores = malignant_score(probabilities, names, malignant)
        chosen["thresholds"] = choose_thresholds(positive, scores, config)
    quantiles = conformal_quantiles(labels, probabilities, coverage=config.coverage)
    chosen["conformal"] = Conformal(
        coverage=config.coverage,
        method="class_conditional",
        per_class=dict(zip(names, quantiles.tolist(), strict=True)),
    )
    return Decision(class_names=before.class_names, **chosen)


def choose_malignant(
    classes: Mapping[str, Sequence[str]],
    given: Sequence[str] | None,
) -> list[str]:
    """The malignant classes, by the config or by their names; none where that is not known.

    Raises:
        UserError: a given name is no class, or all classes are given.
    """
    names = list(classes)
    if given is not None:
        for name in given:
            if name not in names:
                raise UserError(
                    f"evaluate.malignant: '{name}' is no class{nearest_hint(name, names)}; "
                    f"they are {', '.join(names)}"
                )
        if given and len(set(given)) == len(names):
            raise UserError("evaluate.malignant: names every class; leave the benign ones out")
        return list(given)
    found, unknown = malignant_classes(classes)
    if unknown:
        logger.info(
            f"not known whether malignant: {', '.join(unknown)}; name the malignant classes in "
            "evaluate.malignant for operating points"
        )
        return []
    if len(found) in (0, len(names)):
        kind = "malignant" if found else "benign"
        logger.info(f"every class is {kind}, so there are no operating points (evaluate.malignant)")
        return []
    return found


def choose_thresholds(
    positive: npt.NDArray[np.bool_],
    scores: Floats,
    config: EvaluateConfig,
) -> dict[str, OperatingPoint]:
    """Name -> operating point, for every target of the config that the images can be held to."""
    found: dict[str, tuple[float | None, dict[str, float]]] = {}
    for target in config.sensitivities:
        threshold = threshold_for_sensitivity(positive, scores, target)
        found[f"sensitivity_{target:g}"] = (threshold, {"sensitivity": target})
    for target in config.specificities:
        threshold = threshold_for_specificity(positive, scores, target)
        found[f"specificity_{target:g}"] = (threshold, {"specificity": target})
    if config.miss_cost is not None:
        threshold = threshold_for_cost(positive, scores, config.miss_cost)
        found[f"cost_{config.miss_cost:g}"] = (threshold, {"miss_cost": config.miss_cost})
    missing = [name for name, (threshold, _) in found.items() if threshold is None]
    if missing:
        kind = "malignant" if not positive.any() else "benign"
        logger.info(f"calibration has no {kind} image: no threshold for {', '.join(missing)}")
    return {
        name: OperatingPoint(score="malignant", threshold=threshold, target=target)
        for name, (threshold, target) in found.items()
        if threshold is not None
    }


def threshold_for_sensitivity(
    positive: npt.NDArray[np.bool_], scores: Floats, target: float
) -> float | None:
    """The highest threshold whose sensitivity is at least ``target``; None without positives.

    An image is called positive where its score is at or above the threshold. The threshold lies
    half-way to the next lower score, so that rounding does not change a decision.
    """
    found = np.sort(scores[positive])[::-1]
    if not len(found):
        return None
    # 0.95 * 20 is 19.000000000000004 in floating point.
    needed = max(1, math.ceil(target * len(found) - 1e-9))
    return _halfway(scores, found[needed - 1])


def threshold_for_specificity(
    positive: npt.NDArray[np.bool_], scores: Floats, target: float
) -> float | None:
    """The lowest threshold whose specificity is at least ``target``; None without negatives."""
    found = np.sort(scores[~positive])
    if not len(found):
        return None
    needed = max(0, math.ceil(target * len(found) - 1e-9))
    if needed == 0:
        return 0.0
    above = scores[scores > found[needed - 1]]
    return _halfway(scores, above.min()) if len(above) else ABOVE_ALL


def threshold_for_cost(
    positive: npt.NDArray[np.bool_], scores: Floats, miss_cost: float
) -> float | None:
    """The threshold of the lowest ``miss_cost * misses + false alarms``; None if one-sided.

    Of several, the lowest: where the cost is equal, the one that misses fewer.
    """
    if positive.all() or not positive.any():
        return None
    levels = np.unique(scores)
    below = np.searchsorted(np.sort(scores[positive]), levels)
    alarms = (~positive).sum() - np.searchsorted(np.sort(scores[~positive]), levels)
    costs = np.append(miss_cost * below + alarms, miss_cost * positive.sum())
    best = int(np.argmin(costs))
    return ABOVE_ALL if best == len(levels) else _halfway(scores, levels[best])


def _halfway(scores: Floats, level: float) -> float:
    """Between ``level`` and the next lower score; just 0 where there is none."""
    lower = scores[scores < level]
    return float((level + lower.max()) / 2) if len(lower) else 0.0


def conformal_quantiles(
    labels: Ints, probabilities: Floats, *, coverage: float
) -> npt.NDArray[np.float64]:
    """(C,) quantiles q of split-conformal sets ``{c: 1 - p_c <= q_c}``, one a class.

    ``q_c`` is the ``ceil((n_c + 1) coverage)``-th smallest of ``1 - p_c`` over the ``n_c`` images
    of class c: for an image of class c that is exchangeable with them, its set holds c with a
    probability of at least ``coverage``, whatever the model (Vovk, Conditional validity of
    inductive conformal predictors, 2012, the label-conditional predictor; Sadinle, Lei, Wasserman,
    Least ambiguous set-valued classifiers, 2019). A class with too few images gets 1: it is in
    every set.

    Args:
        labels: (N,) int64.
        probabilities: (N, C) float64.
        coverage: between 0 and 1.
    """
    quantiles = np.ones(probabilities.shape[1])
    for c in range(len(quantiles)):
        scores = np.sort(1 - probabilities[labels == c, c])
        place = math.ceil((len(scores) + 1) * coverage - 1e-9)
        if place <= len(scores):
            quantiles[c] = scores[place - 1]
    return quantiles
