"""Metrics of a classifier from labels and probabilities, or from a confusion matrix.

A metric that has no value is ``None``, never NaN and never a silent 0.

====================  =============================================================
metric                has no value where
====================  =============================================================
recall                the class has no image
precision             the class was never predicted
f1                    the class has no image and was never predicted
specificity           every image is of the class
auc                   the class has no image, or every image is of the class
average_precision     likewise
partial_auc           likewise
kappa, mcc            one class is true and predicted everywhere; mcc: either of the two
top2_, top3_accuracy  there are no more than 2 or 3 classes
====================  =============================================================

``balanced_accuracy`` (mean recall), ``macro_f1``, ``macro_auc``, ``macro_average_precision`` and
``macro_partial_auc`` average the classes where the metric has a value; ``left_out`` names the
others. The partial AUC is the area below the ROC curve and above a sensitivity of 0.8, between 0
and 0.2 (ISIC 2024). ``kappa`` is Cohen's, ``mcc`` Matthews' for several classes (Gorodkin, 2004),
``brier`` the sum of squared errors over classes, between 0 and 2, ``ece`` the expected calibration
error of the highest probability over 15 bins of equal width (Guo et al., 2017).

The predicted class is the one with the highest probability; where several tie, the first of them
(``numpy.argmax``), so constant probabilities predict the first class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfskin.evaluation.metric_table import AVERAGES, CLASS_METRICS, SUMMARY_METRICS
from tfskin.evaluation.sums import Floats, Ints
from tfskin.evaluation.weighted_metrics import (
    MetricArrays,
    metrics_from_confusions,
    weighted_metrics,
)

__all__ = [
    "CLASS_METRICS",
    "SUMMARY_METRICS",
    "Floats",
    "Ints",
    "check_predictions",
    "check_probabilities",
    "compute_metrics",
    "confusion_matrix",
    "metrics_from_confusion",
]

# Probabilities that went through a CSV with four decimals still pass.
SUM_TOLERANCE = 1e-3


def compute_metrics(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, class_names: Sequence[str]
) -> dict[str, Any]:
    """Every metric of one set of predictions, as plain numbers ready for JSON.

    Args:
        labels: (N,) integers, the index of each image's class.
        probabilities: (N, C) floats in [0, 1]; each row sums to 1 within 1e-3.
        class_names: C names.

    Returns:
        ``{"images": N, each of SUMMARY_METRICS ("macro_auc" one-vs-rest, "log_loss" by the natural
        logarithm; probabilities below 2.2e-16 count as that), "per_class": {name: {"images", each
        of CLASS_METRICS}}, "left_out": {average: [names of classes without a value]}}``; a metric
        without a value is None, as the module's table says.

    Raises:
        ValueError: a wrong shape, labels that are not indices, probabilities that are not.
    """
    labels, probabilities = check_predictions(labels, probabilities, class_names)
    values = weighted_metrics(labels, probabilities, np.ones((len(labels), 1)))
    counts = np.bincount(labels, minlength=len(class_names))
    return _as_dict(values, class_names, counts)


def metrics_from_confusion(matrix: npt.ArrayLike, class_names: Sequence[str]) -> dict[str, Any]:
    """The metrics of :func:`compute_metrics` that a confusion matrix determines.

    Args:
        matrix: (C, C) counts, rows the true class and columns the predicted one.
        class_names: C names.

    Returns:
        As :func:`compute_metrics`, without the metrics that need probabilities. For an empty
        matrix all are None.

    Raises:
        ValueError: not square, not of C classes, or a negative or fractional count.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    size = len(class_names)
    if counts.shape != (size, size):
        raise ValueError(f"a confusion matrix of shape {counts.shape} for {size} class names")
    if not np.all(np.isfinite(counts)) or np.any(counts < 0) or np.any(counts % 1):
        raise ValueError("a confusion matrix holds counts: whole numbers, none below 0")
    return _as_dict(
        metrics_from_confusions(counts[None]), class_names, counts.sum(axis=1).astype(int)
    )


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
        raise ValueError("no images: metrics need at least one")
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


def _as_dict(found: MetricArrays, names: Sequence[str], counts: Ints) -> dict[str, Any]:
    result: dict[str, Any] = {"images": int(counts.sum())}
    result |= {name: _plain(values[0]) for name, values in found.summary.items()}
    result["per_class"] = {
        name: {"images": int(counts[c])}
        | {metric: _plain(values[0, c]) for metric, values in found.per_class.items()}
        for c, name in enumerate(names)
    }
    result["left_out"] = {
        average: [name for name in names if result["per_class"][name][metric] is None]
        for average, metric in AVERAGES.items()
        if average in found.summary
    }
    return result


def _plain(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
