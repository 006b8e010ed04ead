"""Runs on the same images -> which differences between them are real."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfskin.errors import UserError
from tfskin.evaluation.binary import ranking_intervals
from tfskin.evaluation.comparison import compare_predictions
from tfskin.evaluation.curve_plots import plot_malignant_roc
from tfskin.evaluation.decision_fit import choose_malignant
from tfskin.evaluation.figures import SUMMARY_FIGURES
from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import check_predictions
from tfskin.evaluation.plots import save_figure
from tfskin.evaluation.report import (
    Block,
    Paragraph,
    Plot,
    ReportContent,
    Section,
    Table,
    write_report,
)
from tfskin.evaluation.report_sections import HEADINGS
from tfskin.evaluation.resampling import Resampling
from tfskin.experiment.evaluation_run import headline_split, run_classes, stored_config
from tfskin.files import write_json
from tfskin.runs import SCHEMA_VERSION, Run, open_run

logger = logging.getLogger(__name__)

RESAMPLES = 2000


def compare(
    runs: Sequence[Run | Path | str],
    *,
    output: Path | str = "comparison",
    split: str | None = None,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """The figures of runs on the same images, and every pair's differences.

    Reads ``predictions/<split>.csv`` of each run, and writes ``comparison.json``, ``roc.png`` and
    ``report.html`` into ``output``. See :func:`tfskin.evaluation.comparison.compare_predictions`.

    Args:
        runs: two run directories or more.
        output: the folder that is written.
        split: whose predictions; the first run's headline split unless given.
        resamples: of the bootstrap.
        confidence: coverage of the intervals.

    Raises:
        UserError: fewer than two runs, one twice, an unfinished one, runs with other classes,
            other images or other labels.

    Example:
        >>> pair = tfskin.compare(["runs/first", "runs/second"], output="pair")
        >>> 0 <= pair["pairs"][0]["figures"]["macro_auc"]["p_holm"] <= 1
        True
    """
    opened = [run if isinstance(run, Run) else open_run(run) for run in runs]
    folder = Path(output)
    if (folder / "inputs.json").is_file():
        raise UserError(f"{folder}: is a run; choose another --output")
    names = _check_runs(opened)
    split = split or headline_split(opened[0].metrics())
    tables = _read_tables(opened, names, split)
    first, classes = next(iter(tables.values())), opened[0].class_names()
    _warn_of_training_images(opened, names, first, split)
    labels = np.array([classes.index(label) for label in first["label"]], np.int64)
    groups = first["group"].to_numpy()
    values = _check_values(tables, labels, classes, split)
    options: dict[str, Any] = {"resamples": resamples, "confidence": confidence}
    malignant = list(opened[0].decision().malignant)
    if not malignant:
        given = stored_config(opened[0]).malignant
        malignant = choose_malignant(run_classes(opened[0]), given)
    columns = [classes.index(name) for name in malignant]
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "split": split,
        "images": len(labels),
        "groups": len(np.unique(groups)),
        "class_names": classes,
        "malignant": malignant,
        **options,
        "runs": {
            name: bootstrap_intervals(labels, table, groups, classes, **options)
            for name, table in values.items()
        },
        "pairs": compare_predictions(labels, values, groups, malignant=columns, **options),
    }
    _write(folder, result, _draw(labels, values, groups, columns, result))
    return result


def _write(folder: Path, result: dict[str, Any], plots: list[Plot]) -> None:
    if plots:
        save_figure(plots[0].figure, folder / "roc.png")
    write_report(folder / "report.html", content=_content(result, plots))
    write_json(folder / "comparison.json", result)


def _check_runs(runs: Sequence[Run]) -> list[str]:
    """A name for each run: its folder's, or its path where two folders have one name."""
    if len(runs) < 2:
        raise UserError("give two runs or more to compare")
    if len({run.folder.resolve() for run in runs}) < len(runs):
        raise UserError("a run is given twice; runs that are compared must differ")
    for run in runs:
        if not run.finished:
            raise UserError(f"{run.folder}: is not finished; tfskin-train --resume {run.folder}")
        if run.class_names() != runs[0].class_names():
            raise UserError(
                f"{runs[0].folder} and {run.folder}: their classes differ: "
                f"{runs[0].class_names()} and {run.class_names()}"
            )
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def _read_tables(runs: Sequence[Run], names: Sequence[str], split: str) -> dict[str, pd.DataFrame]:
    """Name -> predictions, all in the order of the first run's images."""
    tables: dict[str, pd.DataFrame] = {}
    for run, name in zip(runs, names, strict=True):
        path = run.folder / "predictions" / f"{split}.csv"
        if not path.is_file():
            raise UserError(f"{path}: no predictions; run tfskin-evaluate {run.folder}")
        table = run.predictions(split).set_index("image_id", drop=False)
        if tables:
            first = next(iter(tables.values()))
            odd = sorted(set(first.index) ^ set(table.index))
            if odd:
                raise UserError(
                    f"{runs[0].folder} and {run.folder}: were judged on other images of {split} "
                    f"(such as '{odd[0]}'); compare runs of the same shards"
                )
            table = table.loc[first.index]
            other = first["label"].to_numpy() != table["label"].to_numpy()
            if other.any():
                image = first.index[int(np.argmax(other))]
                raise UserError(f"{path}: image '{image}' has another label than in {names[0]}")
        tables[name] = table
    return tables


def _check_values(
    tables: dict[str, pd.DataFrame], labels: np.ndarray, classes: list[str], split: str
) -> dict[str, np.ndarray]:
    """Name -> (N, C) probabilities; a cell that is no number, or no probability, is named."""
    values = {}
    for name, table in tables.items():
        numbers = table[classes].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
        try:
            _, values[name] = check_predictions(labels, numbers, classes)
        except ValueError as error:
            raise UserError(f"{name}: predictions of {split}: {error}; evaluate it again") from None
    return values


def _warn_of_training_images(
    runs: Sequence[Run],
    names: Sequence[str],
    first: pd.DataFrame,
    split: str,
) -> None:
    for run, name in zip(runs, names, strict=True):
        if split == "train" or not (run.folder / "predictions" / "train.csv").is_file():
            continue
        seen = set(run.predictions("train")["image_id"]) & set(first["image_id"])
        if seen:
            logger.warning(f"{name} was trained on {len(seen)} of these images: it looks too good")


def _draw(
    labels: np.ndarray,
    values: dict[str, np.ndarray],
    groups: np.ndarray,
    columns: list[int],
    result: dict[str, Any],
) -> list[Plot]:
    """All runs' ROC curves of malignant against benign on one picture."""
    if not columns:
        return []
    positive = np.isin(labels, columns)
    scores = {name: table[:, columns].sum(axis=1) for name, table in values.items()}
    resampling = Resampling.of(positive.astype(int), groups, resamples=result["resamples"])
    areas = {
        name: ranking_intervals(positive, one, resampling, confidence=result["confidence"])["auc"]
        for name, one in scores.items()
    }
    figure = plot_malignant_roc(
        {name: (positive, one) for name, one in scores.items()}, areas=areas
    )
    alt = ", ".join(
        f"{name} {'none' if area['value'] is None else format(area['value'], '.3f')}"
        for name, area in areas.items()
    )
    heading = f"Malignant against benign on {result['split']}"
    return [Plot(heading=heading, figure=figure, alt=f"ROC curves. AUC: {alt}")]


def _content(result: dict[str, Any], plots: list[Plot]) -> ReportContent:
    figures = list(SUMMARY_FIGURES)
    rows = [[name, *(one[key] for key in figures)] for name, one in result["runs"].items()]
    table = Table(
        caption=f"Figures on {result['split']}, {result['images']} images",
        headings=["Run", *(HEADINGS[key] for key in figures)],
        rows=rows,
    )
    blocks: list[Block] = [table, *plots]
    pairs: list[Block] = [
        Paragraph(
            text=f"First minus second, on the same {result['resamples']:,} resamples of the same "
            f"{result['groups']:,} groups. p is corrected for the number of pairs (Holm); a "
            f"difference is real where it is below {1 - result['confidence']:.2g}. Many figures "
            "are compared: one that stands alone may be chance."
        )
    ]
    for pair in result["pairs"]:
        pairs.append(
            Table(
                caption=f"{pair['first']} minus {pair['second']}",
                headings=["Figure", "Difference", "p", "p corrected", "Real"],
                rows=[
                    [HEADINGS[key], entry, entry["p"], entry["p_holm"], _verdict(entry)]
                    for key, entry in pair["figures"].items()
                ],
            )
        )
        test = pair["delong"]
        if test is not None and test["p"] is not None:
            text = (
                f"DeLong's test of the malignant AUC, clustered by group: {test['auc_first']:.3f} "
                f"against {test['auc_second']:.3f}, difference {test['difference']:.3f} (standard "
                f"error {test['standard_error']:.3f}), p = {test['p']:.3f}."
            )
            pairs.append(Paragraph(text=text))
    title = f"Comparison of {', '.join(result['runs'])}"
    sections = [
        Section(heading="Runs", blocks=blocks),
        Section(heading="Differences", blocks=pairs),
    ]
    return ReportContent(title=title, sections=sections)


def _verdict(entry: dict[str, Any]) -> str | None:
    return None if entry["real"] is None else "yes" if entry["real"] else "no"
