"""tfskin-explain: a run and images -> where the network looked."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tfskin.cli.common import Json, Output, print_cells, print_json, run


def explain_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Images, folders or patterns.")
    ],
    output: Output = None,
    explained_class: Annotated[
        str | None,
        typer.Option(
            "--class", help="What to explain (none: what is predicted).", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Draw Grad-CAM, integrated gradients and the nearest training images beside each image."""
    from tfskin.experiment import explain

    table = explain(folder, images, output=output, explained_class=explained_class)
    if json:
        print_json({"pictures": table.to_dict("records")})
        return
    table["probability"] = table["probability"].map("{:.3f}".format)
    headings = ("path", "predicted", "probability", "explained", "picture")
    print_cells(headings, table.astype(str).to_numpy().tolist())


main = partial(run, explain_command)
