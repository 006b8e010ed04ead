"""Resamples of whole groups within classes, and the intervals that they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from tfskin.evaluation.figures import Floats, Ints, ratio

# Resamples that are drawn together: 10,000 groups then take 5 MB, which stays in the cache. Each
# block has a seed of its own, so the size is part of the result.
BLOCK = 64


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How groups are drawn.

    A resample draws from each stratum as many groups as it has, with replacement: the mix of
    classes stays what it was, and no class is missing (Davison and Hinkley, Bootstrap Methods and
    their Application, 1997, section 3.2). A group's stratum is its rarest class.

    Attributes:
        group_of: (N,) the group of each image, 0..count-1.
        count: G, the number of groups.
        strata: (G,) the stratum of each group.
        resamples: R.
        seed: same seed, same resamples.
    """

    group_of: npt.NDArray[np.intp]
    count: int
    strata: Ints
    resamples: int
    seed: int = 0

    @classmethod
    def of(
        cls, labels: npt.ArrayLike, groups: npt.ArrayLike, *, resamples: int, seed: int = 0
    ) -> Resampling:
        """Resampling of images with these labels (N,) and groups (N,) of any kind.

        Raises:
            ValueError: groups of another length, or ``resamples`` below 1.
        """
        true, names = np.asarray(labels), np.asarray(groups)
        if names.shape != true.shape:
            raise ValueError(f"groups of shape {names.shape} for {len(true)} labels")
        if resamples < 1:
            raise ValueError(f"resamples={resamples}: expected 1 or more")
        unique, group_of = np.unique(names, return_inverse=True)
        group_of = group_of.reshape(-1)
        classes, class_of, sizes = np.unique(true, return_inverse=True, return_counts=True)
        rarity = np.argsort(np.argsort(sizes, kind="stable"), kind="stable")
        strata = np.full(len(unique), len(classes))
        np.minimum.at(strata, group_of, rarity[class_of.reshape(-1)])
        return cls(
            group_of=group_of, count=len(unique), strata=strata, resamples=resamples, seed=seed
        )

    def blocks(self) -> Iterator[Floats]:
        """Weights (G, r) float64 of the resamples, block by block: how often each group counts."""
        members = [np.flatnonzero(self.strata == stratum) for stratum in np.unique(self.strata)]
        for number, start in enumerate(range(0, self.resamples, BLOCK)):
            size = min(BLOCK, self.resamples - start)
            random = np.random.default_rng([self.seed, number])
            weights = np.empty((self.count, size))
            for inside in members:
                drawn = random.integers(0, len(inside), (size, len(inside)))
                cells = (drawn + np.arange(size)[:, None] * len(inside)).ravel()
                counts = np.bincount(cells, minlength=size * len(inside))
                weights[inside] = counts.reshape(size, len(inside)).T
            yield weights

    def run(self, statistic: Callable[[Floats], dict[str, Floats]]) -> dict[str, Floats]:
        """Name -> (R, ...) values of a statistic of weights (G, r) over all resamples."""
        parts = [statistic(weights) for weights in self.blocks()]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def interval(
    value: float | None,
    drawn: Floats,
    *,
    confidence: float,
    groups: int,
    bounded: bool = False,
    reflect: bool = False,
) -> dict[str, Any]:
    """``{"value", "low", "high", "undefined"}`` of a figure and its (R,) values over resamples.

    The percentile interval, its tails widened by the factor that Student's t needs for as many
    groups: ``Phi(sqrt(n / (n - 1)) t_{n-1}(a / 2))`` in place of ``a / 2`` (Hesterberg, What
    Teachers Should Know about the Bootstrap, The American Statistician 69, 2015, section 5.3).
    There is none (None) with fewer than two groups, which say nothing about the spread.

    Args:
        value: the figure; None where it has no value.
        drawn: its values over resamples; NaN where it had none, counted in ``undefined``.
        confidence: coverage, between 0 and 1.
        groups: how many independent groups the figure rests on.
        bounded: the figure is a share; where all resamples are the same share of 0 or 1, the exact
            bound for ``groups`` trials takes the place of an interval without width (Clopper and
            Pearson, 1934).
        reflect: the figure is biased upwards by sampling (the expected calibration error): the
            basic interval ``2 value - quantile`` (Davison and Hinkley, section 5.2), kept at or
            above 0 and made to hold the value.
    """
    defined = drawn[np.isfinite(drawn)]
    result = {"value": value, "low": None, "high": None, "undefined": len(drawn) - len(defined)}
    if value is None or not len(defined) or groups < 2:
        return result
    tail = (1 - confidence) / 2
    widened = float(stats.norm.cdf(np.sqrt(groups / (groups - 1)) * stats.t.ppf(tail, groups - 1)))
    low, high = (float(q) for q in np.quantile(defined, [widened, 1 - widened]))
    if reflect:
        low, high = max(0.0, 2 * value - high), 2 * value - low
        low, high = min(low, value), max(high, value)
    elif bounded and low == high and value in (0.0, 1.0):
        reach = tail ** (1 / groups)
        low, high = (reach, 1.0) if value == 1 else (0.0, 1 - reach)
    return result | {"low": low, "high": high}


def ratio_intervals(
    resampling: Resampling,
    parts: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    confidence: float,
    bounded: bool = True,
) -> dict[str, dict[str, Any]]:
    """Name -> interval of ``sum numerator / sum denominator`` over images.

    Args:
        resampling: of N images.
        parts: name -> (N,) numerators and (N,) denominators; booleans count as 0 and 1. For a
            share both are masks, the first within the second.
        confidence: coverage.
        bounded: the quotients are shares, see :func:`interval`.
    """
    rows = [np.asarray(part, float) for pair in parts.values() for part in pair]
    columns = resampling.group_of
    sums = np.stack([np.bincount(columns, row, minlength=resampling.count) for row in rows])
    value = ratio(sums[0::2].sum(axis=1), sums[1::2].sum(axis=1))
    drawn = resampling.run(lambda w: {"all": ratio(sums[0::2] @ w, sums[1::2] @ w).T})["all"]
    return {
        name: interval(
            float(value[k]) if np.isfinite(value[k]) else None,
            drawn[:, k],
            confidence=confidence,
            groups=int((sums[2 * k + 1] > 0).sum()),
            bounded=bounded,
        )
        for k, name in enumerate(parts)
    }
