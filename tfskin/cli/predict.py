"""tfskin-predict: pictures -> a table of probabilities."""

from pathlib import Path
from typing import Annotated

import typer

from tfskin.cli.common import Debug, Json, Quiet, print_json, print_table, run, say

SHOWN = 40


def predict_command(
    target: Annotated[
        Path, typer.Argument(metavar="RUN|SAVEDMODEL", help="A run or a SavedModel folder.")
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE|FOLDER...", help="Pictures, folders or globs.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="A CSV file to write.", show_default=False)
    ] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            help="A folder for pictures with all class probabilities beside them.",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Pictures a step.", min=1)] = 32,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Classify pictures; broken ones are listed and skipped."""
    from tfskin.experiment import predict

    table = predict(target, images, output=output, annotate=annotate, batch_size=batch_size)
    if json:
        known = table.astype(object).where(table.notna(), None)  # JSON has no NaN
        print_json({"predictions": known.to_dict(orient="records")})
        return
    from rich.table import Table
    from rich.text import Text

    names = list(table.columns[3:-1])
    shown = Table("image", "predicted", *names)
    for row in table.head(SHOWN).to_dict(orient="records"):
        image = Path(str(row["path"])).name
        if row["error"]:
            shown.add_row(image, Text(str(row["error"]), style="red"), *["" for _ in names])
        else:
            shown.add_row(image, str(row["predicted"]), *[f"{row[name]:.3f}" for name in names])
    print_table(shown)
    if len(table) > SHOWN:
        print(f"... and {len(table) - SHOWN} more (--output FILE.csv writes them all)")
    broken = int((table["error"] != "").sum())
    if broken:
        say(f"{broken} of {len(table)} pictures could not be read")


def main() -> None:
    """Entry point."""
    run(predict_command)
