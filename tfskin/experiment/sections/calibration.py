"""Section: how far probabilities mean what they say, and what prediction sets hold."""

from collections.abc import Mapping
from typing import Any

from tfskin.evaluation.binary import set_metrics
from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.calibration import calibrate, fit_isotonic, reliability, softmax
from tfskin.evaluation.curve_plots import plot_reliability
from tfskin.evaluation.decision import Decision, prediction_sets
from tfskin.evaluation.intervals import metric_intervals
from tfskin.evaluation.metric_table import columns_of, metrics_shown
from tfskin.evaluation.predictions import Predictions
from tfskin.evaluation.report import Block, Paragraph, Plot, Table
from tfskin.evaluation.sums import Floats
from tfskin.experiment.sections.base import Evaluation, ReportSection

SET_HEADINGS = {
    "coverage": "Coverage",
    "mean_size": "Mean size",
    "single": "One class",
    "empty": "Empty",
}


class CalibrationSection(ReportSection):
    """Before and after calibration, the reliability diagram and the prediction sets."""

    heading = "Calibration and prediction sets"
    keys = ("calibration", "conformal")

    def applies(self, evaluation: Evaluation) -> bool:
        """On the run's own data only, where both were fitted."""
        return evaluation.external is None

    def compute(self, evaluation: Evaluation) -> dict[str, Any]:
        """``calibration`` of the headline split, ``conformal`` of all (null: none were fitted)."""
        sets, decision = None, evaluation.decision
        if decision.conformal is not None:
            splits = {
                split: set_metrics(
                    one, evaluation.bootstrap, prediction_sets(one.probabilities, decision)
                )
                for split, one in evaluation.predictions.items()
            }
            sets = {"coverage": decision.conformal.coverage, "splits": splits}
        return {"calibration": _calibration(evaluation), "conformal": sets}

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """A row a kind of calibration; a row a split, and a row a class, of prediction sets."""
        split = metrics["headline"]
        sets = metrics["conformal"]
        blocks = _calibration_blocks(metrics["calibration"], split)
        return [*blocks, *(_set_blocks(sets, split) if sets is not None else [])]


def _calibration(evaluation: Evaluation) -> dict[str, Any]:
    """Metrics before and after each kind of calibration."""
    headline, decision = evaluation.headline, evaluation.decision
    # An ensemble's logits come after its own temperature: multiplying by it takes it back.
    inside = decision.inside_the_model.get("temperature", 1.0)
    methods = _methods(headline, evaluation.predictions.get("calibration"), decision, inside)
    return {
        "chosen": decision.calibration.method if decision.calibration else "temperature",
        "temperature": decision.temperature * inside,
        "of": "malignant" if headline.malignant else "the most probable class",
        "methods": {
            name: _method(headline.with_probabilities(probabilities), evaluation.bootstrap)
            for name, probabilities in methods.items()
        },
    }


def _methods(
    headline: Predictions, fitted: Predictions | None, decision: Decision, inside: float
) -> dict[str, Floats]:
    """Kind of calibration -> (N, C) probabilities; without a calibration split no isotonic ones."""
    methods = {
        "none": softmax(headline.known_logits, temperature=1 / inside),
        "temperature": softmax(headline.known_logits, temperature=decision.temperature),
    }
    if fitted is not None:
        base = softmax(fitted.known_logits, temperature=decision.temperature)
        maps = fit_isotonic(fitted.labels, base, headline.class_names)
        methods["isotonic"] = calibrate(methods["temperature"], maps, headline.class_names)
    return methods


def _method(predictions: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    found = metric_intervals(predictions, bootstrap)
    if predictions.malignant_scores is not None:
        bins = reliability(predictions.positive, predictions.malignant_scores)
    else:
        right = predictions.chosen == predictions.labels
        bins = reliability(right, predictions.probabilities.max(axis=1))
    return {
        **{metric.name: found[metric.name] for metric in metrics_shown("calibration")},
        "reliability": bins,
    }


def _calibration_blocks(found: Mapping[str, Any], split: str) -> list[Block]:
    bins = {name: values["reliability"] for name, values in found["methods"].items()}
    alt = "; ".join(
        f"{name}: " + ", ".join(f"{b['score']:.2f} seen {b['observed']:.2f}" for b in values)
        for name, values in bins.items()
    )
    return [
        Table.of(
            found["methods"],
            columns_of(metrics_shown("calibration")),
            caption="Before and after calibration",
            first="Calibration",
            marked=found["chosen"],
        ),
        Paragraph(
            text=f"On {split}; fitted on the calibration split. {found['chosen'].capitalize()} was "
            f"chosen, temperature {found['temperature']:.3f}: predictions, thresholds and the "
            "exported model use it. Lower is better."
        ),
        Plot(
            heading="Reliability diagram, bins of equally many images",
            figure=plot_reliability(bins, what=found["of"]),
            alt=f"Observed share against predicted probability. {alt}",
        ),
    ]


def _set_blocks(sets: Mapping[str, Any], split: str) -> list[Block]:
    by_class = sets["splits"][split]["per_class"]
    return [
        Table.of(
            sets["splits"],
            SET_HEADINGS,
            caption=f"Prediction sets made for a coverage of {sets['coverage']:.0%} of each class",
            first="Split",
            marked=split,
        ),
        Table(
            caption=f"Coverage of each class on {split}",
            headings=["Class", "Coverage"],
            rows=[[name, entry] for name, entry in by_class.items()],
        ),
        Paragraph(
            text="A set holds every class that is not too improbable for its own calibration "
            "images. The promise holds for images drawn like those of the calibration split; "
            "images of one lesion are not independent, so it is one on average."
        ),
    ]
