"""Malignant against benign: ranking, operating points and prediction sets, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfskin.evaluation.decision import OperatingPoint
from tfskin.evaluation.figures import RANKING_FIGURES, Floats, Ints, Ranking
from tfskin.evaluation.intervals import SCALES, groups_of_ranking
from tfskin.evaluation.resampling import Resampling, interval, ratio_intervals


def ranking_intervals(
    positive: npt.NDArray[np.bool_],
    scores: Floats,
    resampling: Resampling,
    *,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """``auc``, ``average_precision`` and ``partial_auc`` of (N,) scores, each with its interval."""
    ranking = Ranking.of(positive, scores, resampling.group_of, resampling.count)
    values = ranking.figures(np.ones((resampling.count, 1)))
    drawn = resampling.run(ranking.figures)
    positives = len(np.unique(resampling.group_of[positive]))
    negatives = len(np.unique(resampling.group_of[~positive]))
    return {
        name: interval(
            float(values[name][0]) if np.isfinite(values[name][0]) else None,
            drawn[name],
            confidence=confidence,
            groups=groups_of_ranking(name, positives, negatives),
            scale=SCALES[name],
            unbias=name == "partial_auc",
        )
        for name in RANKING_FIGURES
    }


def operating_point(
    positive: npt.NDArray[np.bool_],
    scores: Floats,
    threshold: float,
    resampling: Resampling,
    *,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """What calling malignant at or above a threshold gives, each share with its interval.

    Returns:
        ``sensitivity``, ``specificity``, ``ppv``, ``npv`` (the predictive values at the share of
        malignant images that there is here), ``called`` (the share that is called malignant), and
        the counts ``true_positives, false_negatives, false_positives, true_negatives``.
    """
    called = scores >= threshold
    everyone = np.ones(len(scores), bool)
    parts = {
        "sensitivity": (positive & called, positive),
        "specificity": (~positive & ~called, ~positive),
        "ppv": (positive & called, called),
        "npv": (~positive & ~called, ~called),
        "called": (called, everyone),
    }
    return {
        "threshold": threshold,
        **ratio_intervals(resampling, parts, confidence=confidence),
        "true_positives": int((positive & called).sum()),
        "false_negatives": int((positive & ~called).sum()),
        "false_positives": int((~positive & called).sum()),
        "true_negatives": int((~positive & ~called).sum()),
    }


def malignant_figures(
    positive: npt.NDArray[np.bool_],
    scores: Floats,
    groups: npt.ArrayLike,
    thresholds: Mapping[str, OperatingPoint],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Ranking figures and every operating point of ``decision.json`` on one set of images.

    Args:
        positive: (N,) whether each image is malignant.
        scores: (N,) the malignant score.
        groups: (N,) values; images with the same value are drawn together.
        thresholds: name -> operating point.
        resamples: bootstrap resamples.
        confidence: coverage of the intervals.
        seed: of the resamples.
    """
    resampling = Resampling.of(positive.astype(int), groups, resamples=resamples, seed=seed)
    return {
        "images": len(positive),
        "malignant": int(positive.sum()),
        "groups": resampling.count,
        **ranking_intervals(positive, scores, resampling, confidence=confidence),
        "operating_points": {
            name: {"target": point.target}
            | operating_point(positive, scores, point.threshold, resampling, confidence=confidence)
            for name, point in thresholds.items()
        },
    }


def set_figures(
    labels: Ints,
    sets: npt.NDArray[np.bool_],
    groups: npt.ArrayLike,
    class_names: Sequence[str],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """How often (N, C) prediction sets hold the true class, and how large they are.

    Returns:
        ``coverage`` (of all images), ``mean_size``, ``single`` and ``empty`` (shares of sets with
        one class and with none), ``per_class`` (coverage of each class's images), each with its
        interval.
    """
    resampling = Resampling.of(labels, groups, resamples=resamples, seed=seed)
    inside = sets[np.arange(len(labels)), labels]
    size, everyone = sets.sum(axis=1), np.ones(len(labels), bool)
    shares = {
        "coverage": (inside, everyone),
        "single": (size == 1, everyone),
        "empty": (size == 0, everyone),
    }
    by_class = {name: (inside & (labels == c), labels == c) for c, name in enumerate(class_names)}
    found = ratio_intervals(resampling, shares, confidence=confidence)
    return {
        **found,
        **ratio_intervals(
            resampling, {"mean_size": (size, everyone)}, confidence=confidence, scale=None
        ),
        "per_class": ratio_intervals(resampling, by_class, confidence=confidence),
    }
