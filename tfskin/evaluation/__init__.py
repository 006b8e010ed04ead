"""Figures with intervals, plots and the report: NumPy in, numbers and files out."""

from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import compute_metrics, confusion_matrix, metrics_from_confusion

__all__ = [
    "bootstrap_intervals",
    "compute_metrics",
    "confusion_matrix",
    "metrics_from_confusion",
]
