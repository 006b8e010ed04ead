"""tfskin-prepare: images on disk -> shards."""

from functools import partial
from pathlib import Path

from tfskin.cli.common import Json, Output, print_cells, print_json, run
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
    """Shard a folder of dermoscopic images; no lesion, patient or copy is in two splits."""
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
    parts = counts.values()
    diagnoses = sorted({name for of_split in parts for name in of_split})
    rows = [[name, *(str(part.get(name, 0)) for part in parts)] for name in diagnoses]
    rows.append(["all", *(str(sum(part.values())) for part in parts)])
    print_cells(("diagnosis", *counts), rows, title=title, justify="lr")


main = partial(run, prepare_command)
