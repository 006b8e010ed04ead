"""Bootstrap intervals that resample whole groups (lesions, patients), not images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfskin.evaluation.figures import (
    AVERAGES,
    CLASS_FIGURES,
    PARTIAL_FROM,
    RANKING_FIGURES,
    SUMMARY_FIGURES,
    Floats,
    Ints,
    Statistics,
)
from tfskin.evaluation.metrics import check_predictions, compute_metrics
from tfskin.evaluation.resampling import Resampling, deviation_interval, interval

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
        an average over classes does when any class has one group only. They are None, too, where
        every resample gives the same number. Beside ``images``:
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
    sizes = groups_of_classes(true, resampling, len(class_names))
    result = {**metrics, "groups": resampling.count, "resamples": resamples}
    result["confidence"] = confidence
    for name in SUMMARY_FIGURES:
        result[name] = interval(
            metrics[name],
            drawn[name],
            confidence=confidence,
            groups=_groups_of_figure(name, drawn, sizes, resampling),
            scale=SCALES[name],
            unbias=name == "macro_partial_auc",
        )
    if resampling.varying >= 2:
        result["ece"] = deviation_interval(
            metrics["ece"],
            statistics.calibration_gaps(),
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        )
    result["per_class"] = {
        name: _class_intervals(metrics["per_class"][name], c, drawn, sizes, confidence)
        for c, name in enumerate(class_names)
    }
    return result


def rests_on_lone_group(figure: str, sizes: Ints) -> bool:
    """Whether a summary figure needs every class, and one of them has a single group.

    Args:
        figure: of ``SUMMARY_FIGURES``.
        sizes: (2, C) of :func:`groups_of_classes`.
    """
    return figure in (*AVERAGES, "kappa", "mcc") and sizes[0][sizes[0] > 0].min() < 2


def groups_of_ranking(figure: str, positives: int, negatives: int) -> int:
    """How many groups a ranking figure rests on: of the rarer kind, and of the tail it is made of.

    A partial AUC above a sensitivity of 0.8 is the mean over the fifth of the positives that rank
    lowest.
    """
    if figure == "partial_auc" and positives >= 2:
        positives = max(2, math.ceil((1 - PARTIAL_FROM) * positives))
    return min(positives, negatives)


def _class_intervals(
    metrics: Mapping[str, Any],
    place: int,
    drawn: Mapping[str, Floats],
    sizes: Ints,
    confidence: float,
) -> dict[str, Any]:
    """The figures of one class: images, groups, and each figure with its interval."""
    own, others = int(sizes[0, place]), int(sizes[1, place])
    entry: dict[str, Any] = {"images": metrics["images"], "groups": own}
    for figure in CLASS_FIGURES:
        rests_on = groups_of_ranking(figure, own, others) if figure in RANKING_FIGURES else own
        entry[figure] = interval(
            metrics[figure],
            drawn[f"class {figure}"][:, place],
            confidence=confidence,
            groups=others if figure == "specificity" else rests_on,
            scale=SCALES[figure],
            unbias=figure == "partial_auc",
        )
    return entry


def groups_of_classes(labels: Ints, resampling: Resampling, count: int) -> Ints:
    """(2, C) the groups with an image of each class, and those with one of another class."""
    inside = np.zeros((resampling.count, count), bool)
    inside[resampling.group_of, labels] = True
    several = inside.sum(axis=1, keepdims=True)
    return np.stack([inside.sum(axis=0), (several - inside > 0).sum(axis=0)])


def _groups_of_figure(
    name: str, drawn: Mapping[str, Floats], sizes: Ints, resampling: Resampling
) -> float:
    """How many groups a summary figure rests on.

    A mean over classes has the degrees of freedom of Satterthwaite (Biometrics Bulletin 2, 1946),
    ``(sum v_c)^2 / sum v_c^2 / (n_c - 1)`` of the classes' variances v and numbers of groups n: a
    rare class counts as much as it varies. A class whose resamples are all alike varies at least
    as a share of ``1 / (n + 2)`` does. A ranking figure of a class rests on the rarer kind, the
    class or the others; the AUCs of two classes are one number.
    """
    present = sizes[0][sizes[0] > 0]
    if rests_on_lone_group(name, sizes):
        return 1
    if name in ("kappa", "mcc"):
        return int(present.min())
    if name not in AVERAGES:
        return resampling.varying
    values = drawn[f"class {AVERAGES[name]}"][:, sizes[0] > 0] / (SCALES[name] or 1.0)
    if not np.isfinite(values).any(axis=0).all():
        return 1
    counts = present
    if AVERAGES[name] in RANKING_FIGURES:
        counts = sizes[:, sizes[0] > 0].min(axis=0)
    if counts.min() < 2 or (name == "macro_auc" and len(counts) == 2):
        return int(counts.min())
    rare = 1 / (present + 2)
    variances = np.maximum(np.nanvar(values, axis=0), rare * (1 - rare) / present)
    return float(1 + variances.sum() ** 2 / (variances**2 / (counts - 1)).sum())


def _flat(statistics: Statistics, weights: Floats) -> dict[str, Floats]:
    figures = statistics.figures(weights)
    return {
        **figures.summary,
        **{f"class {name}": values for name, values in figures.per_class.items()},
    }
