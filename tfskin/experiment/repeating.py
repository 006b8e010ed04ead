"""One experiment, or its variants, several times: folds, seeds, a grid of settings; one table."""

import itertools
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfskin.config import change_config, dump_config
from tfskin.datasets.folds import fold_number
from tfskin.datasets.shards import load_shards
from tfskin.errors import DivergenceError, UserError
from tfskin.evaluation.metric_table import metrics_shown
from tfskin.experiment.fitting.job import refuse_distribution
from tfskin.experiment.training import train
from tfskin.files import replace_file, write_json, write_text
from tfskin.locks import only_writer
from tfskin.runs import Run
from tfskin.schema import ComparisonConfig, EnsembleConfig, ExperimentConfig
from tfskin.training.options import Repeats

logger = logging.getLogger(__name__)

_VARIANT = "variant"
REPORTED = [metric.name for metric in metrics_shown("repeats")]


@dataclass(frozen=True)
class SeveralRuns:
    """Finished runs and their summary.

    Attributes:
        folder: holds a run directory each, ``runs.csv``, ``summary.csv`` and ``summary.json``.
        splits: the splits that are reported: val and test, or for a sweep val alone.
        rows: a row of numbers for each run.
        summary: a row for each variant and combination of settings with mean and spread (the
            standard deviation between runs, n - 1) of its folds and seeds; where there are several,
            sorted by the monitor on val, the best first.
    """

    folder: Path
    splits: tuple[str, ...]
    rows: list[dict[str, Any]]
    summary: list[dict[str, Any]]


@dataclass(frozen=True)
class _Member:
    """One of the runs: its settings by key, and which repetition it is."""

    settings: dict[str, str]
    repetition: dict[str, int]
    overrides: list[str]

    @property
    def source(self) -> str:
        """Where its overrides come from, as an error names it."""
        swept = [f"{key}={value}" for key, value in self.settings.items() if key != _VARIANT]
        if swept:
            return "--sweep " + ", ".join(swept)
        return f"variants: {self.settings.get(_VARIANT, self.name)}"

    @property
    def name(self) -> str:
        parts = [
            value if key == _VARIANT else f"{key.rpartition('.')[2]}-{value}"
            for key, value in self.settings.items()
        ]
        parts += [f"{word}{number}" for word, number in self.repetition.items()]
        return re.sub(r"[^A-Za-z0-9._-]+", "_", "__".join(parts)).strip("_")


def train_several(
    config: ExperimentConfig,
    repeats: Repeats,
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
) -> SeveralRuns:
    """Train an experiment for each fold, seed and combination of settings; one table of all.

    Of a file with variants, each variant is trained for each of them.

    A run that is finished is left as it is, one that was stopped goes on. In a sweep a setting
    whose loss becomes NaN is reported as failed and the others go on. Folds and seeds leave an
    ``ensemble.yaml`` for ``tfskin-ensemble``. A sweep shows val alone: whoever chooses by the
    test split has none left.

    Args:
        config: the experiment, or one in several variants.
        repeats: which runs.
        output: the folder of all; ``runs/<name>-folds``, ``-seeds`` or ``-sweep`` unless given.
        overwrite: start every run afresh.

    Raises:
        UserError: as for :func:`tfskin.experiment.train`; shards with another number of folds.
    """
    members = _plan(config, repeats)
    if repeats.folds is not None:
        _check_folds(config, repeats.folds)
    experiments = {
        name: change_config(
            config, member.overrides, name=f"{config.name}-{name}", source=member.source
        )
        for name, member in members.items()
    }
    folder = Path(output) if output else Path("runs") / f"{config.name}-{_kind(repeats)}"
    with only_writer(folder):
        return _train_several(config, repeats, members, experiments, folder, overwrite)


def _train_several(
    config: ExperimentConfig,
    repeats: Repeats,
    members: Mapping[str, _Member],
    experiments: Mapping[str, ExperimentConfig],
    folder: Path,
    overwrite: bool,
) -> SeveralRuns:
    failures: dict[str, str] | None = {} if repeats.sweep else None
    runs = train_each(experiments, folder, overwrite=overwrite, failures=failures)
    monitor = config.train.monitor
    rows = [
        _row(name, members[name], runs.get(name), monitor, bool(repeats.sweep)) for name in members
    ]
    for row in rows:
        row["failed"] = (failures or {}).get(row["run"])
    splits = ("val",) if repeats.sweep else _reported(rows)
    keys = list(next(iter(members.values())).settings)
    found = SeveralRuns(folder, splits, rows, _summarise(rows, keys, splits, monitor))
    _write(found, config, list(runs), ready=not keys)
    return found


def train_each(
    experiments: Mapping[str, ExperimentConfig],
    folder: Path,
    *,
    overwrite: bool = False,
    failures: dict[str, str] | None = None,
) -> dict[str, Run]:
    """Name -> finished run in ``folder/<name>``; finished ones are left, stopped ones go on.

    Args:
        experiments: name -> experiment.
        folder: of all runs.
        overwrite: start each afresh.
        failures: where the name and reason of a training is put whose loss, weights or outputs
            became NaN or infinite; unless given, the first one ends all.
    """
    for experiment in experiments.values():
        refuse_distribution(experiment, "a command that trains several runs", mirrored=True)
    runs = {}
    for number, (name, experiment) in enumerate(experiments.items(), start=1):
        logger.info(f"{name} ({number} of {len(experiments)}):")
        try:
            runs[name] = train(experiment, output=folder / name, overwrite=overwrite)
        except DivergenceError as error:
            if failures is None:
                raise
            logger.info(f"{name}: failed: {error}")
            failures[name] = str(error)
    return runs


def _plan(config: ExperimentConfig, repeats: Repeats) -> dict[str, _Member]:
    """Name -> run, settings in the outer loops."""
    variants: Mapping[str, Sequence[str]] = {"": ()}
    if isinstance(config, ComparisonConfig):
        variants = config.variants
    combinations = itertools.product(*(values for values in repeats.sweep.values()))
    folds: list[int | None] = [None] if repeats.folds is None else list(range(repeats.folds))
    seeds: list[int | None] = [None]
    if repeats.seeds is not None:
        seeds = [config.seed + number for number in range(repeats.seeds)]
    members: dict[str, _Member] = {}
    for variant, values, fold, seed in itertools.product(variants, combinations, folds, seeds):
        settings = dict(zip(repeats.sweep, values, strict=True))
        overrides = [*variants[variant], *(f"{k}={json.dumps(v)}" for k, v in settings.items())]
        repetition = {}
        for word, key, number in (("fold", "data.fold", fold), ("seed", "seed", seed)):
            if number is not None:
                repetition[word] = number
                overrides.append(f"{key}={number}")
        shown = {_VARIANT: variant} if variant else {}
        shown |= {key: _show(value) for key, value in settings.items()}
        member = _Member(shown, repetition, overrides)
        if member.name in members:
            raise UserError(f"--sweep: two runs would be called '{member.name}'; give other values")
        members[member.name] = member
    return members


def _kind(repeats: Repeats) -> str:
    if repeats.sweep:
        return "sweep"
    return "folds" if repeats.folds is not None else "seeds"


def _check_folds(config: ExperimentConfig, folds: int) -> None:
    if config.data.fold is not None:
        raise UserError("--folds trains every fold; leave data.fold out")
    shards = load_shards(config.data.shards)
    there = sum(fold_number(split) is not None for split in shards.counts)
    if there != folds:
        hint = f"give --folds {there}, or prepare" if there else "prepare"
        raise UserError(
            f"{shards.folder}: holds {there or 'no'} folds, and not {folds}; {hint} them again "
            f"with tfskin-prepare ... --folds {folds}"
        )


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _row(
    name: str, member: _Member, run: Run | None, monitor: str, only_val: bool
) -> dict[str, Any]:
    """Plain numbers of one run."""
    row: dict[str, Any] = {"run": name, **member.settings, **member.repetition}
    if run is None:
        return row
    metrics = run.metrics()
    training = metrics["training"]
    history = pd.read_csv(run.folder / "history.csv")
    row |= {key: training[key] for key in ("best_epoch", "epochs", "minutes")}
    reached = float(history[f"val_{monitor}"][training["best_epoch"] - 1])
    row[monitor] = reached if np.isfinite(reached) else None
    for split in ("val",) if only_val else ("val", "test"):
        if split in metrics["splits"]:
            figures = metrics["splits"][split]
            row |= {f"{split}_{figure}": figures[figure]["value"] for figure in REPORTED}
    return row


def _reported(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(split for split in ("val", "test") if f"{split}_{REPORTED[0]}" in rows[0])


def _summarise(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], splits: Sequence[str], monitor: str
) -> list[dict[str, Any]]:
    """A row for each combination of settings: mean and spread over its runs."""
    cells: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        cells.setdefault(tuple(row[key] for key in keys), []).append(row)
    names = [monitor, *(f"{split}_{figure}" for split in splits for figure in REPORTED)]
    summary = []
    for values, of_cell in cells.items():
        cell = dict(zip(keys, values, strict=True)) | {"runs": len(of_cell)}
        failed = [row["failed"] for row in of_cell if row["failed"]]
        for name in names:
            found = [row[name] for row in of_cell if row.get(name) is not None]
            whole = len(found) == len(of_cell)  # a mean of what is left would mislead
            cell[name] = float(np.mean(found)) if whole else None
            cell[f"{name}_spread"] = (
                float(np.std(found, ddof=1)) if whole and len(found) > 1 else None
            )
        summary.append(cell | {"failed": failed[0] if failed else None})
    if keys:
        sign = 1 if monitor == "loss" else -1
        summary.sort(key=lambda cell: (cell[monitor] is None, sign * (cell[monitor] or 0.0)))
    return summary


def _write(
    found: SeveralRuns, config: ExperimentConfig, names: Sequence[str], *, ready: bool
) -> None:
    """The tables, and for members of one kind the config of their ensemble."""
    for name, rows in (("runs.csv", found.rows), ("summary.csv", found.summary)):
        with replace_file(found.folder / name) as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)
    values = {
        "name": config.name,
        "monitor": config.train.monitor,
        "splits": found.splits,
        "runs": found.rows,
        "summary": found.summary,
    }
    write_json(found.folder / "summary.json", values)
    if ready and len(names) > 1:
        ensemble = EnsembleConfig(
            name=f"{config.name}-ensemble",
            members=[str(found.folder / name) for name in names],
            evaluate=config.evaluate,
        )
        write_text(found.folder / "ensemble.yaml", dump_config(ensemble))
