"""tfskin-evaluate: a run -> figures with intervals."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tfskin.cli.common import (
    Json,
    Output,
    print_cells,
    print_figures,
    print_json,
    run,
    show_interval,
)
from tfskin.config import read_config
from tfskin.errors import UserError
from tfskin.schema import EvaluateConfig, ExternalConfig


def evaluate_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXTERNAL] [KEY=VALUE]...",
            help="YAML file of another data set to judge the run on, then keys to change in it; "
            "evaluate.KEY=VALUE changes how the run is judged.",
        ),
    ] = None,
    output: Output = None,
    resamples: Annotated[
        int | None, typer.Option(help="Bootstrap resamples.", min=100, show_default=False)
    ] = None,
    challenge: Annotated[
        str | None,
        typer.Option(
            help="Write the submission of this ISIC challenge (2018, 2019, 2020 or 2024) and its "
            "official score.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Judge a run on all its splits, or on another data set."""
    external, config = _read_arguments(folder, arguments or [])
    from tfskin.evaluation.challenges import YEARS
    from tfskin.experiment import evaluate

    year = next((year for year in YEARS if year == challenge), None)
    if challenge is not None and year is None:
        raise UserError(f"--challenge {challenge}: must be one of {', '.join(YEARS)}")
    metrics = evaluate(
        folder,
        external=external,
        config=config,
        challenge=year,
        output=output,
        resamples=resamples,
    )
    if json:
        print_json(metrics)
        return
    print_figures(list(metrics["splits"].items()), title=f"{folder}")
    split = metrics["headline"]
    _print_classes(metrics["splits"][split], split)
    if metrics["malignant"] is not None:
        _print_points(metrics["malignant"]["splits"][split], split)
    if year is not None:
        found = metrics["challenge"]
        print(f"ISIC {year} {found['metric'].replace('_', ' ')}: {found['score']:.4f}")
    written = folder if external is None else folder / "external" / external.name
    print(f"report: {(output or written) / 'report.html'}")


def _read_arguments(
    folder: Path, arguments: list[str]
) -> tuple[ExternalConfig | None, EvaluateConfig | None]:
    """The other data set, and the evaluation config if keys of it are changed."""
    own = [word for word in arguments if word.startswith("evaluate.")]
    rest = [word for word in arguments if word not in own]
    external = read_config(rest[0], rest[1:], ExternalConfig) if rest else None
    if not own:
        return external, None
    from tfskin.experiment.evaluating import EXTERNAL_KEYS, stored_config
    from tfskin.runs import open_run

    changes = read_config(None, [word.removeprefix("evaluate.") for word in own], EvaluateConfig)
    unused = sorted(changes.model_fields_set - EXTERNAL_KEYS)
    if external is not None and unused:
        raise UserError(
            f"evaluate.{unused[0]}: is not used on another data set, where what the run decided "
            f"is applied; leave it out, or judge the run itself with it first: tfskin-evaluate "
            f"{folder} evaluate.{unused[0]}=..."
        )
    given = changes.model_dump(mode="json", include=changes.model_fields_set)
    return external, stored_config(open_run(folder), given)


def _print_classes(figures: dict[str, Any], split: str) -> None:
    from tfskin.evaluation.metric_table import class_metrics_shown

    shown = [metric.name for metric in class_metrics_shown("terminal")]
    cells = [
        (name, str(values["images"]), *(show_interval(values[key]) for key in shown))
        for name, values in figures["per_class"].items()
    ]
    print_cells(("class", "images", *shown), cells, title=f"per class on {split}")


def _print_points(figures: dict[str, Any], split: str) -> None:
    from tfskin.evaluation.metric_table import metrics_shown

    shown = [metric.name for metric in metrics_shown("terminal points")]
    cells = [
        (
            *(name.replace("_", " "), f"{point['threshold']:.3f}"),
            *(show_interval(point[key]) for key in shown),
        )
        for name, point in figures["operating_points"].items()
    ]
    title = f"malignant against benign on {split}, AUC {show_interval(figures['auc'])}"
    print_cells(("chosen for", "threshold", *shown), cells, title=title)


main = partial(run, evaluate_command)
