"""Predictions -> metrics with intervals, decisions, plots and the parts of a report."""

from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.intervals import bootstrap_intervals, metric_intervals
from tfskin.evaluation.metrics import compute_metrics, confusion_matrix, metrics_from_confusion
from tfskin.evaluation.predictions import Predictions

__all__ = [
    "Bootstrap",
    "Predictions",
    "bootstrap_intervals",
    "compute_metrics",
    "confusion_matrix",
    "metric_intervals",
    "metrics_from_confusion",
]
