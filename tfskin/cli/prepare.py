"""tfskin-prepare: pictures on disk -> shards."""

from dataclasses import replace
from enum import StrEnum
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
)
from tfskin.cli.sources import (
    Also,
    BeamOptions,
    Download,
    Images,
    LabelColumn,
    Lesions,
    PathColumn,
    Prefix,
    Source,
    SourcePath,
    parse_also,
    parse_prefixes,
    phantom_options,
)


class OnErrorChoice(StrEnum):
    """What happens to a picture that cannot be used."""

    fail = "fail"
    skip = "skip"


def prepare_command(
    source: Source,
    path: SourcePath = None,
    output: Output = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the data set; the source's unless given.")
    ] = None,
    version: Annotated[str, typer.Option(help="Version folder.")] = "1.0.0",
    also: Also = None,
    download: Download = False,
    harmonise: Annotated[
        bool | None,
        typer.Option(
            help="Write diagnoses by their common names (on with --also).", show_default=False
        ),
    ] = None,
    fractions: Annotated[
        tuple[float, float, float, float],
        typer.Option(help="Shares of train, val, calibration and test."),
    ] = (0.7, 0.1, 0.08, 0.12),
    folds: Annotated[
        int | None, typer.Option(help="Deal train and val into so many folds.", min=2, max=100)
    ] = None,
    split: Annotated[Path | None, typer.Option(help="A published splits.csv to use again.")] = None,
    drop_leaks: Annotated[
        bool,
        typer.Option(
            "--drop-leaks",
            help="Leave out what shares a lesion or picture with a given test split; with "
            "--split, images without a row.",
        ),
    ] = False,
    near_duplicates: Annotated[
        bool, typer.Option(help="Keep near duplicates in one split.")
    ] = True,
    find_artefacts: Annotated[
        bool,
        typer.Option(
            "--find-artefacts/--no-find-artefacts",
            help="Look for dark corners, hair and stickers and store what is found.",
        ),
    ] = True,
    on_error: Annotated[
        OnErrorChoice, typer.Option(help="What happens to a picture that cannot be used.")
    ] = OnErrorChoice.fail,
    max_side: Annotated[
        int, typer.Option(help="Pictures with a longer side are shrunk to it.", min=16)
    ] = 512,
    beam_options: BeamOptions = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    images: Images = None,
    prefix: Prefix = None,
    lesions: Lesions = None,
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
    from tfskin.datasets.splits import Fractions
    from tfskin.experiment import PrepareOptions, prepare

    options = PrepareOptions(
        name=name,
        version=version,
        seed=seed,
        fractions=Fractions(*fractions),
        folds=folds,
        split_file=split,
        drop_leaks=drop_leaks,
        near_duplicates=near_duplicates,
        artefacts=find_artefacts,
        on_error=on_error.value,
        overwrite=overwrite,
        also=parse_also(also or []),
        download=download,
        harmonise=harmonise,
        beam_options=beam_options,
        source=replace(
            phantom_options(source, seed, lesions, artefacts),
            path_column=path_column,
            label_column=label_column,
            images=images,
            prefixes=parse_prefixes(prefix or []) or None,
        ),
        shards=ShardOptions(max_side=max_side),
    )
    shards = prepare(source, path, output=output or "tfrecords", options=options)
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
