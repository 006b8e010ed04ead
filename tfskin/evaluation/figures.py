"""Figures of many weightings of the same images at once, from sparse sums over groups.

Every figure is a function of sums over images (how often each cell of the confusion matrix, how
many negatives above each positive, the total loss). A resample only changes how often each group
counts, so the sums of all resamples are one sparse matrix times the matrix of the groups' weights:
10,000 images and 2,000 resamples take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SUMMARY_FIGURES = (
    *("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "macro_average_precision"),
    *("macro_partial_auc", "kappa", "mcc", "top2_accuracy", "top3_accuracy"),
    *("log_loss", "brier", "ece"),
)
CLASS_FIGURES = (
    *("precision", "recall", "specificity", "f1", "auc", "average_precision", "partial_auc"),
)
RANKING_FIGURES = ("auc", "average_precision", "partial_auc")

# Each average over classes, and the figure that it averages.
AVERAGES = {
    "balanced_accuracy": "recall",
    "macro_f1": "f1",
    "macro_auc": "auc",
    "macro_average_precision": "average_precision",
    "macro_partial_auc": "partial_auc",
}
TOP = (2, 3)
ECE_BINS = 15
_MOST_CELLS = 8_000_000
PARTIAL_FROM = 0.8
"""The sensitivity above which the partial AUC is taken."""


@dataclass(frozen=True)
class FigureArrays:
    """Figures of R weightings of the same images; NaN where a figure has no value.

    Attributes:
        summary: name -> (R,) float64.
        per_class: name -> (R, C) float64.
    """

    summary: dict[str, Floats]
    per_class: dict[str, Floats]


@dataclass(frozen=True)
class Ranking:
    """How the positives of one class stand among the negatives, as sums over groups.

    Attributes:
        levels: K, the number of different scores among the positives.
        sums: (3 K + 1, G): for each level from the highest score, its positives; the negatives
            between the level before and it, and below all; its ties among the negatives.
    """

    levels: int
    sums: Any

    @classmethod
    def of(
        cls,
        positive: npt.NDArray[np.bool_],
        scores: Floats,
        group_of: npt.NDArray[np.intp],
        count: int,
    ) -> Ranking:
        """The ranking of (N,) scores, images belonging to ``count`` groups."""
        rising = np.unique(scores[positive])
        levels = len(rising)
        above = levels - np.searchsorted(rising, scores, side="right")
        tied = np.zeros(len(scores), bool)
        if levels:
            # A score that is a level has it at its own place: the levels above it come before.
            tied = (above < levels) & (rising[::-1][np.minimum(above, levels - 1)] == scores)
        row = np.where(positive, above, levels + above + np.where(tied, levels + 1, 0))
        return cls(levels, _sums(row, group_of, 3 * levels + 1, count))

    def figures(self, weights: Floats) -> dict[str, Floats]:
        """``auc``, ``average_precision`` and ``partial_auc``: (R,) each, of weights (G, R).

        With TP and FP the weights of positives and negatives at or above a level:
        ``AUC = sum_p sum_n w_p w_n ([s_p > s_n] + [s_p = s_n] / 2) / (P N)``;
        ``AP = sum (TP_k - TP_{k-1}) / P * TP_k / (TP_k + FP_k)``; the partial AUC is the area
        below the ROC curve and above the sensitivity 0.8, between 0 and 0.2 (ISIC 2024).
        """
        size, levels = weights.shape[1], self.levels
        if not levels:
            return {name: np.full(size, np.nan) for name in RANKING_FIGURES}
        sums = self.sums @ weights
        positives, gaps, ties = np.split(sums, [levels, 2 * levels + 1])
        reached = np.cumsum(positives, axis=0)
        alarms = np.cumsum(gaps[:-1] + ties, axis=0)
        total, negatives = reached[-1], alarms[-1] + gaps[-1]
        beaten = np.einsum("kr,kr->r", positives, negatives - alarms + ties / 2)
        called = reached + alarms
        precision = np.divide(reached, called, out=np.zeros_like(called), where=called > 0)
        return {
            "auc": ratio(beaten, total * negatives),
            "average_precision": ratio(
                np.einsum("kr,kr->r", positives, precision), np.where(negatives > 0, total, 0)
            ),
            "partial_auc": _partial_area(positives, reached, alarms, ties, negatives),
        }


def _partial_area(
    positives: Floats, reached: Floats, alarms: Floats, ties: Floats, negatives: Floats
) -> Floats:
    """The area between the ROC curve and the sensitivity 0.8, exact within ties."""
    total = reached[-1]
    start = PARTIAL_FROM * total
    kept = int(np.argmax((reached > start).any(axis=1)))
    positives, reached, alarms, ties = (a[kept:] for a in (positives, reached, alarms, ties))
    before = reached - positives
    low = np.clip(start, before, reached)
    width = reached - low
    middle = np.divide(
        (low + reached) / 2 - before, positives, out=np.zeros_like(width), where=positives > 0
    )
    passed = np.einsum("kr,kr->r", width, negatives - (alarms - ties + ties * middle))
    return ratio(passed, total * negatives)


@dataclass(frozen=True)
class Statistics:
    """The sums over groups that all figures of a set of predictions are made of.

    Attributes:
        classes: C.
        confusion: (C * C, G) images in each cell, true class by predicted class.
        totals: (S, G) sums of log-loss, Brier score and hits among the first 2 and 3.
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
        rows = np.arange(images)
        chosen = probabilities.argmax(axis=1)
        own = probabilities[rows, labels]
        # Among equals the first comes first, as argmax has it.
        before = (probabilities > own[:, None]).sum(axis=1) + (
            (probabilities == own[:, None]) & (np.arange(size) < labels[:, None])
        ).sum(axis=1)
        losses = -np.log(np.maximum(own, np.finfo(np.float64).eps))
        brier = ((probabilities - np.eye(size)[labels]) ** 2).sum(axis=1)
        totals = [losses, brier, *((before < k).astype(float) for k in TOP)]
        confidence = probabilities.max(axis=1)
        bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
        counts = [np.ones(images), (chosen == labels).astype(float), confidence]
        return cls(
            size,
            _sums(labels * size + chosen, group_of, size * size, count),
            _stack(totals, np.zeros(images, np.int64), group_of, 1, count),
            _stack(counts, bins, group_of, ECE_BINS, count),
            [Ranking.of(labels == c, probabilities[:, c], group_of, count) for c in range(size)],
        )

    def figures(self, weights: Floats) -> FigureArrays:
        """The figures of R weightings: (G, R) float64, none below 0."""
        size = self.classes
        # A confusion matrix of 1,000 classes is 8 MB: as many at a time as the memory bears.
        most = max(1, _MOST_CELLS // size**2)
        parts, images = [], np.empty(weights.shape[1])
        for start in range(0, weights.shape[1], most):
            chosen = slice(start, start + most)
            matrices = (self.confusion @ weights[:, chosen]).T.reshape(-1, size, size)
            parts.append(figures_from_confusions(matrices))
            images[chosen] = matrices.sum(axis=(1, 2))
        figures = _join(parts)
        ranked = [ranking.figures(weights) for ranking in self.rankings]
        by_class = {n: np.stack([r[n] for r in ranked], axis=1) for n in RANKING_FIGURES}
        totals = [ratio(row, images) for row in self.totals @ weights]
        hits = {
            f"top{k}_accuracy": row if k < size else np.full(len(row), np.nan)
            for k, row in zip(TOP, totals[2:], strict=True)
        }
        _, right, confidence = np.split(self.bins @ weights, 3)
        per_class = {**figures.per_class, **by_class}
        summary = {
            **figures.summary,
            **{n: mean_of_defined(per_class[AVERAGES[n]]) for n in AVERAGES},
            **hits,
            "log_loss": totals[0],
            "brier": totals[1],
            "ece": ratio(np.abs(right - confidence).sum(axis=0), images),
        }
        return FigureArrays(
            {name: summary[name] for name in SUMMARY_FIGURES},
            {name: per_class[name] for name in CLASS_FIGURES},
        )

    def calibration_gaps(self) -> Floats:
        """(ECE_BINS, G) what each group adds to a bin's share of images right beyond confidence.

        The expected calibration error is the sum over bins of the absolute sums over groups.
        """
        _, right, confidence = np.split(self.bins.toarray(), 3)
        return np.asarray((right - confidence) / self.confusion.sum())


def weighted_figures(labels: Ints, probabilities: Floats, weights: Floats) -> FigureArrays:
    """The figures of R weightings of the same images: weights (N, R) float64, none below 0.

    An image of weight 2 counts as two images. Labels and probabilities as
    ``check_predictions`` returns them.
    """
    images = len(labels)
    return Statistics.of(labels, probabilities, np.arange(images), images).figures(weights)


def _join(parts: Sequence[FigureArrays]) -> FigureArrays:
    """The figures of all weightings, of some of which each part is."""
    together: list[dict[str, Floats]] = []
    for kind in ("summary", "per_class"):
        found = [getattr(part, kind) for part in parts]
        together.append({name: np.concatenate([one[name] for one in found]) for name in found[0]})
    return FigureArrays(*together)


def figures_from_confusions(matrices: Floats) -> FigureArrays:
    """The figures that (R, C, C) confusion matrices determine."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    true, chosen = matrices.sum(axis=2), matrices.sum(axis=1)
    total = matrices.sum(axis=(1, 2))
    negatives = total[:, None] - true
    per_class = {
        "precision": ratio(hits, chosen),
        "recall": ratio(hits, true),
        "specificity": ratio(negatives - chosen + hits, negatives),
        "f1": ratio(2 * hits, true + chosen),
    }
    right = hits.sum(axis=1)
    chance = (true * chosen).sum(axis=1)
    spread = (total**2 - (true**2).sum(axis=1)) * (total**2 - (chosen**2).sum(axis=1))
    summary = {
        "accuracy": ratio(right, total),
        "balanced_accuracy": mean_of_defined(per_class["recall"]),
        "macro_f1": mean_of_defined(per_class["f1"]),
        "kappa": ratio(right * total - chance, total**2 - chance),
        "mcc": ratio(right * total - chance, np.sqrt(np.maximum(spread, 0))),
    }
    return FigureArrays(summary, per_class)


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient, NaN where the denominator is not above 0."""
    empty = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)


def mean_of_defined(values: Floats) -> Floats:
    """(R,) means over the columns that are finite; NaN where none is."""
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1).astype(float))


def _sums(row: npt.NDArray[Any], group_of: npt.NDArray[np.intp], rows: int, count: int) -> Any:
    """(rows, count) how many images of each group belong to each row."""
    return csr_array((np.ones(len(row)), (row, group_of)), shape=(rows, count))


def _stack(
    values: Sequence[Floats],
    row: npt.NDArray[np.int64],
    group_of: npt.NDArray[np.intp],
    rows: int,
    count: int,
) -> Any:
    """(len(values) * rows, count) sums of each of ``values`` in each row."""
    data = np.concatenate(list(values))
    place = np.concatenate([row + rows * number for number in range(len(values))])
    columns = np.tile(group_of, len(values))
    return csr_array((data, (place, columns)), shape=(rows * len(values), count))
