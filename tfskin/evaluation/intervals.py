"""Bootstrap intervals that resample whole groups (lesions, patients), not images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfskin.evaluation.bootstrap import Bootstrap, Resampling, deviation_interval, interval
from tfskin.evaluation.metric_table import Metric, class_metric, metrics_of
from tfskin.evaluation.metrics import check_predictions, compute_metrics
from tfskin.evaluation.predictions import Predictions
from tfskin.evaluation.sums import Floats, Ints
from tfskin.evaluation.weighted_metrics import Statistics


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
    """What :func:`metric_intervals` returns, for plain arrays.

    Args:
        labels: (N,) integers, the index of each image's class.
        probabilities: (N, C) floats; each row sums to 1.
        groups: (N,) values; images with the same value are drawn together.
        class_names: C names.
        resamples: number of resamples.
        confidence: coverage, between 0 and 1.
        seed: same seed, same intervals.

    Raises:
        ValueError: as ``compute_metrics``; groups of another length; ``resamples`` below 1;
            ``confidence`` not between 0 and 1.
    """
    bootstrap = Bootstrap(resamples=resamples, confidence=confidence, seed=seed)
    return metric_intervals(Predictions.of(labels, probabilities, class_names, groups), bootstrap)


def metric_intervals(predictions: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    """Every metric of :func:`~tfskin.evaluation.metrics.compute_metrics` with its interval.

    Images of one lesion are not independent, so a resample draws groups and takes each one's
    images as often as it was drawn; it draws within classes, so that each keeps its number of
    groups. See :class:`~tfskin.evaluation.bootstrap.Resampling` and
    :func:`~tfskin.evaluation.bootstrap.interval` for both and their sources. An interval is about
    other images of the same mix of classes, from the same source.

    Returns:
        The nesting of ``compute_metrics``, each metric being ``{"value", "low", "high",
        "undefined"}``: ``undefined`` counts the resamples left out because the metric had no value
        there (a class may never be predicted in one). ``low`` and ``high`` are None where the
        metric has no value, or rests on a class of one group, which says nothing about the spread;
        an average over classes does when any class has one group only. They are None, too, where
        every resample gives the same number. Beside ``images``:
        ``groups`` (also of each class), ``resamples`` and ``confidence``.

    Raises:
        ValueError: as ``compute_metrics``; groups of another length.
    """
    names = predictions.class_names
    true, values = check_predictions(predictions.labels, predictions.probabilities, names)
    resampling = bootstrap.plan(true, predictions.groups)
    statistics = Statistics.of(true, values, resampling.group_of, resampling.count)
    drawn = resampling.run(lambda weights: _flat(statistics, weights))
    metrics = compute_metrics(true, values, names)
    sizes = groups_of_classes(true, resampling, len(names))
    result = {**metrics, "groups": resampling.count, "resamples": bootstrap.resamples}
    result["confidence"] = bootstrap.confidence
    for metric in metrics_of("summary"):
        if metric.needs == "bins" and resampling.varying >= 2:
            gaps = statistics.calibration_gaps()
            result[metric.name] = deviation_interval(metrics[metric.name], gaps, bootstrap)
            continue
        result[metric.name] = interval(
            metrics[metric.name],
            drawn[metric.name],
            confidence=bootstrap.confidence,
            groups=_groups_of_metric(metric, drawn, sizes, resampling),
            scale=metric.highest,
            unbias=metric.tail < 1,
        )
    result["per_class"] = {
        name: _class_intervals(metrics["per_class"][name], c, drawn, sizes, bootstrap.confidence)
        for c, name in enumerate(names)
    }
    return result


def rests_on_lone_group(metric: Metric, sizes: Ints) -> bool:
    """Whether a metric needs every class, and one of them has a single group.

    Args:
        metric: of a summary, or of malignant against benign, which needs no class.
        sizes: (2, C) of :func:`groups_of_classes`.
    """
    every = metric.needs == "average" or metric.rests_on == "every class"
    return bool(every and sizes[0][sizes[0] > 0].min() < 2)


def groups_of_ranking(metric: Metric, positives: int, negatives: int) -> int:
    """How many groups a metric of a ranking rests on: of the rarer kind, and of its tail of it.

    A partial AUC above a sensitivity of 0.8 is the mean over the fifth of the positives that rank
    lowest.
    """
    if metric.tail < 1 and positives >= 2:
        positives = max(2, math.ceil(metric.tail * positives))
    return min(positives, negatives)


def groups_of_classes(labels: Ints, resampling: Resampling, count: int) -> Ints:
    """(2, C) the groups with an image of each class, and those with one of another class."""
    inside = np.zeros((resampling.count, count), bool)
    inside[resampling.group_of, labels] = True
    several = inside.sum(axis=1, keepdims=True)
    return np.stack([inside.sum(axis=0), (several - inside > 0).sum(axis=0)])


def _class_intervals(
    metrics: Mapping[str, Any],
    place: int,
    drawn: Mapping[str, Floats],
    sizes: Ints,
    confidence: float,
) -> dict[str, Any]:
    """The metrics of one class: images, groups, and each metric with its interval."""
    own, others = int(sizes[0, place]), int(sizes[1, place])
    entry: dict[str, Any] = {"images": metrics["images"], "groups": own}
    for metric in metrics_of("class"):
        groups = {"others": others, "rarer": min(own, others)}.get(metric.rests_on, own)
        if metric.needs == "ranking":
            groups = groups_of_ranking(metric, own, others)
        entry[metric.name] = interval(
            metrics[metric.name],
            drawn[f"class {metric.name}"][:, place],
            confidence=confidence,
            groups=groups,
            scale=metric.highest,
            unbias=metric.tail < 1,
        )
    return entry


def _groups_of_metric(
    metric: Metric, drawn: Mapping[str, Floats], sizes: Ints, resampling: Resampling
) -> float:
    """How many groups a summary metric rests on.

    A mean over classes has the degrees of freedom of Satterthwaite (Biometrics Bulletin 2, 1946),
    ``(sum v_c)^2 / sum v_c^2 / (n_c - 1)`` of the classes' variances v and numbers of groups n: a
    rare class counts as much as it varies. A class whose resamples are all alike varies at least
    as a share of ``1 / (n + 2)`` does. A ranking metric of a class rests on the rarer kind, the
    class or the others; the AUCs of two classes are one number.
    """
    present = sizes[0][sizes[0] > 0]
    if rests_on_lone_group(metric, sizes):
        return 1
    if metric.rests_on == "every class":
        return int(present.min())
    if metric.averages is None:
        return resampling.varying
    averaged = class_metric(metric.averages)
    values = drawn[f"class {averaged.name}"][:, sizes[0] > 0] / (metric.highest or 1.0)
    if not np.isfinite(values).any(axis=0).all():
        return 1
    counts = present
    if averaged.needs == "ranking":
        counts = sizes[:, sizes[0] > 0].min(axis=0)
    if counts.min() < 2 or (averaged.same_for_two and len(counts) == 2):
        return int(counts.min())
    rare = 1 / (present + 2)
    variances = np.maximum(np.nanvar(values, axis=0), rare * (1 - rare) / present)
    return float(1 + variances.sum() ** 2 / (variances**2 / (counts - 1)).sum())


def _flat(statistics: Statistics, weights: Floats) -> dict[str, Floats]:
    found = statistics.metrics(weights)
    return {
        **found.summary,
        **{f"class {name}": values for name, values in found.per_class.items()},
    }
