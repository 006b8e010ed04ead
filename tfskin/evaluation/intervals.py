"""Bootstrap intervals that resample whole groups (lesions, patients), not images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfskin.evaluation.figures import (
    AVERAGES,
    CLASS_FIGURES,
    PARTIAL_FROM,
    SUMMARY_FIGURES,
    Floats,
    Statistics,
)
from tfskin.evaluation.metrics import check_predictions, compute_metrics
from tfskin.evaluation.resampling import Resampling, interval

# The highest value of the figures whose lowest is 0; kappa, MCC and the losses have no such range.
SCALES = {
    **dict.fromkeys((*SUMMARY_FIGURES, *CLASS_FIGURES), 1.0),
    **dict.fromkeys(("macro_partial_auc", "partial_auc"), 1 - PARTIAL_FROM),
    **dict.fromkeys(("kappa", "mcc", "log_loss", "brier", "ece")),
}


def bootstrap_intervals(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    groups: npt.ArrayLike,
    class_names: Sequence[str],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Every figure of :func:`~tfskin.evaluation.metrics.compute_metrics` with its interval.

    Images of one lesion are not independent, so a resample draws groups and takes each one's
    images as often as it was drawn; it draws within classes, so that each keeps its number of
    groups. See :class:`~tfskin.evaluation.resampling.Resampling` and
    :func:`~tfskin.evaluation.resampling.interval` for both and their sources. An interval is about
    other images of the same mix of classes, from the same source.

    Args:
        labels: (N,) integers, the index of each image's class.
        probabilities: (N, C) floats; each row sums to 1.
        groups: (N,) values; images with the same value are drawn together.
        class_names: C names.
        resamples: number of resamples.
        confidence: coverage, between 0 and 1.
        seed: same seed, same intervals.

    Returns:
        The nesting of ``compute_metrics``, each figure being ``{"value", "low", "high",
        "undefined"}``: ``undefined`` counts the resamples left out because the figure had no value
        there (a class may never be predicted in one). ``low`` and ``high`` are None where the
        figure has no value, or rests on a class of one group, which says nothing about the spread;
        an average over classes does when any class has one group only. Beside ``images``:
        ``groups`` (also of each class), ``resamples`` and ``confidence``.

    Raises:
        ValueError: as ``compute_metrics``; groups of another length; ``resamples`` below 1;
            ``confidence`` not between 0 and 1.
    """
    true, values = check_predictions(labels, probabilities, class_names)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}: expected a number between 0 and 1")
    resampling = Resampling.of(true, groups, resamples=resamples, seed=seed)
    statistics = Statistics.of(true, values, resampling.group_of, resampling.count)
    drawn = resampling.run(lambda weights: _flat(statistics, weights))
    metrics = compute_metrics(true, values, class_names)
    count = resampling.count
    result = {**metrics, "groups": count, "resamples": resamples, "confidence": confidence}
    smallest = min(len(np.unique(resampling.group_of[true == c])) for c in np.unique(true))
    averaged = {*AVERAGES, "kappa", "mcc"}
    for name in SUMMARY_FIGURES:
        result[name] = interval(
            metrics[name],
            drawn[name],
            confidence=confidence,
            groups=smallest if name in averaged else resampling.varying,
            scale=SCALES[name],
            reflect=name == "ece",
        )
    result["per_class"] = {}
    for c, name in enumerate(class_names):
        own = len(np.unique(resampling.group_of[true == c]))
        others = len(np.unique(resampling.group_of[true != c]))
        entry = {"images": metrics["per_class"][name]["images"], "groups": own}
        for figure in CLASS_FIGURES:
            entry[figure] = interval(
                metrics["per_class"][name][figure],
                drawn[f"class {figure}"][:, c],
                confidence=confidence,
                groups=others if figure == "specificity" else own,
                scale=SCALES[figure],
            )
        result["per_class"][name] = entry
    return result


def _flat(statistics: Statistics, weights: Floats) -> dict[str, Floats]:
    figures = statistics.figures(weights)
    return {
        **figures.summary,
        **{f"class {name}": values for name, values in figures.per_class.items()},
    }
