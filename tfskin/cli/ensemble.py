"""tfskin-ensemble: runs -> one run that holds them all."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tfskin.cli.common import (
    Json,
    Output,
    Overwrite,
    print_figures,
    print_json,
    run,
    stoppable,
)
from tfskin.config import find_config, parse_config, read_config, shipped_configs
from tfskin.schema import EnsembleConfig


def ensemble_command(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN... | CONFIG [KEY=VALUE]...",
            help="Two or more runs; or an ensemble's YAML file, whose missing members are trained "
            "first, then keys to change in every member.",
        ),
    ],
    combination: Annotated[
        str | None,
        typer.Option(help="mean_probabilities, mean_logits, weights or stacking."),
    ] = None,
    output: Output = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Combine runs, calibrated on their calibration split; print members and ensemble."""
    config, overrides = read_arguments(arguments)
    if combination is not None:
        values = config.model_dump(mode="json") | {"combination": combination}
        config = parse_config(values, EnsembleConfig, source="--combination")
    from tfskin.evaluation.predictions import headline_split
    from tfskin.experiment import ensemble

    with stoppable():
        finished = ensemble(config, overrides=overrides, output=output, overwrite=overwrite)
    metrics = finished.metrics()
    if json:
        print_json({"run": finished.folder, **metrics})
        return
    split = headline_split(metrics["splits"])
    rows = [(member["name"], member["splits"][split]) for member in metrics["members"]]
    rows.append((finished.name, metrics["splits"][split]))
    print_figures(rows, title=f"{finished.folder} on {split}")
    print(f"report: {finished.folder / 'report.html'}")


def read_arguments(arguments: list[str]) -> tuple[EnsembleConfig, list[str]]:
    """The ensemble, and the overrides for its members: those of data, model and train."""
    if arguments[0].endswith((".yaml", ".yml")):
        path, *words = arguments
        of_members = [word for word in words if word.startswith(("data.", "model.", "train."))]
        own = [word for word in words if word not in of_members]
        return _find_members(read_config(path, own, EnsembleConfig), find_config(path)), of_members
    runs = [word for word in arguments if "=" not in word]
    own = [word for word in arguments if "=" in word]
    return read_config(None, [f"members=[{', '.join(map(repr, runs))}]", *own], EnsembleConfig), []


def _find_members(config: EnsembleConfig, path: Path) -> EnsembleConfig:
    """The config, with members found beside the ensemble's own file where they lie there."""
    if path in shipped_configs():
        return config
    beside = [path.parent / member for member in config.members]
    members = [
        str(there) if there.is_file() else member
        for there, member in zip(beside, config.members, strict=True)
    ]
    return config.model_copy(update={"members": members})


main = partial(run, ensemble_command)
