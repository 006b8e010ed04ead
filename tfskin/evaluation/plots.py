"""Plots of counts and of trainings, and the house style of all plots.

Matplotlib's object-oriented side only: nothing is registered with pyplot, so no figure has to be
closed and no display is needed. Colours are Okabe and Ito's, told apart by colour-blind readers,
with a different line style for each repetition of the palette.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from tfskin.files import replace_file

INK, MUTED, GRID = "#1f2933", "#616e7c", "#e4e7eb"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D")
LINE_STYLES = ("-", "--", ":")
SHADES = LinearSegmentedColormap.from_list("tfskin", ["#ffffff", "#bcd9ec", "#4a97c9", "#08467a"])

MOST_NAMED = 40
"""Classes up to which a confusion matrix names each; more could not be read."""

MOST_CURVES = 20
"""Curves of classes that one figure holds."""

_MOST_PIXELS = 6000  # of the longer side of a figure, whatever it holds

# A panel's title, the column of the training images and the column of the val images.
CURVES = (
    ("Loss", "loss", "val_loss"),
    ("Macro AUC", "auc", "val_auc"),
    ("Balanced accuracy", "balanced_accuracy", "val_balanced_accuracy"),
    ("Learning rate", "learning_rate", None),
)


def plot_confusion_matrix(
    matrix: npt.ArrayLike, class_names: Sequence[str], *, title: str = "Confusion matrix"
) -> Figure:
    """A figure of the counts, shaded by the share of the true class's images.

    Of more than :data:`MOST_NAMED` classes it shows the shades alone, by the classes' numbers.

    Args:
        matrix: (C, C) counts, rows the true class and columns the predicted one.
        class_names: C names.
        title: above the figure.

    Raises:
        ValueError: the matrix is not (C, C).
    """
    counts = np.asarray(matrix)
    size = len(class_names)
    if counts.shape != (size, size):
        raise ValueError(f"a confusion matrix of shape {counts.shape} for {size} class names")
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    is_named = size <= MOST_NAMED
    side = max(4.2, 1.9 + 0.68 * size) if is_named else 11.0
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
    if is_named:
        _name_cells(axes, counts, shares, class_names)
        axes.set_xlabel("Predicted class")
        axes.set_ylabel("True class")
    else:
        axes.set_xlabel(f"Predicted class, by its number from 0 to {size - 1}")
        axes.set_ylabel("True class")
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, format="{x:.0%}")
    bar.set_label("Share of the true class")
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, labelsize=9)
    finish_figure(figure, axes, title)
    return figure


def _name_cells(
    axes: Axes,
    counts: npt.NDArray[Any],
    shares: npt.NDArray[Any],
    class_names: Sequence[str],
) -> None:
    """Write its count into each cell, and their names beside rows and columns."""
    size, totals = len(class_names), counts.sum(axis=1)
    names = [wrap_name(name) for name in class_names]
    for (row, column), count in np.ndenumerate(counts):
        share = float(shares[row, column])
        text = f"{count:,}\n{_percent(share)}" if count else "0"
        colour = "white" if share > 0.55 else INK if count else MUTED
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
    turned = max(map(len, class_names)) > 6 and size > 3
    axes.set_xticks(
        range(size),
        names,
        rotation=40 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
    )
    rows = [f"{name}\nn = {total:,}" for name, total in zip(names, totals, strict=True)]
    axes.set_yticks(range(size), rows)
    axes.set_xticks(np.arange(size - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(size - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)


def lowest_classes(
    per_class: Mapping[str, Mapping[str, Any]], class_names: Sequence[str], metric: str
) -> tuple[list[int], str]:
    """The classes whose curves are drawn, in their order, and ``" (the 20 lowest of 300)"``.

    All of them, and no words, unless they are more than :data:`MOST_CURVES`. Classes without a
    value come last.
    """
    if len(class_names) <= MOST_CURVES:
        return list(range(len(class_names))), ""

    def value(place: int) -> float:
        entry = per_class[class_names[place]][metric]
        found = entry["value"] if isinstance(entry, Mapping) else entry
        return float("inf") if found is None else float(found)

    drawn = sorted(sorted(range(len(class_names)), key=value)[:MOST_CURVES])
    return drawn, f" (the {MOST_CURVES} lowest of {len(class_names):,})"


def plot_curves(history: pd.DataFrame, *, title: str = "Training") -> Figure:
    """A figure of what a run's ``history.csv`` tells, epoch by epoch, training against val.

    Args:
        history: columns ``epoch`` (numbered by row where missing), ``loss``, ``val_loss``,
            ``auc``, ``val_auc``, ``balanced_accuracy``, ``val_balanced_accuracy`` and
            ``learning_rate``; a panel is drawn for what is there.
        title: above the figure.

    Raises:
        ValueError: no epoch, or none of the columns.
    """
    panels = [panel for panel in CURVES if {panel[1], panel[2]} & set(history.columns)]
    if not panels or history.empty:
        raise ValueError(f"no training curves in columns {list(history.columns)}")
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(8.4, 0.6 + 2.6 * rows), layout="constrained")
    grid = figure.subplots(rows, min(2, len(panels)), squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for axes, (heading, train, val) in zip(grid, panels, strict=False):
        _draw_curves(axes, history, train, val)
        axes.set_title(heading, loc="left", fontsize=10, color=INK)
        finish_figure(figure, axes, title)
    return figure


def plot_histories(histories: dict[str, pd.DataFrame], *, title: str) -> Figure:
    """A figure of several trainings: val loss and val macro AUC by epoch, one line each.

    Args:
        histories: name -> columns ``epoch``, ``val_loss`` and ``val_auc``.
        title: above the figure.

    Raises:
        ValueError: no history.
    """
    if not histories:
        raise ValueError("no histories to draw")
    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, heading, column in zip(
        panels, ("Val loss", "Val macro AUC"), ("val_loss", "val_auc"), strict=True
    ):
        for number, (name, history) in enumerate(histories.items()):
            axes.plot(
                history["epoch"],
                pd.to_numeric(history[column], errors="coerce"),
                marker="o" if len(history) < 20 else None,
                ms=3.5,
                label=name.replace("$", r"\$"),
                **line_style(number),
            )
        axes.set_title(heading, loc="left", fontsize=10, color=INK)
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color=GRID, linewidth=0.8)
        finish_figure(figure, axes, title)
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside right center", frameon=False, fontsize=9)
    return figure


def save_figure(figure: Figure, path: Path | str, *, dots_per_inch: int = 150) -> None:
    """Write a figure, atomically, in the format that the suffix of ``path`` names.

    The same figure gives the same bytes: an SVG carries no date and no random identifiers. No
    side has more than 6,000 pixels.
    """
    with (
        replace_file(path) as temporary,
        matplotlib.rc_context({"svg.hashsalt": "tfskin"}),
    ):
        metadata = {"Date": None} if temporary.suffix == ".svg" else None
        show_names_as_they_are(figure)
        most = _MOST_PIXELS / max(figure.get_size_inches())
        figure.savefig(
            temporary, dpi=min(dots_per_inch, most), facecolor="white", metadata=metadata
        )


def show_names_as_they_are(figure: Figure) -> None:
    """Take no name of a class or file for a formula, whatever ``$`` is in it."""
    for text in figure.findobj(Text):
        # Of a logarithmic axis, numbers are formulas, made when it is drawn.
        if text.get_text() and "\\mathdefault" not in text.get_text():
            text.set_parse_math(False)


def format_metric(metric: float | dict[str, Any] | None, *, digits: int = 3) -> str:
    """``0.912``, or ``0.912 (0.880–0.941)`` with an interval, or a dash without a value."""
    entry = metric if isinstance(metric, dict) else {"value": metric}
    if entry["value"] is None:
        return "–"
    text = f"{entry['value']:.{digits}f}"
    if entry.get("low") is None or entry.get("high") is None:
        return text
    return f"{text} ({entry['low']:.{digits}f}–{entry['high']:.{digits}f})"


def format_value(metric: Mapping[str, Any]) -> str:
    """``0.912`` without the interval, or "none" without a value."""
    return "none" if metric["value"] is None else f"{metric['value']:.3f}"


def _draw_curves(axes: Axes, history: pd.DataFrame, train: str, val: str | None) -> None:
    epochs = np.asarray(history.get("epoch", np.arange(1, len(history) + 1)))
    for column, label, colour, style in (
        (train, "train", PALETTE[0], "--"),
        (val, "val", PALETTE[1], "-"),
    ):
        if column in history.columns:
            values = pd.to_numeric(history[column], errors="coerce")
            # A single epoch has no line: it needs its marker.
            marker = "o" if len(history) < 20 else None
            axes.plot(
                epochs, values, color=colour, linestyle=style, marker=marker, ms=3.5, label=label
            )
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(history) == 1:
        axes.set_xlim(float(epochs[0]) - 0.6, float(epochs[0]) + 0.6)
    axes.grid(color=GRID, linewidth=0.8)
    if val is not None:
        axes.legend(frameon=False, fontsize=9)


def line_style(place: int) -> dict[str, Any]:
    """Colour and dashes of the line at a place: the palette, then again with other dashes."""
    return {
        "color": PALETTE[place % len(PALETTE)],
        "linestyle": LINE_STYLES[place // len(PALETTE) % len(LINE_STYLES)],
    }


def finish_figure(figure: Figure, axes: Axes, title: str) -> None:
    """The house style: ink instead of black, no box, the title at the left."""
    figure.suptitle(title, x=0.02, ha="left", fontsize=12, fontweight="bold", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(10)


def _percent(share: float) -> str:
    """Whole per cent; a few among many are not rounded to none, nor most to all."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def wrap_name(name: str, width: int = 16) -> str:
    """A class name on lines of ``width``, cut after two lines; ``$`` starts no formula."""
    return wrap_text(name.replace("_", " "), width)


def wrap_text(text: str, width: int) -> str:
    """A text as it is, on lines of ``width``, cut after two lines; ``$`` starts no formula."""
    lines = textwrap.fill(text, width, max_lines=2, placeholder=" …")
    return lines.replace("$", r"\$")
