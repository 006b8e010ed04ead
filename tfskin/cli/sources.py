"""Options of the commands that read pictures on disk: which source, where, and what it needs."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfskin.errors import UserError

if TYPE_CHECKING:
    from tfskin.datasets.sources import SourceOptions

Source = Annotated[
    str,
    typer.Argument(
        help="ham10000, isic_archive, isic_2016 to isic_2020, isic_2024, milk10k, image_folder, "
        "table or phantom."
    ),
]
SourcePath = Annotated[Path | None, typer.Argument(help="Where it lies; nothing for phantom.")]
Also = Annotated[
    list[str] | None,
    typer.Option(help="A further source to merge in: SOURCE=PATH. Can be repeated."),
]
Download = Annotated[
    bool,
    typer.Option(
        "--download",
        help="First download the source's public archives into PATH; goes on after a stop.",
    ),
]
BeamOptions = Annotated[
    str | None,
    typer.Option(
        help="Run as an Apache Beam pipeline with these options, such as "
        "'--direct_num_workers=2 --direct_running_mode=multi_processing'."
    ),
]
PathColumn = Annotated[str | None, typer.Option(help="table: the column of picture paths.")]
LabelColumn = Annotated[
    str | None,
    typer.Option(help="table, isic_archive, isic_2020, isic_2024: the column of diagnoses."),
]
Images = Annotated[
    Path | None, typer.Option(help="The folder of the pictures, where it is another.")
]
Prefix = Annotated[
    list[str] | None,
    typer.Option(help="image_folder: PREFIX=CLASS by file name, such as P=positive."),
]
Lesions = Annotated[int | None, typer.Option(help="phantom: number of lesions.", min=8)]


def parse_prefixes(words: list[str]) -> dict[str, str]:
    """``["P=positive"]`` -> ``{"P": "positive"}``."""
    return dict(_split_words("prefix", words, "PREFIX=CLASS, such as P=positive"))


def parse_also(words: list[str]) -> list[tuple[str, Path]]:
    """``["isic_2019=DIR"]`` -> ``[("isic_2019", Path("DIR"))]``."""
    pairs = _split_words("also", words, "SOURCE=PATH, such as isic_2019=ISIC_2019/")
    return [(source, Path(path)) for source, path in pairs]


def _split_words(option: str, words: list[str], form: str) -> list[tuple[str, str]]:
    pairs = []
    for word in words:
        left, _, right = word.partition("=")
        if not left or not right:
            raise UserError(f"--{option} {word}: is written {form}")
        pairs.append((left, right))
    return pairs


def phantom_options(
    source: str, seed: int, lesions: int | None, artefacts: bool | None
) -> "SourceOptions":
    """The options of a source that is drawn; none of them for one that is read."""
    from tfskin.datasets.sources import SourceOptions
    from tfskin.datasets.sources.phantom import PhantomOptions

    if source != "phantom" and lesions is None and artefacts is None:
        return SourceOptions()
    phantom = PhantomOptions(seed=seed)
    if lesions is not None:
        phantom = replace(phantom, lesions=lesions)
    if artefacts is False:
        phantom = replace(phantom, hair=0.0, ruler=0.0, sticker=0.0, dark_corners=0.0)
    return SourceOptions(phantom=phantom)
