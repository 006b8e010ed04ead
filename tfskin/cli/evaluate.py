"""tfskin-evaluate: a run -> figures with intervals."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tfskin.cli.common import (
    Debug,
    Json,
    Output,
    Quiet,
    print_figures,
    print_json,
    print_table,
    run,
    say,
)
from tfskin.config import ExternalConfig, read_config


def evaluate_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXTERNAL] [KEY=VALUE]...",
            help="YAML file of another data set to judge the run on, then keys to change in it.",
        ),
    ] = None,
    output: Output = None,
    resamples: Annotated[
        int | None, typer.Option(help="Bootstrap resamples.", min=100, show_default=False)
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Judge a run on all its splits, or on another data set."""
    external = None
    if arguments:
        external = read_config(arguments[0], arguments[1:], ExternalConfig)
    from tfskin.experiment import evaluate

    metrics = evaluate(folder, external=external, output=output, resamples=resamples, say=say)
    if json:
        print_json(metrics)
        return
    print_figures(list(metrics["splits"].items()), title=f"{folder}")
    from tfskin.experiment.evaluation_run import headline_split

    _print_classes(metrics["splits"][headline_split(metrics)], headline_split(metrics))


def _print_classes(figures: dict[str, Any], split: str) -> None:
    from rich.table import Table

    from tfskin.cli.common import show_interval

    shown = ("precision", "recall", "specificity", "f1", "auc")
    table = Table("class", "images", *shown, title=f"per class on {split}", title_justify="left")
    for name, values in figures["per_class"].items():
        table.add_row(name, str(values["images"]), *(show_interval(values[key]) for key in shown))
    print_table(table)


def main() -> None:
    """Entry point."""
    run(evaluate_command)
