"""More figures for people: precision-recall, calibration, corruption, several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfskin.evaluation.figures import Floats
from tfskin.evaluation.metrics import check_predictions
from tfskin.evaluation.plots import (
    GRID,
    LINE_STYLES,
    MUTED,
    PALETTE,
    finish_figure,
    format_figure,
    lowest_classes,
    wrap_name,
    wrap_text,
)


def plot_precision_recall(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    class_names: Sequence[str],
    *,
    figures: Mapping[str, Any],
    title: str = "Precision and recall, each class against the rest",
) -> Figure:
    """A figure with one curve a class; the legend holds each average precision.

    Of many classes it shows those with the lowest, as ``plot_roc`` does.

    Args:
        labels: (N,) integers.
        probabilities: (N, C) floats; each row sums to 1.
        class_names: C names.
        figures: what ``bootstrap_intervals`` returned for these predictions.
        title: above the figure.
    """
    from sklearn.metrics import precision_recall_curve

    true, values = check_predictions(labels, probabilities, class_names)
    drawn, words = lowest_classes(figures["per_class"], class_names, "average_precision")
    figure, axes = _square(len(drawn))
    for place, c in enumerate(drawn):
        name = class_names[c]
        entry = figures["per_class"][name]["average_precision"]
        label = f"{wrap_name(name, 28)}: {format_figure(entry)}"
        if (true == c).any():
            precision, recall, _ = precision_recall_curve(true == c, values[:, c])
            # Steps, as the average precision counts them.
            axes.step(recall, precision, where="post", linewidth=1.8, label=label, **_style(place))
        else:
            axes.plot([], [], label=f"{wrap_name(name, 28)}: no image", **_style(place))
    axes.set_xlabel("Recall (sensitivity)")
    axes.set_ylabel("Precision (positive predictive value)")
    _legend(figure, f"Average precision{words}")
    finish_figure(figure, axes, title)
    return figure


def plot_malignant_roc(
    curves: Mapping[str, tuple[npt.NDArray[np.bool_], Floats]],
    *,
    areas: Mapping[str, Any],
    points: Mapping[str, Mapping[str, Any]] | None = None,
    title: str = "Malignant against benign",
) -> Figure:
    """A figure with one ROC curve a model, and operating points on the first.

    Args:
        curves: model -> (N,) whether malignant, (N,) scores.
        areas: model -> its AUC, with its interval.
        points: operating point -> ``sensitivity`` and ``specificity`` with intervals.
        title: above the figure.
    """
    from sklearn.metrics import roc_curve

    figure, axes = _square(len(curves) + len(points or {}))
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
    for place, (name, (positive, scores)) in enumerate(curves.items()):
        label = f"{wrap_name(name, 36)}: {format_figure(areas[name])}"
        if positive.all() or not positive.any():
            axes.plot([], [], label=f"{wrap_name(name, 36)}: no AUC", **_style(place))
            continue
        false_rate, true_rate, _ = roc_curve(positive, scores)
        axes.plot(false_rate, true_rate, linewidth=1.8, label=label, **_style(place))
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
    axes.set_xlabel("1 − specificity (false positive rate)")
    axes.set_ylabel("Sensitivity (true positive rate)")
    _legend(figure, "AUC")
    finish_figure(figure, axes, title)
    return figure


def plot_reliability(
    methods: Mapping[str, Sequence[Mapping[str, float]]], *, what: str, title: str = "Calibration"
) -> Figure:
    """A figure of observed against predicted shares; a calibrated model lies on the diagonal.

    Args:
        methods: name -> bins of equally many images, as ``reliability`` returns them.
        what: what the predicted probability is of.
        title: above the figure.
    """
    figure, axes = _square(len(methods))
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (2, 3)))
    for place, (name, bins) in enumerate(methods.items()):
        axes.plot(
            [entry["score"] for entry in bins],
            [entry["observed"] for entry in bins],
            marker="os^D"[place % 4],
            ms=5,
            linewidth=1.5,
            label=name,
            **_style(place),
        )
    axes.set_xlabel(f"Predicted probability of {what}")
    axes.set_ylabel("Observed share")
    _legend(figure, "Probabilities")
    finish_figure(figure, axes, title)
    return figure


def plot_corruptions(
    corruptions: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    unchanged: Mapping[str, Any],
    name: str,
    heading: str,
) -> Figure:
    """A figure with a panel a corruption: a figure of the model, level by level, with intervals.

    Args:
        corruptions: kind -> ``{"level", name: interval}`` from the mildest level on.
        unchanged: the same figures on pictures as they are; drawn as a line across.
        name: of the figure.
        heading: of the figure, in words.
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
        finish_figure(figure, axes, f"{heading} on corrupted pictures")
    return figure


def _square(entries: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.6, 5.4 + 0.24 * entries), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.grid(color=GRID, linewidth=0.8)
    return figure, axes


def _style(place: int) -> dict[str, Any]:
    return {
        "color": PALETTE[place % len(PALETTE)],
        "linestyle": LINE_STYLES[place // len(PALETTE) % len(LINE_STYLES)],
    }


def _legend(figure: Figure, title: str) -> None:
    legend = figure.legend(loc="outside lower center", frameon=False, fontsize=9, title=title)
    legend.set_alignment("left")


def _or(value: float | None, other: float) -> float:
    return other if value is None else value


def plot_explanation(
    pictures: Sequence[tuple[str, npt.NDArray[np.uint8]]], *, title: str
) -> Figure:
    """A figure of pictures side by side, each with its caption above it."""
    figure = Figure(figsize=(2.1 * len(pictures), 2.9), layout="constrained")
    for place, (caption, picture) in enumerate(pictures):
        axes = figure.add_subplot(1, len(pictures), place + 1)
        axes.imshow(picture)
        axes.set_axis_off()
        axes.set_title(wrap_text(caption, 26), fontsize=8, loc="left")
    figure.suptitle(wrap_text(title, 80), x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure
