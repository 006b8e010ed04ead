"""The parts of ``metrics.json`` beside the figures of each split."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfskin.datasets.shards import Shards
from tfskin.evaluation.binary import malignant_metrics, set_metrics
from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.calibration import calibrate, fit_isotonic, reliability, softmax
from tfskin.evaluation.decision import Decision, decide, prediction_sets
from tfskin.evaluation.intervals import metric_intervals
from tfskin.evaluation.metric_table import metrics_shown
from tfskin.evaluation.predictions import Predictions
from tfskin.evaluation.reliance import Probe, count_passes, reliance_metrics
from tfskin.evaluation.subgroups import artefact_columns, subgroup_metrics
from tfskin.experiment.judging import read_pictures
from tfskin.progress import progress_bar
from tfskin.runs import RunInputs
from tfskin.schema import EvaluateConfig


def malignant_section(
    predictions: Mapping[str, Predictions], decision: Decision, bootstrap: Bootstrap
) -> dict[str, Any] | None:
    """Malignant against benign on each split; None where the malignant classes are not known."""
    scored = {s: one for s, one in predictions.items() if one.malignant_scores is not None}
    if not scored:
        return None
    return {
        "classes": list(next(iter(scored.values())).malignant),
        "splits": {
            split: malignant_metrics(one, bootstrap, decision.thresholds)
            for split, one in scored.items()
        },
    }


def conformal_section(
    predictions: Mapping[str, Predictions], decision: Decision, bootstrap: Bootstrap
) -> dict[str, Any] | None:
    """Coverage and size of the prediction sets on each split; None where none were fitted."""
    conformal = decision.conformal
    if conformal is None:
        return None
    found = {}
    for split, one in predictions.items():
        found[split] = set_metrics(one, bootstrap, prediction_sets(one.probabilities, decision))
    return {"coverage": conformal.coverage, "splits": found}


def calibration_section(
    judged: Predictions,
    fitted: Predictions | None,
    decision: Decision,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Log-loss, Brier score and calibration error before and after each kind of calibration.

    Args:
        judged: predictions of the headline split.
        fitted: those of the calibration split, to which the isotonic maps are fitted; None where
            there is none.
        decision: of the run.
        bootstrap: how the intervals are made.
    """
    names, temperature = judged.class_names, decision.temperature
    # An ensemble's logits come after its own temperature: multiplying by it takes it back.
    inside = decision.inside_the_model.get("temperature", 1.0)
    methods = {"none": softmax(judged.logits, temperature=1 / inside)}
    methods["temperature"] = softmax(judged.logits, temperature=temperature)
    if fitted is not None:
        base = softmax(fitted.logits, temperature=temperature)
        maps = fit_isotonic(fitted.labels, base, names)
        methods["isotonic"] = calibrate(methods["temperature"], maps, names)
    result = {}
    for name, probabilities in methods.items():
        one = judged.with_probabilities(probabilities)
        found = metric_intervals(one, bootstrap)
        if one.malignant_scores is not None:
            bins = reliability(one.positive, one.malignant_scores)
        else:
            bins = reliability(one.chosen == one.labels, probabilities.max(axis=1))
        result[name] = {
            **{metric.name: found[metric.name] for metric in metrics_shown("calibration")},
            "reliability": bins,
        }
    return {
        "chosen": decision.calibration.method if decision.calibration else "temperature",
        "temperature": temperature * inside,
        "of": "malignant" if judged.malignant else "the most probable class",
        "methods": result,
    }


def subgroup_section(
    judged: Predictions, decision: Decision, bootstrap: Bootstrap
) -> dict[str, Any]:
    """The metrics of every subgroup, at the first operating point."""
    name, point = next(iter(decision.thresholds.items()), (None, None))
    threshold = None if point is None else point.threshold
    found = subgroup_metrics(judged, bootstrap, threshold=threshold)
    return {"operating_point": name, "headings": found}


def reliance_section(
    model: keras.Model,
    shards: Shards,
    split: str,
    judged: Predictions,
    inputs: RunInputs,
    decision: Decision,
    config: EvaluateConfig,
    bootstrap: Bootstrap,
) -> dict[str, Any] | None:
    """What the model relies on, seen on the first images of a split; None where it is turned off.

    The images are the first in file order, which ``tfskin-prepare`` has shuffled.
    """
    count = min(config.reliance_images, len(judged.facts))
    if not count:
        return None
    facts, flags = judged.facts.iloc[:count], artefact_columns(judged.facts)

    def predict(pictures: np.ndarray) -> np.ndarray:
        logits = model.predict(pictures, verbose=0, batch_size=config.batch_size)
        return decide(logits, decision).probabilities

    probe = Probe(
        predict=predict,
        images=read_pictures(shards, split, inputs, range(count)),
        clean=(facts[flags].astype(int) == 0).all(axis=1).to_numpy() if flags else None,
    )
    with progress_bar("reliance", total=count_passes()) as advance:
        found = reliance_metrics(judged.take(slice(count)), bootstrap, probe, advance=advance)
    return {"split": split, "artefacts_recorded": bool(flags), **found}
