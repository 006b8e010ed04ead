"""All metrics of many weightings of the same images at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfskin.evaluation.metric_table import (
    ECE_BINS,
    Metric,
    Needs,
    Of,
    metrics_of,
)
from tfskin.evaluation.sums import (
    Confusions,
    Floats,
    Ints,
    Ranking,
    count_rows,
    mean_of_defined,
    ratio,
    sum_rows,
)

_MOST_CELLS = 8_000_000
"""Of all confusion matrices at a time: one of 1,000 classes is 8 MB."""


@dataclass(frozen=True)
class MetricArrays:
    """Metrics of R weightings of the same images; NaN where a metric has no value.

    Attributes:
        summary: name -> (R,) float64.
        per_class: name -> (R, C) float64.
    """

    summary: dict[str, Floats]
    per_class: dict[str, Floats]


@dataclass(frozen=True)
class Statistics:
    """The sums over groups that all metrics of a set of predictions are made of.

    Attributes:
        classes: C.
        confusion: (C * C, G) images in each cell, true class by predicted class.
        totals: (S, G) sums of what each metric of images adds up.
        bins: (3 * ECE_BINS, G) images, hits and sum of confidence in each bin of confidence.
        rankings: C of them.
    """

    classes: int
    confusion: Any
    totals: Any
    bins: Any
    rankings: list[Ranking]

    @classmethod
    def of(
        cls, labels: Ints, probabilities: Floats, group_of: npt.NDArray[np.intp], count: int
    ) -> Statistics:
        """The statistics of checked labels (N,) and probabilities (N, C)."""
        images, size = probabilities.shape
        chosen = probabilities.argmax(axis=1)
        totals = [m.compute(labels, probabilities) for m in metrics_of("summary", "images")]
        confidence = probabilities.max(axis=1)
        bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
        counts = [np.ones(images), (chosen == labels).astype(float), confidence]
        return cls(
            size,
            count_rows(labels * size + chosen, group_of, size * size, count),
            sum_rows(totals, np.zeros(images, np.int64), group_of, 1, count),
            sum_rows(counts, bins, group_of, ECE_BINS, count),
            [Ranking.of(labels == c, probabilities[:, c], group_of, count) for c in range(size)],
        )

    def metrics(self, weights: Floats) -> MetricArrays:
        """The metrics of R weightings: (G, R) float64, none below 0."""
        size, most = self.classes, max(1, _MOST_CELLS // self.classes**2)
        if weights.shape[1] > most:
            starts = range(0, weights.shape[1], most)
            return _join([self.metrics(weights[:, start : start + most]) for start in starts])
        counts = Confusions((self.confusion @ weights).T.reshape(-1, size, size))
        totals = {
            metric.name: ratio(row, counts.total)
            for metric, row in zip(
                metrics_of("summary", "images"), self.totals @ weights, strict=True
            )
        }
        ranked = [ranking_metrics(ranking, weights) for ranking in self.rankings]
        _, right, confidence = np.split(self.bins @ weights, 3)

        def value(metric: Metric) -> Floats:
            match metric.needs:
                case "confusion":
                    return np.asarray(metric.compute(counts))
                case "images":
                    return totals[metric.name]
                case "bins":
                    return ratio(metric.compute(right, confidence), counts.total)
                case _:
                    return np.stack([one[metric.name] for one in ranked], axis=1)

        return _with_averages({"confusion", "images", "bins", "ranking"}, value)

    def calibration_gaps(self) -> Floats:
        """(ECE_BINS, G) what each group adds to a bin's share of images right beyond confidence.

        The expected calibration error is the sum over bins of the absolute sums over groups.
        """
        _, right, confidence = np.split(self.bins.toarray(), 3)
        return np.asarray((right - confidence) / self.confusion.sum())


def weighted_metrics(labels: Ints, probabilities: Floats, weights: Floats) -> MetricArrays:
    """The metrics of R weightings of the same images: weights (N, R) float64, none below 0.

    An image of weight 2 counts as two images. Labels and probabilities as
    ``check_predictions`` returns them.
    """
    images = len(labels)
    return Statistics.of(labels, probabilities, np.arange(images), images).metrics(weights)


def _join(parts: Sequence[MetricArrays]) -> MetricArrays:
    """The metrics of all weightings, of some of which each part is."""
    together: list[dict[str, Floats]] = []
    for kind in ("summary", "per_class"):
        found = [getattr(part, kind) for part in parts]
        together.append({name: np.concatenate([one[name] for one in found]) for name in found[0]})
    return MetricArrays(*together)


def metrics_from_confusions(matrices: Floats) -> MetricArrays:
    """The metrics that (R, C, C) confusion matrices determine."""
    counts = Confusions(matrices)
    return _with_averages({"confusion"}, lambda metric: np.asarray(metric.compute(counts)))


def ranking_metrics(ranking: Ranking, weights: Floats, of: Of = "class") -> dict[str, Floats]:
    """Name -> (R,) values of the metrics of a ranking, of weights (G, R) of its groups."""
    ranked, metrics = ranking.weighted(weights), metrics_of(of, "ranking")
    if ranked is None:
        return {metric.name: np.full(weights.shape[1], np.nan) for metric in metrics}
    return {metric.name: metric.compute(ranked) for metric in metrics}


def _with_averages(needs: set[Needs], value: Callable[[Metric], Floats]) -> MetricArrays:
    """The metrics of these needs, and the averages over those of classes, in the table's order."""
    per_class = {m.name: value(m) for m in metrics_of("class") if m.needs in needs}
    summary = {}
    for metric in metrics_of("summary"):
        if metric.needs in needs:
            summary[metric.name] = value(metric)
        elif metric.averages in per_class:
            summary[metric.name] = mean_of_defined(per_class[metric.averages])
    return MetricArrays(summary, per_class)
