"""From probabilities to decisions: operating points and conformal prediction sets."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tfskin.evaluation.metrics import Floats, Ints

ABOVE_ALL = 2.0
"""A threshold that no score reaches: nothing is called malignant."""


def malignant_score(probabilities: Floats, class_names: list[str], malignant: list[str]) -> Floats:
    """(N,) the sum of the probabilities of the malignant classes."""
    return probabilities[:, [class_names.index(name) for name in malignant]].sum(axis=1)


def threshold_for_sensitivity(
    positive: npt.NDArray[np.bool_], scores: Floats, target: float
) -> float | None:
    """The highest threshold whose sensitivity is at least ``target``; None without positives.

    An image is called positive where its score is at or above the threshold. The threshold lies
    half-way to the next lower score, so that rounding does not change a decision.
    """
    found = np.sort(scores[positive])[::-1]
    if not len(found):
        return None
    # 0.95 * 20 is 19.000000000000004 in floating point.
    needed = max(1, math.ceil(target * len(found) - 1e-9))
    return _halfway(scores, found[needed - 1])


def threshold_for_specificity(
    positive: npt.NDArray[np.bool_], scores: Floats, target: float
) -> float | None:
    """The lowest threshold whose specificity is at least ``target``; None without negatives."""
    found = np.sort(scores[~positive])
    if not len(found):
        return None
    needed = max(0, math.ceil(target * len(found) - 1e-9))
    if needed == 0:
        return 0.0
    above = scores[scores > found[needed - 1]]
    return _halfway(scores, above.min()) if len(above) else ABOVE_ALL


def threshold_for_cost(
    positive: npt.NDArray[np.bool_], scores: Floats, miss_cost: float
) -> float | None:
    """The threshold of the lowest ``miss_cost * misses + false alarms``; None if one-sided.

    Of several, the lowest: where the cost is equal, the one that misses fewer.
    """
    if positive.all() or not positive.any():
        return None
    levels = np.unique(scores)
    below = np.searchsorted(np.sort(scores[positive]), levels)
    alarms = (~positive).sum() - np.searchsorted(np.sort(scores[~positive]), levels)
    costs = np.append(miss_cost * below + alarms, miss_cost * positive.sum())
    best = int(np.argmin(costs))
    return ABOVE_ALL if best == len(levels) else _halfway(scores, levels[best])


def _halfway(scores: Floats, level: float) -> float:
    """Between ``level`` and the next lower score; just 0 where there is none."""
    lower = scores[scores < level]
    return float((level + lower.max()) / 2) if len(lower) else 0.0


def conformal_quantiles(
    labels: Ints, probabilities: Floats, *, coverage: float
) -> npt.NDArray[np.float64]:
    """(C,) quantiles q of split-conformal sets ``{c: 1 - p_c <= q_c}``, one a class.

    ``q_c`` is the ``ceil((n_c + 1) coverage)``-th smallest of ``1 - p_c`` over the ``n_c`` images
    of class c: for an image of class c that is exchangeable with them, its set holds c with a
    probability of at least ``coverage``, whatever the model (Vovk, Conditional validity of
    inductive conformal predictors, 2012, the label-conditional predictor; Sadinle, Lei, Wasserman,
    Least ambiguous set-valued classifiers, 2019). A class with too few images gets 1: it is in
    every set.

    Args:
        labels: (N,) int64.
        probabilities: (N, C) float64.
        coverage: between 0 and 1.
    """
    quantiles = np.ones(probabilities.shape[1])
    for c in range(len(quantiles)):
        scores = np.sort(1 - probabilities[labels == c, c])
        place = math.ceil((len(scores) + 1) * coverage - 1e-9)
        if place <= len(scores):
            quantiles[c] = scores[place - 1]
    return quantiles


def prediction_sets(
    probabilities: Floats, quantiles: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """(N, C) whether each class is in each image's set; a set may be empty."""
    # The scores that the quantiles were taken from must count as inside after a CSV or float32.
    return 1 - probabilities <= quantiles + 1e-9
