"""tfskin-export: a run -> a SavedModel, or a model for another runtime."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tfskin.cli.common import Debug, Json, Output, Quiet, print_json, run


class Format(StrEnum):
    """What an export is for."""

    saved_model = "saved_model"
    onnx = "onnx"
    litert = "litert"


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
        Format,
        typer.Option(help="saved_model: TensorFlow Serving; onnx, litert: other runtimes."),
    ] = Format.saved_model,
    test_time_augmentation: Annotated[
        bool,
        typer.Option(
            "--test-time-augmentation",
            help="Average over mirrored and turned copies (8 times the work of the network).",
        ),
    ] = False,
    float16_weights: Annotated[
        bool, typer.Option("--float16-weights", help="Half the bytes; computed in float32.")
    ] = False,
    max_pixels: Annotated[
        int | None,
        typer.Option(help="Largest height times width that is decoded; 50 million.", min=1),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a SavedModel that TensorFlow Serving loads: encoded pictures in, probabilities out."""
    from tfskin.experiment import ServingOptions, export

    options = ServingOptions(
        test_time_augmentation=test_time_augmentation,
        float16_weights=float16_weights,
        max_pixels=max_pixels,
    )
    path = export(
        folder,
        output=output or "exports",
        name=name,
        version=version,
        options=options,
        format=format.value,
    )
    if json:
        print_json({"folder": path})
    elif format != Format.saved_model:
        print(f"{format.value}: {path}\nhow to feed it: {path}.json")
    else:
        print(f"SavedModel: {path}\nhow to serve and ask it: {path.parent / 'README.md'}")


def main() -> None:
    """Entry point."""
    run(export_command)
