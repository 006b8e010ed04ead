"""Figures of a classifier from labels and probabilities, or from a confusion matrix.

One convention for figures that have no value: they are ``None`` (never NaN, never a silent 0).

====================  =============================================================
figure                has no value where
====================  =============================================================
recall                the class has no image
precision             the class was never predicted
f1                    the class has no image and was never predicted
specificity           every image is of the class
auc                   the class has no image, or every image is of the class
====================  =============================================================

``balanced_accuracy`` (mean recall), ``macro_f1`` and ``macro_auc`` average the classes where the
figure has a value; ``left_out`` names the others. The predicted class is the one with the highest
probability; where several tie, the first of them (``numpy.argmax``), so constant probabilities
predict the first class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SUMMARY_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "log_loss")
CLASS_FIGURES = ("precision", "recall", "specificity", "f1", "auc")

# Each average over classes, and the figure that it averages.
AVERAGES = {"balanced_accuracy": "recall", "macro_f1": "f1", "macro_auc": "auc"}

# Probabilities that went through a CSV with four decimals still pass.
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class FigureArrays:
    """Figures of R weightings of the same images; NaN where a figure has no value.

    Attributes:
        summary: name -> (R,) float64.
        per_class: name -> (R, C) float64.
    """

    summary: dict[str, Floats]
    per_class: dict[str, Floats]


def compute_metrics(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, class_names: Sequence[str]
) -> dict[str, Any]:
    """Every figure of one set of predictions, as plain numbers ready for JSON.

    Args:
        labels: (N,) integers, the index of each image's class.
        probabilities: (N, C) floats in [0, 1]; each row sums to 1 within 1e-3.
        class_names: C names.

    Returns:
        ``{"images": N, "accuracy", "balanced_accuracy", "macro_f1", "macro_auc" (one-vs-rest),
        "log_loss" (natural logarithm; probabilities below 2.2e-16 count as that),
        "per_class": {name: {"images", "precision", "recall", "specificity", "f1", "auc"}},
        "left_out": {average: [names of classes without a value]}}``; a figure without a value is
        None, as the module's table says.

    Raises:
        ValueError: a wrong shape, labels that are not indices, probabilities that are not.
    """
    labels, probabilities = check_predictions(labels, probabilities, class_names)
    figures = weighted_figures(labels, probabilities, np.ones((len(labels), 1)))
    counts = np.bincount(labels, minlength=len(class_names))
    return _as_dict(figures, class_names, counts)


def metrics_from_confusion(matrix: npt.ArrayLike, class_names: Sequence[str]) -> dict[str, Any]:
    """The figures of :func:`compute_metrics` that a confusion matrix determines.

    Args:
        matrix: (C, C) counts, rows the true class and columns the predicted one.
        class_names: C names.

    Returns:
        As :func:`compute_metrics`, without ``macro_auc``, ``log_loss`` and ``auc``. An empty
        matrix has no figure: all are None.

    Raises:
        ValueError: not square, not of C classes, or a negative or fractional count.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    size = len(class_names)
    if counts.shape != (size, size):
        raise ValueError(f"a confusion matrix of shape {counts.shape} for {size} class names")
    if not np.all(np.isfinite(counts)) or np.any(counts < 0) or np.any(counts % 1):
        raise ValueError("a confusion matrix holds counts: whole numbers, none below 0")
    return _as_dict(_from_confusions(counts[None]), class_names, counts.sum(axis=1).astype(int))


def confusion_matrix(labels: npt.ArrayLike, predicted: npt.ArrayLike, num_classes: int) -> Ints:
    """(C, C) int64 counts, rows the true class and columns the predicted one.

    Args:
        labels: (N,) integers in 0..C-1.
        predicted: (N,) integers in 0..C-1.
        num_classes: C.

    Raises:
        ValueError: different lengths, or an index outside 0..C-1.
    """
    true = _check_indices(labels, num_classes, "labels")
    chosen = _check_indices(predicted, num_classes, "predicted classes")
    if len(true) != len(chosen):
        raise ValueError(f"{len(true)} labels for {len(chosen)} predicted classes")
    cells = np.bincount(true * num_classes + chosen, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def weighted_auc(positive: npt.NDArray[np.bool_], scores: Floats, weights: Floats) -> Floats:
    """(R,) areas under the ROC curve, one for each column of weights; NaN where undefined.

    ``AUC = sum_p sum_n w_p w_n ([s_p > s_n] + [s_p = s_n] / 2) / (sum_p w_p  sum_n w_n)`` over
    positives p and negatives n: one sort of the negatives, then cumulative sums of their weights
    read where each positive stands among them, so ties count exactly one half.

    Args:
        positive: (N,) booleans.
        scores: (N,) floats.
        weights: (N, R) floats, none below 0.
    """
    negative_scores = scores[~positive]
    order = np.argsort(negative_scores, kind="stable")
    cumulative = np.zeros((len(order) + 1, weights.shape[1]))
    np.cumsum(weights[~positive][order], axis=0, out=cumulative[1:])
    below = np.searchsorted(negative_scores[order], scores[positive], side="left")
    not_above = np.searchsorted(negative_scores[order], scores[positive], side="right")
    positive_weights = weights[positive]
    beaten = np.einsum("pr,pr->r", positive_weights, cumulative[below] + cumulative[not_above]) / 2
    return _ratio(beaten, positive_weights.sum(axis=0) * cumulative[-1])


def weighted_figures(labels: Ints, probabilities: Floats, weights: Floats) -> FigureArrays:
    """The figures of R weightings of the same images.

    Args:
        labels: (N,) int64, as :func:`check_predictions` returns them.
        probabilities: (N, C) float64, likewise.
        weights: (N, R) float64, none below 0; an image of weight 2 counts as two images.
    """
    size = probabilities.shape[1]
    cells = labels * size + np.argmax(probabilities, axis=1)
    used, position = np.unique(cells, return_inverse=True)
    one_hot = (np.arange(len(used))[:, None] == position).astype(np.float64)
    confusions = np.zeros((size * size, weights.shape[1]))
    confusions[used] = one_hot @ weights
    figures = _from_confusions(confusions.T.reshape(-1, size, size))

    areas = np.stack(
        [weighted_auc(labels == c, probabilities[:, c], weights) for c in range(size)], axis=1
    )
    losses = -np.log(
        np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(np.float64).eps)
    )
    summary = {
        **figures.summary,
        "macro_auc": _mean_of_defined(areas),
        "log_loss": _ratio(losses @ weights, weights.sum(axis=0)),
    }
    return FigureArrays(summary, {**figures.per_class, "auc": areas})


def check_predictions(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, class_names: Sequence[str]
) -> tuple[Ints, Floats]:
    """Labels as (N,) int64 and probabilities as (N, C) float64.

    Raises:
        ValueError: a wrong shape, labels that are not indices, probabilities that are not, or
            class names that repeat.
    """
    if len(set(class_names)) != len(class_names) or len(class_names) < 2:
        raise ValueError(f"at least two different class names are needed, got {class_names!r}")
    values = check_probabilities(probabilities)
    if values.ndim != 2 or values.shape[1] != len(class_names):
        raise ValueError(
            f"probabilities of shape {values.shape} for {len(class_names)} class names: "
            f"expected (N, {len(class_names)})"
        )
    indices = _check_indices(labels, len(class_names), "labels")
    if len(indices) != len(values):
        raise ValueError(f"{len(indices)} labels for {len(values)} rows of probabilities")
    if not len(indices):
        raise ValueError("no images: figures need at least one")
    return indices, values


def check_probabilities(probabilities: npt.ArrayLike) -> Floats:
    """(..., C) probabilities as float64.

    Raises:
        ValueError: a value that is not finite or outside [0, 1], or a last axis whose sum is not
            1 within 1e-3; the first such row is named.
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim < 2:
        raise ValueError(f"probabilities of shape {values.shape}: expected one row an image")
    rows = values.reshape(-1, values.shape[-1])
    if not np.all(np.isfinite(rows)):
        bad = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise ValueError(f"probabilities of row {bad} are not finite: {rows[bad]}")
    if np.any(rows < -SUM_TOLERANCE):
        bad = int(np.argmax((rows < -SUM_TOLERANCE).any(axis=1)))
        raise ValueError(f"probabilities of row {bad} are below 0 (logits?): {rows[bad]}")
    sums = rows.sum(axis=1)
    wrong = np.abs(sums - 1) > SUM_TOLERANCE
    if np.any(wrong):
        bad = int(np.argmax(wrong))
        raise ValueError(f"probabilities of row {bad} sum to {sums[bad]:.6g}, not 1 (logits?)")
    return values


def _check_indices(values: npt.ArrayLike, size: int, what: str) -> Ints:
    indices = np.asarray(values)
    if indices.ndim != 1:
        raise ValueError(f"{what} of shape {indices.shape}: expected (N,)")
    if len(indices) and not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"{what} of type {indices.dtype}: expected integers")
    if len(indices) and (indices.min() < 0 or indices.max() >= size):
        bad = int(np.argmax((indices < 0) | (indices >= size)))
        raise ValueError(f"{what} lie in 0..{size - 1}, but row {bad} is {indices[bad]}")
    return indices.astype(np.int64)


def _from_confusions(matrices: Floats) -> FigureArrays:
    """The figures that (R, C, C) confusion matrices determine."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    true, chosen = matrices.sum(axis=2), matrices.sum(axis=1)
    total = matrices.sum(axis=(1, 2))
    negatives = total[:, None] - true
    per_class = {
        "precision": _ratio(hits, chosen),
        "recall": _ratio(hits, true),
        "specificity": _ratio(negatives - chosen + hits, negatives),
        "f1": _ratio(2 * hits, true + chosen),
    }
    summary = {
        "accuracy": _ratio(hits.sum(axis=1), total),
        "balanced_accuracy": _mean_of_defined(per_class["recall"]),
        "macro_f1": _mean_of_defined(per_class["f1"]),
    }
    return FigureArrays(summary, per_class)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    empty = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)


def _mean_of_defined(values: Floats) -> Floats:
    defined = np.isfinite(values)
    return _ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1).astype(float))


def _as_dict(figures: FigureArrays, names: Sequence[str], counts: Ints) -> dict[str, Any]:
    result: dict[str, Any] = {"images": int(counts.sum())}
    result |= {name: _plain(values[0]) for name, values in figures.summary.items()}
    result["per_class"] = {
        name: {"images": int(counts[c])}
        | {figure: _plain(values[0, c]) for figure, values in figures.per_class.items()}
        for c, name in enumerate(names)
    }
    result["left_out"] = {
        average: [name for name in names if result["per_class"][name][figure] is None]
        for average, figure in AVERAGES.items()
        if average in figures.summary
    }
    return result


def _plain(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
