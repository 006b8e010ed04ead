"""tfskin-audit: what is wrong with a data set, before anything is trained on it."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tfskin.cli.common import Debug, Json, Output, Quiet, Seed, print_json, print_table, run
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


def audit_command(
    source: Source,
    path: SourcePath = None,
    output: Output = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the data set; the source's unless given.")
    ] = None,
    also: Also = None,
    download: Download = False,
    near_duplicates: Annotated[bool, typer.Option(help="Look for near duplicates.")] = True,
    find_artefacts: Annotated[
        bool,
        typer.Option(
            "--find-artefacts/--no-find-artefacts",
            help="Look for dark corners, hair and stickers.",
        ),
    ] = True,
    beam_options: BeamOptions = None,
    path_column: PathColumn = None,
    label_column: LabelColumn = None,
    images: Images = None,
    prefix: Prefix = None,
    lesions: Lesions = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Look for broken files, duplicates and artefacts, and for what gives the diagnosis away."""
    from tfskin.experiment import PrepareOptions, audit

    options = PrepareOptions(
        name=name,
        near_duplicates=near_duplicates,
        artefacts=find_artefacts,
        on_error="skip",
        also=parse_also(also or []),
        download=download,
        beam_options=beam_options,
        source=replace(
            phantom_options(source, seed, lesions, None),
            path_column=path_column,
            label_column=label_column,
            images=images,
            prefixes=parse_prefixes(prefix or []) or None,
        ),
    )
    folder = output or Path("audits") / (name or source)
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
    for name, images in (summary["artefacts"] or {}).items():
        table.add_row(f"with {name.replace('_', ' ')}", str(images))
    for name, strength in summary["associations"].items():
        shown = "one value or none" if strength is None else f"{strength:.2f}"
        table.add_row(f"{name.replace('_', ' ')} and diagnosis (Cramér's V)", shown)
    print_table(table)


def main() -> None:
    """Entry point."""
    run(audit_command)
