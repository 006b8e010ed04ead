"""tfskin-export: a run -> a SavedModel."""

from pathlib import Path
from typing import Annotated

import typer

from tfskin.cli.common import Debug, Json, Output, Quiet, print_json, run


def export_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    output: Output = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name; the run's unless given.")
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="The version; the next free one unless given.", min=1)
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a SavedModel that TensorFlow Serving loads: encoded pictures in, probabilities out."""
    from tfskin.experiment import export

    path = export(folder, output=output or "exports", name=name, version=version)
    if json:
        print_json({"folder": path})
    else:
        print(f"SavedModel: {path}")


def main() -> None:
    """Entry point."""
    run(export_command)
