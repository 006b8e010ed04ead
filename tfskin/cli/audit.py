"""tfskin-audit: what is wrong with a data set, before anything is trained on it."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from tfskin.cli.common import Json, Output, print_json, print_table, run
from tfskin.cli.flags import Only
from tfskin.cli.sources import Source, SourcePath, seed_phantoms
from tfskin.datasets.options import PrepareOptions

FLAGS = (
    *("name", "also", "download", "near_duplicates", "photographs", "split"),
    *("find_artefacts", "beam_options"),
    *("path_column", "label_column", "images", "prefix", "lesions", "seed"),
)
_EVIDENCE = {
    "id": "by lesion id",
    "copy": "by a near duplicate",
    "photograph": "by a photograph",
    "chain": "by way of further images only",
}


def audit_command(
    source: Source,
    path: SourcePath = None,
    output: Output = None,
    *,
    options: Annotated[PrepareOptions, Only(FLAGS)],
    json: Json = False,
) -> None:
    """Look for broken files, one lesion twice, artefacts, and what gives the diagnosis away."""
    from tfskin.experiment import audit
    from tfskin.experiment.auditing import audit_folder

    options = replace(seed_phantoms(source, options), on_error="skip")
    folder = output or audit_folder(source, options)
    summary = audit(source, path, output=folder, options=options)
    if json:
        print_json({"folder": folder, **summary})
    else:
        _print_summary(folder, summary)


def _print_summary(folder: Path, summary: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=str(folder / "report.html"), title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("images", str(summary["images"]))
    table.add_row("unusable files", str(summary["problems"]))
    table.add_row("unusual files, decoded", str(summary["oddities"]))
    if summary["near_duplicate_pairs"] is not None:
        table.add_row("near-duplicate pairs", str(summary["near_duplicate_pairs"]))
        table.add_row("  of different lesion ids", str(summary["pairs_across_lesions"]))
        table.add_row("  with two diagnoses", str(summary["pairs_of_two_diagnoses"]))
    if summary["photograph_pairs"] is not None:
        table.add_row("pairs of photographs of one lesion", str(summary["photograph_pairs"]))
        table.add_row("  of different lesion ids", str(summary["photographs_across_lesions"]))
        table.add_row("  with two diagnoses", str(summary["photographs_of_two_diagnoses"]))
        table.add_row("less certain ones", str(summary["uncertain_photograph_pairs"]))
    for split, counts in (summary["leaks"] or {}).items():
        table.add_row(f"of {counts['images']} in {split}, lesion also in train", str(counts["any"]))
        for kind in ("id", "copy", "photograph", "chain"):
            table.add_row(f"  {_EVIDENCE[kind]}", str(counts[kind]))
    for name, images in (summary["artefacts"] or {}).items():
        table.add_row(f"with {name.replace('_', ' ')}", str(images))
    for name, strength in summary["associations"].items():
        shown = "one value or none" if strength is None else f"{strength:.2f}"
        table.add_row(f"{name.replace('_', ' ')} and diagnosis (Cramér's V)", shown)
    print_table(table)


main = partial(run, audit_command)
