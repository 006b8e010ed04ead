"""The tables of several runs on the terminal."""

from typing import TYPE_CHECKING, Any

from tfskin.cli.common import print_rows

if TYPE_CHECKING:
    from tfskin.experiment.repeating import SeveralRuns

MONITORED = {"auc": "macro AUC", "f1": "macro F1", "balanced_accuracy": "balanced accuracy"}
"""What a monitor is called, where its key is no word."""


def print_several(found: "SeveralRuns", *, monitor: str) -> None:
    """One table a split: each run with mean and spread, or each setting of a sweep."""
    sweep = len(found.summary) > 1
    for split in found.splits:
        if sweep:
            rows = [_setting(row, split, monitor) for row in found.summary]
            best = MONITORED.get(monitor, monitor)
            order = f"best {best} first" if split == "val" else "in the order of val"
            title = f"{found.folder} on {split}, {order}"
        else:
            rows = [_run(row, split) for row in found.rows]
            rows += [_overall(found.summary[0], split, part) for part in ("mean", "spread")]
            title = f"{found.folder} on {split}"
        print_rows(rows, title=title)
    print(f"tables: {found.folder / 'runs.csv'}, {found.folder / 'summary.csv'}")
    if (found.folder / "ensemble.yaml").is_file():
        print(f"as an ensemble: tfskin-ensemble {found.folder / 'ensemble.yaml'}")


def _setting(row: dict[str, Any], split: str, monitor: str) -> dict[str, str]:
    """The keys of a setting, then ``mean ± spread`` of each figure."""
    end = list(row).index("runs")
    cells = {key: str(value) for key, value in list(row.items())[:end]}
    headings = list(_headings().values())
    if monitor == "loss":
        headings.insert(0, "val loss")
    if row["failed"]:
        return cells | dict.fromkeys(headings, "-") | {headings[0]: "failed"}
    if monitor == "loss":
        cells["val loss"] = _number(row[monitor], row[f"{monitor}_spread"])
    for figure, heading in _headings().items():
        name = f"{split}_{figure}"
        cells[heading] = _number(row[name], row[f"{name}_spread"])
    return cells


def _run(row: dict[str, Any], split: str) -> dict[str, str]:
    figures = {heading: _number(row[f"{split}_{key}"]) for key, heading in _headings().items()}
    return {"run": row["run"], "best epoch": str(row["best_epoch"])} | figures


def _overall(row: dict[str, Any], split: str, part: str) -> dict[str, str]:
    end = "_spread" if part == "spread" else ""
    figures = {heading: _number(row[f"{split}_{key}{end}"]) for key, heading in _headings().items()}
    return {"run": part, "best epoch": ""} | figures


def _headings() -> dict[str, str]:
    """Metric -> its heading in these tables."""
    from tfskin.evaluation.metric_table import metrics_shown

    return {metric.name: metric.short for metric in metrics_shown("repeats")}


def _number(value: float | None, spread: float | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" ± {spread:.3f}" if spread is not None else "")
