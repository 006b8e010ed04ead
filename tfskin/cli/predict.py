"""tfskin-predict: images -> a table of probabilities."""

import logging
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfskin.cli.common import Json, print_cells, print_json, run
from tfskin.prediction.options import PredictOptions

if TYPE_CHECKING:
    import pandas as pd

    from tfskin.schema import WindowConfig

logger = logging.getLogger(__name__)

SHOWN = 40


def predict_command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|SAVEDMODEL|URL",
            help="A run, a SavedModel folder, http://HOST:8501/v1/models/NAME or "
            "grpc://HOST:8500/NAME.",
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE|FOLDER|CSV|-...",
            help="Images, folders, globs, a CSV with a column 'path', or - for paths on "
            "standard input.",
        ),
    ],
    *,
    options: PredictOptions,
    heat_map: Annotated[
        bool, typer.Option(help="Draw heat maps on annotated images (not with --window).")
    ] = True,
    window: Annotated[
        int | None,
        typer.Option(
            help="Average over windows of so many pixels a side, black beyond the border; a run "
            "that was trained on windows has its own.",
            min=8,
            max=4096,
            show_default=False,
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            help="Pixels from one window to the next (default: half a window).",
            min=1,
            max=4096,
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Classify images; broken ones are listed and skipped."""
    from tfskin.experiment.predicting import Counts, load_predictor, stream_predictions
    from tfskin.prediction.tables import predictions_table, printable

    heat_maps = heat_map and options.annotate is not None
    stream = replace(options.stream, windows=_windows(window, stride), heat_maps=heat_maps)
    options, output = replace(options, stream=stream), options.output
    predictor = load_predictor(target, server=options.server, trust=options.trust)
    counts = Counts()
    rows = stream_predictions(predictor, images, options=options, counts=counts)
    # As JSON on standard output there must be all of them; a file holds any number.
    kept = list(rows if json and output is None else islice(rows, SHOWN))
    for one in rows:
        if one.error:
            logger.info(f"{printable(one.path)}: {one.error}")
    table = predictions_table(kept, class_names=predictor.class_names)
    if json:
        _print_json(table, output, counts)
        return
    _print_table(table, list(predictor.class_names))
    more = counts.images - len(kept)
    if more:
        where = f"all in {output}" if output else "--output FILE.csv writes them all"
        print(f"... and {more} more ({where})")
    if counts.unreadable:
        logger.info(f"{counts.unreadable} of {counts.images} images could not be read")


def _windows(window: int | None, stride: int | None) -> "WindowConfig | None":
    from pydantic import ValidationError

    from tfskin.errors import UserError
    from tfskin.schema import WindowConfig

    if window is None:
        if stride is not None:
            raise UserError("--stride: says nothing without --window")
        return None
    try:
        return WindowConfig(size=window, stride=stride or window // 2)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"--window, --stride: {reason}") from None


def _print_json(table: "pd.DataFrame", output: Path | str | None, counts: Any) -> None:
    if output is not None:
        print_json({"output": output, **vars(counts)})
        return
    known = table.astype(object).where(table.notna(), None)  # JSON has no NaN
    print_json({"predictions": known.to_dict(orient="records")})


def _print_table(table: "pd.DataFrame", class_names: list[str]) -> None:
    from rich.text import Text

    columns = table.columns[3 : 3 + len(class_names)]
    cells: list[list[Any]] = []
    for row in table.to_dict(orient="records"):
        image = Path(str(row["path"])).name
        if row["error"]:
            cells.append([image, Text(str(row["error"]), style="red"), *["" for _ in columns]])
        else:
            cells.append([image, str(row["predicted"]), *[f"{row[name]:.3f}" for name in columns]])
    print_cells(("image", "predicted", *class_names), cells)


main = partial(run, predict_command)
