"""The parts of ``metrics.json`` beside the figures of each split."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfskin.datasets.shards import Shards
from tfskin.evaluation.binary import malignant_figures, set_figures
from tfskin.evaluation.calibration import calibrate, fit_isotonic, reliability, softmax
from tfskin.evaluation.decision import Decision, malignant_score, prediction_sets
from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.reliance import Probe, count_passes, reliance_figures
from tfskin.evaluation.subgroups import Judged, artefact_columns, subgroup_figures
from tfskin.experiment.judging import Predictions, read_pictures
from tfskin.progress import progress_bar
from tfskin.runs import RunInputs
from tfskin.schema import EvaluateConfig

CALIBRATION_FIGURES = ("log_loss", "brier", "ece")


def malignant_section(
    predictions: Mapping[str, Predictions],
    decision: Decision,
    malignant: Sequence[str],
    config: EvaluateConfig,
) -> dict[str, Any] | None:
    """Malignant against benign on each split; None where the malignant classes are not known.

    Args:
        predictions: split -> predictions.
        decision: of the run: thresholds of the malignant score.
        malignant: the classes of the predictions that are malignant.
        config: resamples and confidence.
    """
    scored = {split: one for split, one in predictions.items() if one.scores is not None}
    if not malignant or not scored:
        return None
    return {
        "classes": list(malignant),
        "splits": {
            split: malignant_figures(
                is_malignant(one, malignant),
                np.asarray(one.scores),
                one.groups,
                decision.thresholds,
                resamples=config.resamples,
                confidence=config.confidence,
            )
            for split, one in scored.items()
        },
    }


def is_malignant(predictions: Predictions, malignant: Sequence[str]) -> np.ndarray:
    """(N,) whether the true class of each image is malignant."""
    return np.isin(predictions.labels, [predictions.class_names.index(m) for m in malignant])


def conformal_section(
    predictions: Mapping[str, Predictions], decision: Decision, config: EvaluateConfig
) -> dict[str, Any] | None:
    """Coverage and size of the prediction sets on each split; None where none were fitted."""
    if decision.conformal is None:
        return None
    found = {
        split: set_figures(
            one.labels,
            prediction_sets(one.probabilities, decision),
            one.groups,
            one.class_names,
            resamples=config.resamples,
            confidence=config.confidence,
        )
        for split, one in predictions.items()
    }
    return {"coverage": decision.conformal.coverage, "splits": found}


def calibration_section(
    judged: Predictions,
    fitted: Predictions | None,
    decision: Decision,
    config: EvaluateConfig,
) -> dict[str, Any]:
    """Log-loss, Brier score and calibration error before and after each kind of calibration.

    Args:
        judged: predictions of the headline split.
        fitted: those of the calibration split, to which the isotonic maps are fitted; None where
            there is none.
        decision: of the run.
        config: resamples, confidence and the kind that was chosen.
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
    malignant, result = decision.malignant, {}
    for name, probabilities in methods.items():
        figures = bootstrap_intervals(
            judged.labels,
            probabilities,
            judged.groups,
            names,
            resamples=config.resamples,
            confidence=config.confidence,
        )
        if malignant:
            positive = is_malignant(judged, malignant)
            scores = malignant_score(probabilities, names, malignant)
        else:
            positive = probabilities.argmax(axis=1) == judged.labels
            scores = probabilities.max(axis=1)
        result[name] = {
            **{figure: figures[figure] for figure in CALIBRATION_FIGURES},
            "reliability": reliability(positive, scores),
        }
    return {
        "chosen": decision.calibration.method if decision.calibration else "temperature",
        "temperature": temperature * inside,
        "of": "malignant" if malignant else "the most probable class",
        "methods": result,
    }


def subgroup_section(
    judged: Predictions,
    malignant: Sequence[str],
    decision: Decision,
    config: EvaluateConfig,
) -> dict[str, Any]:
    """The figures of every subgroup, at the first operating point."""
    name, point = next(iter(decision.thresholds.items()), (None, None))
    found = subgroup_figures(
        Judged(
            labels=judged.labels,
            probabilities=judged.probabilities,
            class_names=judged.class_names,
            groups=judged.groups,
            facts=judged.facts,
            malignant=malignant if judged.scores is not None else (),
            scores=judged.scores,
            threshold=point.threshold if point else None,
            resamples=config.resamples,
            confidence=config.confidence,
        )
    )
    return {"operating_point": name, "headings": found}


def reliance_section(
    model: keras.Model,
    shards: Shards,
    split: str,
    judged: Predictions,
    inputs: RunInputs,
    decision: Decision,
    config: EvaluateConfig,
) -> dict[str, Any] | None:
    """What the model relies on, seen on the first images of a split; None where it is turned off.

    The images are the first in file order, which ``tfskin-prepare`` has shuffled.
    """
    count = min(config.reliance_images, len(judged.facts))
    if not count:
        return None
    facts, flags = judged.facts.iloc[:count], artefact_columns(judged.facts)
    names = judged.class_names

    def predict(pictures: np.ndarray) -> np.ndarray:
        logits = model.predict(pictures, verbose=0, batch_size=config.batch_size)
        return decision.to_probabilities(logits)

    probe = Probe(
        predict=predict,
        pictures=read_pictures(shards, split, inputs, range(count)),
        labels=judged.labels[:count],
        groups=judged.groups[:count],
        class_names=names,
        malignant=decision.malignant,
        clean=(facts[flags].astype(int) == 0).all(axis=1).to_numpy() if flags else None,
        resamples=config.resamples,
        confidence=config.confidence,
    )
    with progress_bar("reliance", total=count_passes()) as advance:
        found = reliance_figures(probe, advance=advance)
    return {"split": split, "artefacts_recorded": bool(flags), **found}
