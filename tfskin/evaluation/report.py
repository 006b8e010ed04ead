"""One self-contained HTML file that says how good a model is, on what, and how to repeat it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from matplotlib.figure import Figure

from tfskin.evaluation.figures import CLASS_FIGURES, SUMMARY_FIGURES
from tfskin.evaluation.plots import format_figure
from tfskin.files import write_text

HEADINGS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "macro_auc": "Macro AUC",
    "macro_average_precision": "Macro AP",
    "macro_partial_auc": "Macro partial AUC",
    "kappa": "Kappa",
    "mcc": "MCC",
    "top2_accuracy": "Top-2 accuracy",
    "top3_accuracy": "Top-3 accuracy",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "ece": "ECE",
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "f1": "F1",
    "auc": "AUC",
    "average_precision": "AP",
    "partial_auc": "Partial AUC",
}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure of the report.

    Attributes:
        heading: above it.
        figure: drawn by :mod:`tfskin.evaluation.plots`.
        alt: what it shows, in words, for those who can't see it.
    """

    heading: str
    figure: Figure
    alt: str


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """What the model learnt from and was judged on.

    Attributes:
        name: of the shards.
        version: of the shards.
        fingerprint: of their content.
        counts: split -> diagnosis or class -> number of images.
        licenses: licence -> number of images; an empty name is shown as unknown.
    """

    name: str
    version: str
    fingerprint: str
    counts: Mapping[str, Mapping[str, int]]
    licenses: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """Everything that a report says.

    Attributes:
        title: of the page.
        splits: split -> what ``bootstrap_intervals`` returned.
        main_split: the one whose classes and members are shown.
        config: the resolved config, as YAML.
        command: the line that repeats the run.
        data: the data card.
        members: member -> what ``bootstrap_intervals`` returned on the main split.
        plots: figures, in their order.
        facts: short facts about the model, such as its name and number of parameters.
        notes: sentences that a reader must know, shown above the figures.
    """

    title: str
    splits: Mapping[str, Mapping[str, Any]]
    main_split: str
    config: str
    command: str
    data: DataCard | None = None
    members: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plots: Sequence[Plot] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def write_report(path: Path | str, *, content: ReportContent) -> None:
    """Write the report as one HTML file, atomically; it loads nothing from anywhere.

    Raises:
        ValueError: ``main_split`` is not among the splits.
    """
    if content.main_split not in content.splits:
        raise ValueError(f"main_split '{content.main_split}' is not in {list(content.splits)}")
    main = content.splits[content.main_split]
    text = _template().render(
        content=content,
        main=main,
        headings=HEADINGS,
        summary_figures=SUMMARY_FIGURES,
        class_figures=CLASS_FIGURES,
        pictures=[(plot, figure_uri(plot.figure)) for plot in content.plots],
        diagnoses=_diagnoses(content.data),
        left_out={HEADINGS[key]: names for key, names in main["left_out"].items() if names},
        any_undefined=any(_undefined(figures) for figures in content.splits.values()),
    )
    write_text(path, text)


def figure_uri(figure: Figure) -> str:
    """A figure as a ``data:`` address of an SVG; the same figure gives the same address."""
    buffer = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tfskin"}):
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = format_figure
    environment.filters["count"] = lambda number: f"{number:,}"
    return environment.get_template("report.html.j2")


def _diagnoses(data: DataCard | None) -> list[str]:
    """Every diagnosis of any split, the most frequent first."""
    totals: dict[str, int] = {}
    for counts in data.counts.values() if data else ():
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
    return sorted(totals, key=lambda name: (-totals[name], name))


def _undefined(figures: Mapping[str, Any]) -> bool:
    entries = [figures[name] for name in SUMMARY_FIGURES]
    for values in figures["per_class"].values():
        entries += [values[name] for name in CLASS_FIGURES]
    return any(entry["undefined"] for entry in entries)
