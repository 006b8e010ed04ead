"""What is decided on the calibration split: calibration, malignant classes, thresholds, sets."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfskin.errors import UserError, nearest_hint
from tfskin.evaluation.calibration import cross_calibrate, fit_isotonic
from tfskin.evaluation.decisions import (
    conformal_quantiles,
    malignant_score,
    threshold_for_cost,
    threshold_for_sensitivity,
    threshold_for_specificity,
)
from tfskin.evaluation.diagnoses import malignant_classes
from tfskin.experiment.judging import softmax
from tfskin.runs import Run
from tfskin.schema import EvaluateConfig

logger = logging.getLogger(__name__)

KEPT = ("temperature", "split", "inside_the_model")

HELD_OUT_FILE = "held_out.npy"
"""In a run by stacking: (N, C) log-probabilities of calibration, each image's by a fit that has
not seen its group."""


def fit_decision(
    run: Run,
    fitted: tuple[pd.DataFrame, np.ndarray] | None,
    classes: Mapping[str, Sequence[str]],
    config: EvaluateConfig,
) -> dict[str, Any]:
    """What ``decision.json`` holds; see docs/metrics-schema.md.

    The temperature is the one that training or ensembling fitted. Under isotonic calibration, and
    of an ensemble by stacking, thresholds and sets are made from probabilities that each image's
    own group had no part in.

    Args:
        run: whose temperature is kept.
        fitted: facts and logits of the calibration split; None where there is none.
        classes: class -> diagnoses in it.
        config: targets, coverage and the kind of calibration.

    Raises:
        UserError: ``evaluate.malignant`` names a class that the run does not have, or all of them.
    """
    before = run.decision()
    decision: dict[str, Any] = {key: before[key] for key in KEPT if key in before}
    decision["calibration"] = {"method": "temperature"}
    malignant = choose_malignant(classes, config.malignant)
    if malignant:
        decision["malignant"] = malignant
    decision["thresholds"] = {}
    if fitted is None:
        logger.info(
            f"{run.folder}: has no calibration split, so no thresholds and no prediction sets"
            + ("; evaluate.calibration=isotonic is left out" * (config.calibration == "isotonic"))
        )
        return decision
    facts, logits = fitted
    if (run.folder / HELD_OUT_FILE).is_file():
        logits = np.load(run.folder / HELD_OUT_FILE)
    labels, names = facts["label"].to_numpy(np.int64), list(classes)
    probabilities = softmax(logits, temperature=decision["temperature"])
    decision["split"] = "calibration"
    if config.calibration == "isotonic":
        decision["calibration"] = fit_isotonic(labels, probabilities, names)
        probabilities = cross_calibrate(labels, probabilities, facts["group"].to_numpy(), names)
    if malignant:
        positive = np.isin(labels, [names.index(name) for name in malignant])
        scores = malignant_score(probabilities, names, malignant)
        decision["thresholds"] = choose_thresholds(positive, scores, config)
    quantiles = conformal_quantiles(labels, probabilities, coverage=config.coverage)
    decision["conformal"] = {
        "coverage": config.coverage,
        "method": "class_conditional",
        "per_class": dict(zip(names, quantiles.tolist(), strict=True)),
    }
    return decision


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
    positive: np.ndarray,
    scores: np.ndarray,
    config: EvaluateConfig,
) -> dict[str, Any]:
    """Name -> ``{"score", "threshold", "target"}`` of every operating point of the config."""
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
        name: {"score": "malignant", "threshold": threshold, "target": target}
        for name, (threshold, target) in found.items()
        if threshold is not None
    }
