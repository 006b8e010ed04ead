"""Runs on the same images -> which differences between them are real."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfskin.errors import UserError
from tfskin.evaluation.binary import score_metrics
from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.comparison import compare_predictions
from tfskin.evaluation.curve_plots import plot_malignant_roc
from tfskin.evaluation.decision_fit import choose_malignant
from tfskin.evaluation.intervals import metric_intervals
from tfskin.evaluation.metric_table import columns_of, heading_of, metrics_of
from tfskin.evaluation.plots import format_value, save_figure
from tfskin.evaluation.predictions import Predictions, headline_split
from tfskin.evaluation.report import (
    Block,
    Paragraph,
    Plot,
    ReportContent,
    Section,
    Table,
    write_report,
)
from tfskin.experiment.evaluating import stored_config
from tfskin.experiment.run_predictions import run_classes
from tfskin.files import write_json
from tfskin.locks import only_writer
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
    with only_writer(folder):
        return _compare(
            opened, folder, split, Bootstrap(resamples=resamples, confidence=confidence)
        )


def _compare(
    opened: Sequence[Run], folder: Path, split: str | None, bootstrap: Bootstrap
) -> dict[str, Any]:
    names = _check_runs(opened)
    split = split or headline_split(opened[0].metrics()["splits"])
    tables = _read_tables(opened, names, split)
    _warn_of_training_images(opened, names, next(iter(tables.values())), split)
    malignant = _malignant(opened[0])
    models = _read_predictions(tables, opened[0].class_names(), malignant, split)
    first = next(iter(models.values()))
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "split": split,
        "images": len(first),
        "groups": len(np.unique(first.groups)),
        "class_names": first.class_names,
        "malignant": malignant,
        "resamples": bootstrap.resamples,
        "confidence": bootstrap.confidence,
        "runs": {name: metric_intervals(one, bootstrap) for name, one in models.items()},
        "pairs": compare_predictions(models, bootstrap),
    }
    _write(folder, result, _draw(models, bootstrap, split))
    return result


def _malignant(run: Run) -> list[str]:
    """The malignant classes that a run was judged by, or would be; empty where not known."""
    malignant = list(run.decision().malignant)
    return malignant or choose_malignant(run_classes(run), stored_config(run).malignant)


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


def _read_predictions(
    tables: dict[str, pd.DataFrame], classes: list[str], malignant: list[str], split: str
) -> dict[str, Predictions]:
    """Name -> predictions; a cell that is no number, or no probability, is named."""
    found = {}
    for name, table in tables.items():
        labels = np.array([classes.index(label) for label in table["label"]], np.int64)
        numbers = table[classes].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
        groups = table["group"].to_numpy()
        try:
            found[name] = Predictions.of(labels, numbers, classes, groups, malignant=malignant)
        except ValueError as error:
            raise UserError(f"{name}: predictions of {split}: {error}; evaluate it again") from None
    return found


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


def _draw(models: dict[str, Predictions], bootstrap: Bootstrap, split: str) -> list[Plot]:
    """All runs' ROC curves of malignant against benign in one plot."""
    areas = {name: score_metrics(one, bootstrap)["malignant_auc"] for name, one in models.items()}
    if not next(iter(models.values())).malignant:
        return []
    alt = ", ".join(f"{name} {format_value(area)}" for name, area in areas.items())
    figure = plot_malignant_roc(models, areas=areas)
    heading = f"Malignant against benign on {split}"
    return [Plot(heading=heading, figure=figure, alt=f"ROC curves. AUC: {alt}")]


def _content(result: dict[str, Any], plots: list[Plot]) -> ReportContent:
    caption = f"Figures on {result['split']}, {result['images']} images"
    columns = columns_of(metrics_of("summary"))
    table = Table.of(result["runs"], columns, caption=caption, first="Run")
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
                    [heading_of(key), entry, entry["p"], entry["p_holm"], _verdict(entry)]
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
