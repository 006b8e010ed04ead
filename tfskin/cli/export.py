"""tfskin-export: a run -> a SavedModel, or a model for another runtime."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tfskin.cli.common import Json, Output, print_json, run
from tfskin.serving.options import ExportFormat, ServingOptions


def export_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    output: Output = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name; the run's unless given.")
    ] = None,
    version: Annotated[
        int | None, typer.Option(help="The version; the next free one unless given.", min=1)
    ] = None,
    format: Annotated[
        ExportFormat,
        typer.Option(help="saved_model: TensorFlow Serving; onnx, litert: other runtimes."),
    ] = "saved_model",
    *,
    options: ServingOptions,
    json: Json = False,
) -> None:
    """Write a SavedModel that TensorFlow Serving loads: encoded images in, probabilities out."""
    from tfskin.experiment import export

    path = export(
        folder,
        output=output or "exports",
        name=name,
        version=version,
        options=options,
        format=format,
    )
    if json:
        print_json({"folder": path})
    elif format != "saved_model":
        print(f"{format}: {path}\nhow to feed it: {path}.json")
    else:
        print(f"SavedModel: {path}\nhow to serve and ask it: {path.parent / 'README.md'}")


main = partial(run, export_command)
