"""Bootstrap intervals that resample whole groups (lesions, patients), not images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfskin.evaluation.metrics import (
    CLASS_FIGURES,
    SUMMARY_FIGURES,
    FigureArrays,
    Floats,
    check_predictions,
    compute_metrics,
    weighted_figures,
)

# Weights of one chunk of resamples: 4 million float64 are 32 MB; the figures need a few times that.
CHUNK_WEIGHTS = 4_000_000


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
    """Every figure of :func:`~tfskin.evaluation.metrics.compute_metrics` with its interval.

    A resample draws as many groups as there are, with replacement, and takes each one's images as
    often as it was drawn: images of one lesion are not independent, so an interval that resamples
    images is too short. The interval lies between the ``(1 - confidence) / 2`` percentiles of the
    figure over the resamples (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13). A percentile interval cannot reach past what was seen: a figure of exactly 1 gets
    the interval 1 to 1, whatever the number of images.

    Args:
        labels: (N,) integers, the index of each image's class.
        probabilities: (N, C) floats; each row sums to 1.
        groups: (N,) values; images with the same value are drawn together.
        class_names: C names.
        resamples: number of resamples.
        confidence: coverage, between 0 and 1.
        seed: same seed, same intervals; independent of the memory available.

    Returns:
        The nesting of ``compute_metrics``, each figure being ``{"value", "low", "high",
        "undefined"}``: ``undefined`` counts the resamples left out because the figure had no value
        there (a class may be missing from a resample). ``low`` and ``high`` are None where no
        resample has a value and where there is only one group, which says nothing about the
        spread. Beside ``images``: ``groups``, ``resamples`` and ``confidence``.

    Raises:
        ValueError: as ``compute_metrics``; groups of another length; ``resamples`` below 1;
            ``confidence`` not between 0 and 1.
    """
    true, values = check_predictions(labels, probabilities, class_names)
    names = np.asarray(groups)
    if names.shape != true.shape:
        raise ValueError(f"groups of shape {names.shape} for {len(true)} labels")
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"resamples={resamples}, confidence={confidence}: expected >= 1, in (0,1)")
    group_of, count = _number(names)
    figures = _resample(true, values, group_of, count, resamples=resamples, seed=seed)

    def interval(value: float | None, drawn: Floats) -> dict[str, Any]:
        return {"value": value} | _percentiles(drawn, confidence, spread=count > 1)

    metrics = compute_metrics(true, values, class_names)
    result = {**metrics, "groups": count, "resamples": resamples, "confidence": confidence}
    for name in SUMMARY_FIGURES:
        result[name] = interval(metrics[name], figures.summary[name])
    result["per_class"] = {
        name: {"images": metrics["per_class"][name]["images"]}
        | {
            figure: interval(metrics["per_class"][name][figure], figures.per_class[figure][:, c])
            for figure in CLASS_FIGURES
        }
        for c, name in enumerate(class_names)
    }
    return result


def _number(groups: npt.NDArray[Any]) -> tuple[npt.NDArray[np.intp], int]:
    unique, group_of = np.unique(groups, return_inverse=True)
    return group_of.reshape(-1), len(unique)


def _resample(
    labels: npt.NDArray[np.int64],
    probabilities: Floats,
    group_of: npt.NDArray[np.intp],
    count: int,
    *,
    resamples: int,
    seed: int,
) -> FigureArrays:
    """The figures of every resample, computed in chunks of bounded memory."""
    random = np.random.default_rng(seed)
    rows = max(1, CHUNK_WEIGHTS // max(len(labels), count))
    chunks = []
    for start in range(0, resamples, rows):
        drawn = random.multinomial(
            count, np.full(count, 1 / count), size=min(rows, resamples - start)
        )
        weights = np.ascontiguousarray(drawn.T, dtype=np.float64)[group_of]
        chunks.append(weighted_figures(labels, probabilities, weights))
    return FigureArrays(
        {
            name: np.concatenate([chunk.summary[name] for chunk in chunks])
            for name in SUMMARY_FIGURES
        },
        {
            name: np.concatenate([chunk.per_class[name] for chunk in chunks])
            for name in CLASS_FIGURES
        },
    )


def _percentiles(drawn: Floats, confidence: float, *, spread: bool) -> dict[str, Any]:
    defined = drawn[np.isfinite(drawn)]
    undefined = int(len(drawn) - len(defined))
    if not len(defined) or not spread:
        return {"low": None, "high": None, "undefined": undefined}
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return {"low": float(low), "high": float(high), "undefined": undefined}
