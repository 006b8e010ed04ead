"""Sums over groups of images, which metrics are functions of.

A resample only changes how often each group of images counts. So everything that a metric needs
(how often each cell of the confusion matrix, how many negatives above each positive, the total
loss) is kept as a sparse matrix of sums over groups; the sums of all resamples are that matrix
times the matrix of the groups' weights. 10,000 images and 2,000 resamples take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Confusions:
    """R confusion matrices of C classes, and the sums over them that metrics share.

    Attributes:
        matrices: (R, C, C) float64, rows the true class and columns the predicted one.
    """

    matrices: Floats

    @cached_property
    def hits(self) -> Floats:
        """(R, C) the images of each class that were predicted to be of it."""
        return np.diagonal(self.matrices, axis1=1, axis2=2)

    @cached_property
    def true(self) -> Floats:
        """(R, C) the images of each class."""
        return np.asarray(self.matrices.sum(axis=2))

    @cached_property
    def chosen(self) -> Floats:
        """(R, C) the images that were predicted to be of each class."""
        return np.asarray(self.matrices.sum(axis=1))

    @cached_property
    def total(self) -> Floats:
        """(R,) all images."""
        return np.asarray(self.matrices.sum(axis=(1, 2)))


@dataclass(frozen=True)
class Ranked:
    """How the positives of one class stand among the negatives, in each of R weightings.

    A level is a score that some positive has; levels go from the highest score down.

    Attributes:
        positives: (K, R) the positives at each level.
        ties: (K, R) the negatives at each level.
        reached: (K, R) the positives at or above each level.
        alarms: (K, R) the negatives at or above each level.
        negatives: (R,) all negatives.
    """

    positives: Floats
    ties: Floats
    reached: Floats
    alarms: Floats
    negatives: Floats


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
        cls, positive: Flags, scores: Floats, group_of: npt.NDArray[np.intp], count: int
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
        return cls(levels, count_rows(row, group_of, 3 * levels + 1, count))

    def weighted(self, weights: Floats) -> Ranked | None:
        """The sums under weights (G, R) of the groups; None where there is no positive."""
        if not self.levels:
            return None
        sums = self.sums @ weights
        positives, gaps, ties = np.split(sums, [self.levels, 2 * self.levels + 1])
        alarms = np.cumsum(gaps[:-1] + ties, axis=0)
        return Ranked(
            positives=positives,
            ties=ties,
            reached=np.cumsum(positives, axis=0),
            alarms=alarms,
            negatives=alarms[-1] + gaps[-1],
        )


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient, NaN where the denominator is not above 0."""
    empty = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)


def mean_of_defined(values: Floats) -> Floats:
    """(R,) means over the columns that are finite; NaN where none is."""
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1).astype(float))


def count_rows(row: npt.NDArray[Any], group_of: npt.NDArray[np.intp], rows: int, count: int) -> Any:
    """(rows, count) how many images of each group belong to each row."""
    return csr_array((np.ones(len(row)), (row, group_of)), shape=(rows, count))


def sum_rows(
    values: Sequence[Floats],
    row: npt.NDArray[np.int64],
    group_of: npt.NDArray[np.intp],
    rows: int,
    count: int,
) -> Any:
    """(len(values) * rows, count) the sum of each of ``values`` over each group's images by row."""
    data = np.concatenate(list(values))
    place = np.concatenate([row + rows * number for number in range(len(values))])
    columns = np.tile(group_of, len(values))
    return csr_array((data, (place, columns)), shape=(rows * len(values), count))
