"""tfskin-prepare: pictures on disk -> shards."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tfskin.cli.common import (
    Debug,
    Json,
    Output,
    Overwrite,
    Quiet,
    Seed,
    print_json,
    print_table,
    run,
    say,
)
from tfskin.errors import UserError


def prepare_command(
    source: Annotated[
        str,
        typer.Argument(help="ham10000, isic_archive, image_folder, table or phantom."),
    ],
    path: Annotated[Path | None, typer.Argument(help="Where it lies; nothing for phantom.")] = None,
    output: Output = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the data set; the source's unless given.")
    ] = None,
    version: Annotated[str, typer.Option(help="Version folder.")] = "1.0.0",
    fractions: Annotated[
        tuple[float, float, float, float],
        typer.Option(help="Shares of train, val, calibration and test."),
    ] = (0.7, 0.1, 0.08, 0.12),
    split: Annotated[Path | None, typer.Option(help="A published splits.csv to use again.")] = None,
    near_duplicates: Annotated[
        bool, typer.Option(help="Keep near duplicates in one split.")
    ] = True,
    max_side: Annotated[
        int, typer.Option(help="Pictures with a longer side are shrunk to it.", min=16)
    ] = 512,
    path_column: Annotated[
        str | None, typer.Option(help="table: the column of picture paths.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="table: the column of diagnoses.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="table: the folder that paths start from.")
    ] = None,
    prefix: Annotated[
        list[str] | None,
        typer.Option(help="image_folder: PREFIX=CLASS by file name, such as P=positive."),
    ] = None,
    lesions: Annotated[int | None, typer.Option(help="phantom: number of lesions.", min=8)] = None,
    artefacts: Annotated[
        bool | None,
        typer.Option(
            help="phantom: hair, ruler marks, stickers, dark corners (on).", show_default=False
        ),
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Shard a folder of dermoscopic images, split by lesion, patient and near duplicate."""
    from tfskin.datasets.shards import ShardOptions
    from tfskin.datasets.sources import SourceOptions
    from tfskin.datasets.sources.phantom import PhantomOptions
    from tfskin.datasets.splits import Fractions
    from tfskin.experiment import PrepareOptions, prepare

    phantom = None
    if source == "phantom" or lesions is not None or artefacts is not None:
        phantom = PhantomOptions(seed=seed)
        if lesions is not None:
            phantom = replace(phantom, lesions=lesions)
        if artefacts is False:
            phantom = replace(phantom, hair=0.0, ruler=0.0, sticker=0.0, dark_corners=0.0)
    options = PrepareOptions(
        name=name,
        version=version,
        seed=seed,
        fractions=Fractions(*fractions),
        split_file=split,
        near_duplicates=near_duplicates,
        overwrite=overwrite,
        source=SourceOptions(
            path_column=path_column,
            label_column=label_column,
            images=images,
            prefixes=parse_prefixes(prefix or []) or None,
            phantom=phantom,
        ),
        shards=ShardOptions(max_side=max_side),
    )
    shards = prepare(source, path, output=output or "tfrecords", options=options, say=say)
    if json:
        print_json(
            {
                "folder": shards.folder,
                "name": shards.name,
                "version": shards.version,
                "fingerprint": shards.fingerprint,
                "counts": shards.counts,
            }
        )
        return
    folder = Path(output or "tfrecords") / shards.name / shards.version
    _print_counts(str(folder), shards.counts)


def parse_prefixes(words: list[str]) -> dict[str, str]:
    """``["P=positive"]`` -> ``{"P": "positive"}``."""
    pairs = [word.partition("=") for word in words]
    for word, (prefix, _, name) in zip(words, pairs, strict=True):
        if not prefix or not name:
            raise UserError(f"--prefix {word}: is written PREFIX=CLASS, such as P=positive")
    return {prefix: name for prefix, _, name in pairs}


def _print_counts(title: str, counts: dict[str, dict[str, int]]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("diagnosis")
    for split in counts:
        table.add_column(split, justify="right")
    for diagnosis in sorted({name for of_split in counts.values() for name in of_split}):
        row = [str(of_split.get(diagnosis, 0)) for of_split in counts.values()]
        table.add_row(diagnosis, *row)
    table.add_row("all", *[str(sum(of_split.values())) for of_split in counts.values()])
    print_table(table)


def main() -> None:
    """Entry point."""
    run(prepare_command)
