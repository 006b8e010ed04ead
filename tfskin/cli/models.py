"""tfskin-models: the table of all networks and what they cost."""

import logging
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tfskin.cli.common import Json, Output, Overwrite, print_cells, print_json, run
from tfskin.errors import UserError
from tfskin.progress import is_quiet

logger = logging.getLogger(__name__)


def models_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Networks; all unless given.")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(help="Side of the image in px; each network's own unless given.", min=8),
    ] = None,
    classes: Annotated[int, typer.Option(help="Number of classes.", min=1)] = 1000,
    benchmark: Annotated[
        bool, typer.Option("--benchmark", help="Measure inference and training on this machine.")
    ] = False,
    batch_size: Annotated[int, typer.Option(help="Images a step of --benchmark.", min=1)] = 8,
    output: Output = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """List networks with parameters, FLOPs, activations and speed; --output writes a CSV."""
    if output is not None and output.exists() and not overwrite:
        raise UserError(f"{output}: exists already; give --overwrite or another --output")
    from tfskin.startup import import_tensorflow_quietly

    import_tensorflow_quietly()
    from tfskin.models import MODELS
    from tfskin.models.table import Benchmark, as_rows, list_costs
    from tfskin.progress import progress_bar

    found = []
    with progress_bar("networks", total=len(names or MODELS)) as advance:
        for costs in list_costs(
            names or (),
            image_size=None if image_size is None else (image_size, image_size),
            num_classes=classes,
            benchmark=Benchmark(batch_size) if benchmark else None,
        ):
            found.append(costs)
            advance(1)
    missing = [name for name in names or MODELS if name not in {row.model for row in found}]
    if missing:
        logger.info(f"left out, for the image is too small: {', '.join(missing)}")
    rows = as_rows(found)
    if output is not None:
        _write_csv(output, rows)
    if json:
        print_json({"models": rows})
    elif not is_quiet():
        _print(rows, classes)


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    import csv

    from tfskin.files import replace_file

    with replace_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _print(rows: list[dict[str, Any]], classes: int) -> None:
    headings = (
        *("model", "image", "parameters", "trainable", "GFLOPs", "activations MB"),
        *("inference images/s", "training images/s"),
    )
    cells = [[_show(value) for value in row.values()] for row in rows]
    print_cells(headings, cells, title=f"Networks, {classes:,} classes", justify="lr")
    print("GFLOPs count two per multiply-add; activations are one image's, in float32.")


def _show(value: str | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


main = partial(run, models_command)
