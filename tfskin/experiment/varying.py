"""One experiment in several variants -> a run each, one table, one plot of curves."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tfskin.config import list_experiments
from tfskin.evaluation.metric_table import metrics_shown
from tfskin.evaluation.plots import format_metric, plot_histories, save_figure
from tfskin.evaluation.predictions import headline_split
from tfskin.experiment.repeating import train_each
from tfskin.files import replace_file
from tfskin.locks import only_writer
from tfskin.schema import ComparisonConfig, ExperimentConfig

COMPARED = [metric.name for metric in metrics_shown("variants")]


@dataclass(frozen=True)
class Variants:
    """Trained variants.

    Attributes:
        folder: holds a run directory each, ``comparison.csv`` and ``comparison.png``.
        split: the split of the figures.
        rows: a row each, figures with their intervals as text.
    """

    folder: Path
    split: str
    rows: list[dict[str, Any]]


def train_variants(
    config: ComparisonConfig,
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
) -> Variants:
    """Train each variant on the same shards with the same seed, and put them side by side.

    A variant that is finished is left as it is, one that was stopped goes on.

    Args:
        config: an experiment and what differs.
        output: the folder of all runs; ``runs/<name>`` unless given.
        overwrite: start every variant afresh.

    Raises:
        UserError: as for :func:`tfskin.experiment.train`.
    """
    folder = Path(output) if output else Path("runs") / config.name
    experiments = list_experiments(config)  # a wrong key is said before anything trains
    with only_writer(folder):
        return _train_variants(config, experiments, folder, overwrite)


def _train_variants(
    config: ComparisonConfig,
    experiments: Mapping[str, ExperimentConfig],
    folder: Path,
    overwrite: bool,
) -> Variants:
    runs = train_each(experiments, folder, overwrite=overwrite)
    metrics = {name: run.metrics() for name, run in runs.items()}
    split = headline_split(next(iter(metrics.values()))["splits"])
    numbers = [_numbers(name, found, split) for name, found in metrics.items()]
    rows = [_shown(row, metrics[row["variant"]]["splits"][split]) for row in numbers]
    with replace_file(folder / "comparison.csv") as temporary:
        pd.DataFrame(numbers).to_csv(temporary, index=False)
    histories = {name: pd.read_csv(run.folder / "history.csv") for name, run in runs.items()}
    save_figure(plot_histories(histories, title=config.name), folder / "comparison.png")
    return Variants(folder, split, rows)


def _numbers(name: str, metrics: dict[str, Any], split: str) -> dict[str, Any]:
    """A row of the CSV: plain numbers, bounds in columns of their own."""
    figures, model, training = metrics["splits"][split], metrics["model"], metrics["training"]
    row = {"variant": name, "split": split, "images": figures["images"]}
    row |= {key: model[key] for key in ("parameters", "flops")}
    row |= {key: training[key] for key in ("epochs", "best_epoch", "minutes")}
    for figure in COMPARED:
        entry = figures[figure]
        row |= {
            figure: entry["value"],
            f"{figure}_low": entry["low"],
            f"{figure}_high": entry["high"],
        }
    return row


def _shown(numbers: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    """A row of the table on the terminal: figures with their intervals as text."""
    keys = ("variant", "images", "parameters", "best_epoch", "minutes")
    texts = {figure: format_metric(figures[figure]) for figure in COMPARED}
    return {key: numbers[key] for key in keys} | texts
