"""Resamples of whole groups within classes, and the intervals that they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats

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

    @property
    def varying(self) -> int:
        """The groups that a resample may leave out: those that are not alone in their stratum."""
        sizes = np.bincount(self.strata)
        return int(sizes[sizes > 1].sum())

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
    scale: float | None = None,
    reflect: bool = False,
) -> dict[str, Any]:
    """``{"value", "low", "high", "undefined"}`` of a figure and its (R,) values over resamples.

    A figure that lies between 0 and ``scale`` (a share, an AUC) gets
    ``logit^-1(logit(v) +- t s)`` with the standard deviation s of the logits over resamples and
    Student's t of as many groups: percentiles are too short near 1, where such figures live
    (Pepe, The Statistical Evaluation of Medical Tests, 2003, section 5.2; Boyd, Eng and Page,
    Area under the precision-recall curve, ECML 2013). At exactly 0 or ``scale`` there is no logit;
    the exact bound for ``groups`` trials takes its place (Clopper and Pearson, 1934).

    Any other figure gets the percentile interval, its tails widened by the factor that Student's t
    needs: ``Phi(sqrt(n / (n - 1)) t_{n-1}(a / 2))`` in place of ``a / 2`` (Hesterberg, What
    Teachers Should Know about the Bootstrap, The American Statistician 69, 2015, section 5.3).

    There is none (None) with fewer than two groups, which say nothing about the spread.

    Args:
        value: the figure; None where it has no value.
        drawn: its values over resamples; NaN where it had none, counted in ``undefined``.
        confidence: coverage, between 0 and 1.
        groups: how many independent groups the figure rests on.
        scale: the highest value of a figure whose lowest is 0; None for any other figure.
        reflect: the figure is biased upwards by sampling (the expected calibration error): the
            basic interval ``2 value - quantile`` (Davison and Hinkley, section 5.2), kept at or
            above 0 and made to hold the value.
    """
    defined = drawn[np.isfinite(drawn)]
    result = {"value": value, "low": None, "high": None, "undefined": len(drawn) - len(defined)}
    if value is None or not len(defined) or groups < 2:
        return result
    tail = (1 - confidence) / 2
    if scale is not None:
        low, high = _bounded_interval(value / scale, defined / scale, tail, groups)
        return result | {"low": low * scale, "high": high * scale}
    widened = float(stats.norm.cdf(np.sqrt(groups / (groups - 1)) * stats.t.ppf(tail, groups - 1)))
    low, high = (float(q) for q in np.quantile(defined, [widened, 1 - widened]))
    if reflect:
        low, high = max(0.0, 2 * value - high), 2 * value - low
        low, high = min(low, value), max(high, value)
    return result | {"low": low, "high": high}


def _bounded_interval(value: float, drawn: Floats, tail: float, groups: int) -> tuple[float, float]:
    """The interval of a figure between 0 and 1."""
    # Rounding takes a perfect figure past its end.
    value = min(max(value, 0.0), 1.0)
    room = min(value, 1 - value)
    if room < 1e-12:
        reach = tail ** (1 / groups)
        return (reach, 1.0) if value > 0.5 else (0.0, 1 - reach)
    # A resample without a fault has no logit: it counts as a quarter of a fault.
    edge = min(0.25 / groups, room / 4)
    logits = special.logit(np.clip(drawn, edge, 1 - edge))
    spread = float(logits.std()) * np.sqrt(groups / (groups - 1))
    reach = float(-stats.t.ppf(tail, groups - 1)) * spread
    middle = float(special.logit(value))
    return float(special.expit(middle - reach)), float(special.expit(middle + reach))


def ratio_intervals(
    resampling: Resampling,
    parts: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    confidence: float,
    scale: float | None = 1.0,
) -> dict[str, dict[str, Any]]:
    """Name -> interval of ``sum numerator / sum denominator`` over images.

    Args:
        resampling: of N images.
        parts: name -> (N,) numerators and (N,) denominators; booleans count as 0 and 1. For a
            share both are masks, the first within the second.
        confidence: coverage.
        scale: see :func:`interval`; 1 for shares.
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
            scale=scale,
        )
        for k, name in enumerate(parts)
    }
