"""tfskin-prepare: images on disk -> shards."""

from pathlib import Path

from tfskin.cli.common import Json, Output, print_json, print_table, run
from tfskin.cli.sources import Source, SourcePath, seed_phantoms
from tfskin.datasets.options import PrepareOptions


def prepare_command(
    source: Source,
    path: SourcePath = None,
    output: Output = None,
    *,
    options: PrepareOptions,
    json: Json = False,
) -> None:
    """Shard a folder of dermoscopic images, split by lesion, patient and near duplicate."""
    from tfskin.experiment import prepare

    options = seed_phantoms(source, options)
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
