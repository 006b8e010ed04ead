"""tfskin-train: shards and a config -> a run."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from tfskin.cli.common import (
    Json,
    Output,
    Overwrite,
    print_figures,
    print_json,
    print_rows,
    print_table,
    run,
    stoppable,
)
from tfskin.errors import UserError
from tfskin.training.options import Repeats


class _WithKeys(TyperCommand):
    """Help that ends with every key of the config."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the usual help, then the keys."""
        super().format_help(ctx, formatter)
        from rich import box
        from rich.table import Table

        from tfskin.config import list_keys
        from tfskin.schema import ExperimentConfig

        table = Table(
            "key", "type", "default", "", title="Config keys", title_justify="left", box=box.SIMPLE
        )
        for row in list_keys(ExperimentConfig):
            table.add_row(*row)
        print_table(table)


def train_command(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG] [KEY=VALUE]...",
            help="An experiment's YAML file (by default the quickstart's), then keys to change.",
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder.", show_default=False)
    ] = None,
    output: Output = None,
    seed: Annotated[
        int | None, typer.Option(help="Short for seed=N.", min=0, show_default=False)
    ] = None,
    *,
    repeats: Repeats,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=A,B,C", help="Train one run for each value; repeat the option for a grid."
        ),
    ] = None,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr", help="Try rising learning rates and plot the loss; no run is written."
        ),
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a network on shards; write a run directory.

    A file with variants trains each, and ends in one table and one plot of curves. --folds,
    --seeds and --sweep train several runs (of each variant), and end in a table of means and
    spreads.
    """
    from tfskin.config import QUICKSTART, find_config, read_config, read_values, split_sweep
    from tfskin.schema import ComparisonConfig, ExperimentConfig

    schema: type[ExperimentConfig] = ExperimentConfig
    path, overrides = split_arguments(arguments or [])
    if seed is not None:
        overrides.append(f"seed={seed}")
    several = repeats != Repeats() or bool(sweep)
    if resume and (path or overrides or output or several or find_lr):
        raise UserError("--resume RUN goes on with the run's own config; give nothing else")
    if find_lr and several:
        raise UserError("--find-lr trains no run; give it without --folds, --seeds and --sweep")
    if path and "variants" in read_values(find_config(path)):
        if find_lr:
            raise UserError(f"{path}: has variants; --find-lr takes a single experiment")
        if not several:
            _compare(path, overrides, output=output, overwrite=overwrite, json=json)
            return
        schema = ComparisonConfig
    config = None if resume else read_config(path or QUICKSTART, overrides, schema)
    if config and find_lr:
        _find_rate(config, output=output, json=json)
        return
    if config and several:
        repeats = replace(repeats, sweep=split_sweep(sweep or []))
        _repeat(config, repeats, output=output, overwrite=overwrite, json=json)
        return
    from tfskin.experiment import train
    from tfskin.experiment.fitting.job import is_follower
    from tfskin.experiment.training import resume as resume_run

    folder = resume or output or Path("runs") / (config.name if config else "")
    with stoppable(f"finished epochs are kept. Go on with: tfskin-train --resume {folder}"):
        if config is None:
            finished = resume_run(str(resume))
        else:
            finished = train(config, output=output, overwrite=overwrite)
    if is_follower(read_config(finished.folder / "config.yaml")):
        return
    metrics = finished.metrics()
    if json:
        print_json({"run": finished.folder, **metrics})
        return
    training, model = metrics.get("training"), metrics["model"]
    print_figures(list(metrics["splits"].items()), title=f"{finished.folder}")
    if training is not None:
        print(
            f"best epoch {training['best_epoch']} of {training['epochs']}, "
            f"{training['minutes']:.1f} minutes"
        )
    print(
        f"{model['parameters']:,} parameters, "
        f"{model['trainable_parameters']:,} trainable, {model['flops'] / 1e6:,.0f} MFLOPs an image"
    )
    print(f"report: {finished.folder / 'report.html'}")


def _compare(
    path: str, overrides: list[str], *, output: Path | None, overwrite: bool, json: bool
) -> None:
    """Train the variants of a file and print them side by side."""
    from tfskin.config import read_config
    from tfskin.schema import ComparisonConfig

    config = read_config(path, overrides, ComparisonConfig)
    from tfskin.experiment.varying import train_variants

    with stoppable():
        found = train_variants(config, output=output, overwrite=overwrite)
    if json:
        print_json({"folder": found.folder, "split": found.split, "variants": found.rows})
        return
    print_rows(found.rows, title=f"{found.folder} on {found.split}")
    print(f"table: {found.folder / 'comparison.csv'}")
    print(f"curves: {found.folder / 'comparison.png'}")


def _find_rate(config: Any, *, output: Path | None, json: bool) -> None:
    """Run the learning-rate range test and print it."""
    from tfskin.experiment.finding_rate import find_rate

    found, plot, table = find_rate(config, output=output)
    if json:
        files = {"picture": plot, "table": table}
        print_json({"steepest": found.steepest, "tenth": found.tenth, **files})
        return
    rows = [
        {"learning rate": f"{found.rates[i]:.1e}", "loss": f"{found.losses[i]:.4f}"}
        for i in range(0, len(found.rates), max(1, len(found.rates) // 20))
    ]
    print_rows(rows, title=f"{config.name}, smoothed loss")
    print(
        f"falls fastest at {found.steepest:.1e}; a tenth of where it is lowest: {found.tenth:.1e}"
    )
    print(f"plot: {plot}, table: {table}")


def _repeat(
    config: Any, repeats: Repeats, *, output: Path | None, overwrite: bool, json: bool
) -> None:
    """Train several runs of one experiment and print means and spreads."""
    from tfskin.cli.repeats import print_several
    from tfskin.experiment.repeating import train_several

    with stoppable("what is finished is kept. Go on with the same command"):
        found = train_several(config, repeats, output=output, overwrite=overwrite)
    if json:
        print_json(
            {"folder": found.folder, "splits": found.splits, "runs": found.rows}
            | {"summary": found.summary}
        )
        return
    print_several(found, monitor=config.train.monitor)


def split_arguments(arguments: list[str]) -> tuple[str | None, list[str]]:
    """A config file, if the first argument is one, and the ``key=value`` overrides."""
    if arguments and "=" not in arguments[0]:
        return arguments[0], arguments[1:]
    return None, list(arguments)


main = partial(run, train_command, cls=_WithKeys)
