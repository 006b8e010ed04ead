"""Malignant against benign: ranking, operating points and prediction sets, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfskin.evaluation.bootstrap import Bootstrap, Resampling, interval, ratio_intervals
from tfskin.evaluation.decision import OperatingPoint
from tfskin.evaluation.intervals import groups_of_ranking
from tfskin.evaluation.metric_table import Of, metrics_of
from tfskin.evaluation.predictions import Predictions
from tfskin.evaluation.sums import Flags, Floats, Ranking
from tfskin.evaluation.weighted_metrics import ranking_metrics


def ranking_intervals(
    positive: Flags, scores: Floats, resampling: Resampling, *, of: Of = "class"
) -> dict[str, dict[str, Any]]:
    """The metrics of a ranking of (N,) scores, each with its interval.

    Args:
        positive: (N,) which images are positive.
        scores: (N,) numbers, higher for positives.
        resampling: of the images.
        of: whose metrics: those that a class against the rest has, or the ``malignant`` ones.
    """
    ranking = Ranking.of(positive, scores, resampling.group_of, resampling.count)
    values = ranking_metrics(ranking, np.ones((resampling.count, 1)), of)
    drawn = resampling.run(lambda weights: ranking_metrics(ranking, weights, of))
    positives = len(np.unique(resampling.group_of[positive]))
    negatives = len(np.unique(resampling.group_of[~positive]))
    return {
        metric.name: interval(
            float(values[metric.name][0]) if np.isfinite(values[metric.name][0]) else None,
            drawn[metric.name],
            confidence=resampling.bootstrap.confidence,
            groups=groups_of_ranking(metric, positives, negatives),
            scale=metric.highest,
            unbias=metric.tail < 1,
        )
        for metric in metrics_of(of, "ranking")
    }


def operating_point(
    positive: Flags, scores: Floats, threshold: float, resampling: Resampling
) -> dict[str, Any]:
    """What calling malignant at or above a threshold gives, each share with its interval.

    Returns:
        ``threshold``, every metric of an operating point (``sensitivity``, ``specificity``,
        ``ppv``, ``npv`` at the share of malignant images that there is here, ``called``, the share
        that is called malignant), and the counts ``true_positives, false_negatives,
        false_positives, true_negatives``.
    """
    called = scores >= threshold
    parts = {metric.name: metric.compute(positive, called) for metric in metrics_of("point")}
    return {
        "threshold": threshold,
        **ratio_intervals(resampling, parts),
        "true_positives": int((positive & called).sum()),
        "false_negatives": int((positive & ~called).sum()),
        "false_positives": int((~positive & called).sum()),
        "true_negatives": int((~positive & ~called).sum()),
    }


def malignant_metrics(
    predictions: Predictions,
    bootstrap: Bootstrap,
    thresholds: Mapping[str, OperatingPoint],
) -> dict[str, Any]:
    """The metrics of the malignant score's ranking, and of every operating point.

    Args:
        predictions: with malignant classes and malignant scores.
        bootstrap: how the intervals are made.
        thresholds: name -> operating point.

    Raises:
        ValueError: the malignant classes or scores are not known.
    """
    positive, scores = predictions.positive, predictions.malignant_scores
    if scores is None:
        raise ValueError("the malignant classes and scores of these predictions are not known")
    resampling = bootstrap.plan(positive.astype(int), predictions.groups)
    return {
        "images": len(positive),
        "malignant": int(positive.sum()),
        "groups": resampling.count,
        **ranking_intervals(positive, scores, resampling),
        "operating_points": {
            name: {"target": point.target}
            | operating_point(positive, scores, point.threshold, resampling)
            for name, point in thresholds.items()
        },
    }


def score_metrics(
    predictions: Predictions, bootstrap: Bootstrap, *, threshold: float | None = None
) -> dict[str, Any]:
    """Few metrics of the malignant score by name: ``malignant_auc``, and those of one threshold.

    Each has its interval. Where the malignant score is not known, and for the metrics of an
    operating point without a threshold, it is None.
    """
    found: dict[str, Any] = {m.name: None for m in (*metrics_of("malignant"), *metrics_of("point"))}
    if predictions.malignant_scores is None:
        return found
    positive, scores = predictions.positive, predictions.malignant_scores
    resampling = bootstrap.plan(positive.astype(int), predictions.groups)
    found |= ranking_intervals(positive, scores, resampling, of="malignant")
    if threshold is not None:
        found |= operating_point(positive, scores, threshold, resampling)
    return found


def set_metrics(predictions: Predictions, bootstrap: Bootstrap, sets: Flags) -> dict[str, Any]:
    """How often (N, C) prediction sets hold the true class, and how large they are.

    Returns:
        ``coverage`` (of all images), ``mean_size``, ``single`` and ``empty`` (shares of sets with
        one class and with none), ``per_class`` (coverage of each class's images), each with its
        interval.
    """
    labels = predictions.labels
    resampling = bootstrap.plan(labels, predictions.groups)
    inside = sets[np.arange(len(labels)), labels]
    size, everyone = sets.sum(axis=1), np.ones(len(labels), bool)
    shares = {
        "coverage": (inside, everyone),
        "single": (size == 1, everyone),
        "empty": (size == 0, everyone),
    }
    by_class = {
        name: (inside & (labels == c), labels == c)
        for c, name in enumerate(predictions.class_names)
    }
    return {
        **ratio_intervals(resampling, shares),
        **ratio_intervals(resampling, {"mean_size": (size, everyone)}, scale=None),
        "per_class": ratio_intervals(resampling, by_class),
    }
