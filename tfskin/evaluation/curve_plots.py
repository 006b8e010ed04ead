"""Plots of curves: ROC, precision and recall, calibration, corruption; images side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfskin.evaluation.metrics import check_predictions, compute_metrics
from tfskin.evaluation.plots import (
    GRID,
    MUTED,
    PALETTE,
    finish_figure,
    format_metric,
    line_style,
    lowest_classes,
    wrap_name,
    wrap_text,
)
from tfskin.evaluation.predictions import Predictions
from tfskin.evaluation.sums import Flags, Floats

Drawer = Callable[..., None]


def plot_roc(
    predictions: Predictions,
    *,
    metrics: Mapping[str, Any] | None = None,
    title: str = "ROC, each class against the rest",
) -> Figure:
    """A figure with one ROC curve a class; the legend holds each area, with its interval if given.

    Of more than :data:`~tfskin.evaluation.plots.MOST_CURVES` classes it shows those with the
    lowest area.

    Args:
        predictions: of N images.
        metrics: what ``metric_intervals`` or ``compute_metrics`` returned for these predictions;
            computed without intervals unless given.
        title: above the figure.

    Raises:
        ValueError: as ``compute_metrics``.
    """
    one = predictions
    known = metrics or compute_metrics(one.labels, one.probabilities, one.class_names)
    figure, axes, words = _class_curves(one, known, "auc", _draw_roc, "no AUC (one-sided)")
    return _finish_roc(figure, axes, title, f"AUC{words}")


def plot_precision_recall(
    predictions: Predictions,
    *,
    metrics: Mapping[str, Any],
    title: str = "Precision and recall, each class against the rest",
) -> Figure:
    """A figure with one curve a class; the legend holds each average precision.

    Of many classes it shows those with the lowest, as ``plot_roc`` does.

    Args:
        predictions: of N images.
        metrics: what ``metric_intervals`` returned for these predictions.
        title: above the figure.
    """
    drawn, missing = _draw_precision_recall, "no average precision (one-sided)"
    figure, axes, words = _class_curves(predictions, metrics, "average_precision", drawn, missing)
    axes.set(xlabel="Recall (sensitivity)", ylabel="Precision (positive predictive value)")
    return _finish(figure, axes, title, f"Average precision{words}")


def plot_malignant_roc(
    models: Mapping[str, Predictions],
    *,
    areas: Mapping[str, Any],
    points: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "Malignant against benign",
) -> Figure:
    """A figure with one ROC curve a model, and operating points on the first.

    Args:
        models: model -> predictions with malignant scores.
        areas: model -> its AUC, with its interval.
        points: operating point -> ``sensitivity`` and ``specificity`` with intervals.
        title: above the figure.
    """
    figure, axes = _square(len(models) + len(points or {}), diagonal=True)
    for place, (name, one) in enumerate(models.items()):
        label, style, scores = wrap_name(name, 36), line_style(place), one.malignant_scores
        if scores is None or one.positive.all() or not one.positive.any():
            axes.plot([], [], label=f"{label}: no AUC", **style)
        else:
            shown = f"{label}: {format_metric(areas[name])}"
            _draw_roc(axes, one.positive, scores, label=shown, **style)
    for place, (name, point) in enumerate((points or {}).items()):
        sensitivity, specificity = point["sensitivity"]["value"], point["specificity"]["value"]
        if sensitivity is not None and specificity is not None:
            axes.plot(
                [1 - specificity],
                [sensitivity],
                linestyle="",
                marker="os^Dvp*"[place % 7],
                markersize=8,
                color=PALETTE[(place + 1) % len(PALETTE)],
                label=name.replace("_", " "),
            )
    return _finish_roc(figure, axes, title)


def plot_reliability(
    methods: Mapping[str, Sequence[Mapping[str, float]]], *, what: str, title: str = "Calibration"
) -> Figure:
    """A figure of observed against predicted shares; a calibrated model lies on the diagonal.

    Args:
        methods: name -> bins of equally many images, as ``reliability`` returns them.
        what: what the predicted probability is of.
        title: above the figure.
    """
    figure, axes = _square(len(methods), diagonal=True)
    for place, (name, bins) in enumerate(methods.items()):
        axes.plot(
            [entry["score"] for entry in bins],
            [entry["observed"] for entry in bins],
            marker="os^D"[place % 4],
            ms=5,
            linewidth=1.5,
            label=name,
            **line_style(place),
        )
    axes.set(xlabel=f"Predicted probability of {what}", ylabel="Observed share")
    return _finish(figure, axes, title, "Probabilities")


def plot_corruptions(
    corruptions: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    unchanged: Mapping[str, Any],
    name: str,
    heading: str,
) -> Figure:
    """A figure with a panel a corruption: a metric of the model, level by level, with intervals.

    Args:
        corruptions: kind -> ``{"level", name: interval}`` from the mildest level on.
        unchanged: the same metrics on images as they are; drawn as a line across.
        name: of the metric.
        heading: of the metric, in words.
    """
    figure = Figure(figsize=(8.4, 5.6), layout="constrained")
    grid = figure.subplots(2, 2, sharey=True).ravel()
    for place, (axes, (kind, levels)) in enumerate(zip(grid, corruptions.items(), strict=True)):
        known = [entry for entry in levels if entry[name]["value"] is not None]
        places = np.arange(len(known))
        middle = [entry[name]["value"] for entry in known]
        low = [_or(entry[name]["low"], entry[name]["value"]) for entry in known]
        high = [_or(entry[name]["high"], entry[name]["value"]) for entry in known]
        colour = PALETTE[place % len(PALETTE)]
        if unchanged[name]["value"] is not None:
            axes.axhline(unchanged[name]["value"], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
        axes.plot(places, middle, color=colour, marker="o", ms=4)
        axes.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.set_xticks(places, [f"{entry['level']:g}" for entry in known])
        axes.set_title(kind, loc="left", fontsize=10)
        axes.grid(color=GRID, linewidth=0.8)
        finish_figure(figure, axes, f"{heading} on corrupted images")
    return figure


def _class_curves(
    predictions: Predictions, metrics: Mapping[str, Any], metric: str, draw: Drawer, missing: str
) -> tuple[Figure, Axes, str]:
    """A curve a class, whose label holds the metric, or says what is missing; words on the rest."""
    names = predictions.class_names
    true, values = check_predictions(predictions.labels, predictions.probabilities, names)
    drawn, words = lowest_classes(metrics["per_class"], names, metric)
    figure, axes = _square(len(drawn), diagonal=metric == "auc")
    for place, c in enumerate(drawn):
        name = names[c]
        entry, label = metrics["per_class"][name][metric], wrap_name(name, 28)
        known = (entry["value"] if isinstance(entry, Mapping) else entry) is not None
        if known:
            label = f"{label}: {format_metric(entry)}"
            draw(axes, true == c, values[:, c], label=label, **line_style(place))
        else:
            axes.plot([], [], label=f"{label}: {missing}", **line_style(place))
    return figure, axes, words


def _draw_roc(axes: Axes, positive: Flags, scores: Floats, **style: Any) -> None:
    from sklearn.metrics import roc_curve  # takes half a second to import

    false_rate, true_rate, _ = roc_curve(positive, scores)
    axes.plot(false_rate, true_rate, linewidth=1.8, **style)


def _draw_precision_recall(axes: Axes, positive: Flags, scores: Floats, **style: Any) -> None:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(positive, scores)
    # Steps, as the average precision counts them.
    axes.step(recall, precision, where="post", linewidth=1.8, **style)


def _square(entries: int, *, diagonal: bool) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.6, 5.4 + 0.24 * entries), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.grid(color=GRID, linewidth=0.8)
    if diagonal:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
    return figure, axes


def _finish_roc(figure: Figure, axes: Axes, title: str, legend: str = "AUC") -> Figure:
    axes.set_xlabel("1 − specificity (false positive rate)")
    axes.set_ylabel("Sensitivity (true positive rate)")
    return _finish(figure, axes, title, legend)


def _finish(figure: Figure, axes: Axes, title: str, legend_title: str) -> Figure:
    legend = figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    legend.set_title(legend_title)
    legend.set_alignment("left")
    finish_figure(figure, axes, title)
    return figure


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def plot_explanation(images: Sequence[tuple[str, npt.NDArray[np.uint8]]], *, title: str) -> Figure:
    """A figure of images side by side, each with its caption above it."""
    figure = Figure(figsize=(2.1 * len(images), 2.9), layout="constrained")
    for place, (caption, image) in enumerate(images):
        axes = figure.add_subplot(1, len(images), place + 1)
        axes.imshow(image)
        axes.set_axis_off()
        axes.set_title(wrap_text(caption, 26), fontsize=8, loc="left")
    figure.suptitle(wrap_text(title, 80), x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure
