"""The bootstrap: resamples of whole groups within classes, and the intervals that they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from tfskin.evaluation.sums import Floats, Ints, ratio

# Resamples that are drawn together: 10,000 groups then take 5 MB, which stays in the cache. Each
# block has a seed of its own, so the size is part of the result.
BLOCK = 64


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How the intervals of metrics are made.

    Attributes:
        resamples: R, the number of resamples that are drawn.
        confidence: coverage of the intervals, between 0 and 1.
        seed: same seed, same resamples.

    Raises:
        ValueError: ``resamples`` below 1; ``confidence`` not between 0 and 1.
    """

    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence={self.confidence}: expected a number between 0 and 1")
        if self.resamples < 1:
            raise ValueError(f"resamples={self.resamples}: expected 1 or more")

    def plan(self, labels: npt.ArrayLike, groups: npt.ArrayLike) -> Resampling:
        """How images with these labels (N,) and groups (N,), of any kind, are drawn.

        Raises:
            ValueError: groups of another length.
        """
        true, names = np.asarray(labels), np.asarray(groups)
        if names.shape != true.shape:
            raise ValueError(f"groups of shape {names.shape} for {len(true)} labels")
        unique, group_of = np.unique(names, return_inverse=True)
        group_of = group_of.reshape(-1)
        classes, class_of, sizes = np.unique(true, return_inverse=True, return_counts=True)
        rarity = np.argsort(np.argsort(sizes, kind="stable"), kind="stable")
        strata = np.full(len(unique), len(classes))
        np.minimum.at(strata, group_of, rarity[class_of.reshape(-1)])
        members = np.bincount(strata)
        if members.max() > 1:
            strata[members[strata] == 1] = members.argmax()
        return Resampling(group_of=group_of, count=len(unique), strata=strata, bootstrap=self)


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How the groups of a set of images are drawn; :meth:`Bootstrap.plan` makes it.

    A resample draws from each stratum as many groups as it has, with replacement: the mix of
    classes stays what it was, and no class is missing (Davison and Hinkley, Bootstrap Methods and
    their Application, 1997, section 3.2). A group's stratum is its rarest class. A group that
    would be alone in its stratum joins the largest: it would be in every resample, and what it
    does to the metrics of other classes would seem certain.

    Attributes:
        group_of: (N,) the group of each image, 0..count-1.
        count: G, the number of groups.
        strata: (G,) the stratum of each group.
        bootstrap: how many resamples are drawn, the seed, and the coverage of intervals.
    """

    group_of: npt.NDArray[np.intp]
    count: int
    strata: Ints
    bootstrap: Bootstrap

    @property
    def varying(self) -> int:
        """The groups that a resample may leave out: those that are not alone in their stratum."""
        sizes = np.bincount(self.strata)
        return int(sizes[sizes > 1].sum())

    def blocks(self) -> Iterator[Floats]:
        """Weights (G, r) float64 of the resamples, block by block: how often each group counts."""
        members = [np.flatnonzero(self.strata == stratum) for stratum in np.unique(self.strata)]
        for number, start in enumerate(range(0, self.bootstrap.resamples, BLOCK)):
            size = min(BLOCK, self.bootstrap.resamples - start)
            random = np.random.default_rng([self.bootstrap.seed, number])
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
    groups: float,
    scale: float | None = None,
    unbias: bool = False,
) -> dict[str, Any]:
    """``{"value", "low", "high", "undefined"}`` of a metric and its (R,) values over resamples.

    A metric that lies between 0 and ``scale`` (a share, an AUC) gets
    ``logit^-1(logit(v) +- t s)`` with the standard deviation s of the logits over resamples and
    Student's t of as many groups: percentiles are too short near 1, where such metrics live
    (Pepe, The Statistical Evaluation of Medical Tests, 2003, section 5.2; Boyd, Eng and Page,
    Area under the precision-recall curve, ECML 2013). At exactly 0 or ``scale`` there is no logit;
    the exact bound for ``groups`` trials takes its place (Clopper and Pearson, 1934).

    Any other metric gets the percentile interval, its tails widened by the factor that Student's t
    needs: ``Phi(sqrt(n / (n - 1)) t_{n-1}(a / 2))`` in place of ``a / 2`` (Hesterberg, What
    Teachers Should Know about the Bootstrap, The American Statistician 69, 2015, section 5.3).

    There is none (None) with fewer than two groups, nor where all resamples give the same number
    (images right or wrong class by class): both say nothing about the spread.

    Args:
        value: the metric; None where it has no value.
        drawn: its values over resamples; NaN where it had none, counted in ``undefined``.
        confidence: coverage, between 0 and 1.
        groups: how many independent groups the metric rests on; need not be whole.
        scale: the highest value of a metric whose lowest is 0; None for any other metric.
        unbias: take the resamples' mean deviation off the middle of the logits (Davison and
            Hinkley, section 5.2): for a metric of the tail of a ranking, which comes out too high
            when few groups are drawn.

    Raises:
        ValueError: a value below 0 or above ``scale``, whose interval would be wrong.
    """
    defined = drawn[np.isfinite(drawn)]
    result = {"value": value, "low": None, "high": None, "undefined": len(drawn) - len(defined)}
    if value is None or not len(defined) or groups < 2:
        return result
    ends = [value, defined.min(), defined.max()]
    if scale is not None and not (min(ends) > -1e-9 and max(ends) < scale + 1e-9):
        raise ValueError(
            f"a metric between 0 and {scale:g} has the value {min(ends, key=lambda v: v < 0):g}; "
            "one of another range has no scale (Metric(..., highest=None))"
        )
    tail = (1 - confidence) / 2
    end = 0.0 if scale is None or value < scale / 2 else scale
    if np.ptp(defined) < 1e-12 and abs(value - end) > 1e-12:
        return result
    if scale is not None:
        low, high = _bounded_interval(
            value / scale, defined / scale, tail=tail, groups=groups, unbias=unbias
        )
        return result | {"low": low * scale, "high": high * scale}
    widened = float(stats.norm.cdf(np.sqrt(groups / (groups - 1)) * stats.t.ppf(tail, groups - 1)))
    low, high = (float(q) for q in np.quantile(defined, [widened, 1 - widened]))
    return result | {"low": low, "high": high}


def _bounded_interval(
    value: float, drawn: Floats, *, tail: float, groups: float, unbias: bool
) -> tuple[float, float]:
    """The interval of a metric between 0 and 1, which holds its value."""
    # Rounding takes a perfect metric past its end.
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
    shift = float(logits.mean()) - middle if unbias else 0.0
    low, high = special.expit(middle - shift - reach), special.expit(middle - shift + reach)
    return min(float(low), value), max(float(high), value)


def deviation_interval(value: float, parts: Floats, bootstrap: Bootstrap) -> dict[str, Any]:
    """The interval of ``v = sum_b |sum_g part_bg|`` (an expected calibration error).

    Chance alone opens gaps between what was predicted and what was seen, so v is biased upwards
    and a bootstrap, which adds chance to chance, more so. The interval inverts a test (Carpenter,
    Test inversion bootstrap confidence intervals, JRSS B 61, 1999): it holds ``s v`` for each s
    under which v is no rare value of ``sum_b |s gap_b + noise_b|``, the noise being the groups'
    parts under random signs (the wild bootstrap: Liu, The Annals of Statistics 16, 1988). It
    begins at 0 where chance alone explains v, and is made to hold v.

    Args:
        value: v.
        parts: (B, G) of each group to each bin's gap.
        bootstrap: how often the signs are drawn, by which seed, and the coverage.
    """
    size = (parts.shape[1], bootstrap.resamples)
    signs = np.random.default_rng(bootstrap.seed).choice([-1.0, 1.0], size)
    gaps, noise = parts.sum(axis=1)[:, None], parts @ signs
    factors = np.linspace(0, 2, 81)
    sums = np.stack([np.abs(factor * gaps + noise).sum(axis=0) for factor in factors])
    tail = (1 - bootstrap.confidence) / 2
    above, below = (sums >= value).mean(axis=1) > tail, (sums <= value).mean(axis=1) > tail
    low = float(factors[above].min(initial=1.0)) * value
    high = float(factors[below].max(initial=1.0)) * value
    return {"value": value, "low": low, "high": high, "undefined": 0}


def ratio_intervals(
    resampling: Resampling,
    parts: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    scale: float | None = 1.0,
) -> dict[str, dict[str, Any]]:
    """Name -> interval of ``sum numerator / sum denominator`` over images.

    Args:
        resampling: of N images.
        parts: name -> (N,) numerators and (N,) denominators; booleans count as 0 and 1. For a
            share both are masks, the first within the second.
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
            confidence=resampling.bootstrap.confidence,
            groups=int((sums[2 * k + 1] > 0).sum()),
            scale=scale,
        )
        for k, name in enumerate(parts)
    }
