"""On-disk layouts: one file each, from a path to records.

A new layout is one file and one line in :data:`SOURCES`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Literal

import pandas as pd

from tfskin.datasets.options import SourceOptions
from tfskin.datasets.sources.ham10000 import read_ham10000
from tfskin.datasets.sources.image_folder import read_image_folder
from tfskin.datasets.sources.isic_2016 import read_isic_2016
from tfskin.datasets.sources.isic_2017 import read_isic_2017
from tfskin.datasets.sources.isic_2018 import read_isic_2018
from tfskin.datasets.sources.isic_2019 import read_isic_2019
from tfskin.datasets.sources.isic_2020 import read_isic_2020
from tfskin.datasets.sources.isic_2024 import read_isic_2024
from tfskin.datasets.sources.isic_archive import read_isic_archive
from tfskin.datasets.sources.milk10k import read_milk10k
from tfskin.datasets.sources.phantom import read_phantom
from tfskin.datasets.sources.table import read_table
from tfskin.errors import UserError, nearest_hint

SourceName = Literal[
    "ham10000",
    "isic_archive",
    "isic_2016",
    "isic_2017",
    "isic_2018",
    "isic_2019",
    "isic_2020",
    "isic_2024",
    "milk10k",
    "image_folder",
    "table",
    "phantom",
]

SOURCES: dict[str, Callable[..., pd.DataFrame]] = {
    "ham10000": read_ham10000,
    "isic_archive": read_isic_archive,
    "isic_2016": read_isic_2016,
    "isic_2017": read_isic_2017,
    "isic_2018": read_isic_2018,
    "isic_2019": read_isic_2019,
    "isic_2020": read_isic_2020,
    "isic_2024": read_isic_2024,
    "milk10k": read_milk10k,
    "image_folder": read_image_folder,
    "table": read_table,
    "phantom": read_phantom,
}


def read_records(
    source: SourceName | str,
    path: Path | str | None,
    *,
    options: SourceOptions | None = None,
) -> pd.DataFrame:
    """The records of a data set on disk, with the columns of ``records.RECORD_COLUMNS``.

    Args:
        source: a name of :data:`SOURCES`.
        path: the folder (or metadata file) to read; for ``phantom`` the folder that the pictures
            are written to.
        options: what the layout leaves open.

    Returns:
        One row an image, checked; a column ``split`` ("train", "val", "test", or "" where
        unknown) when the data come split, and a column ``link`` when the source names
        duplicates.

    Raises:
        UserError: an unknown source, an option that the source does not take, a path that is not
            there, or whatever is wrong with the files.
    """
    if source not in SOURCES:
        hint = nearest_hint(source, list(SOURCES)) or f"; known: {', '.join(SOURCES)}"
        raise UserError(f"unknown source '{source}'{hint}")
    if path is None:
        raise UserError(f"source '{source}' needs the path of a folder")
    path = Path(path).expanduser()
    if source != "phantom" and not path.exists():
        raise UserError(f"{path}: no such folder; give the one that holds the '{source}' data")
    return SOURCES[source](path, **_chosen_arguments(source, options or SourceOptions()))


def _chosen_arguments(source: str, options: SourceOptions) -> dict[str, object]:
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    chosen = {name: value for name, value in values.items() if value is not None}
    taken = [name for name in inspect.signature(SOURCES[source]).parameters if name != "path"]
    for name in chosen:
        if name not in taken:
            offer = f"it takes: {', '.join(taken)}" if taken else "it takes none"
            raise UserError(f"source '{source}' takes no option '{name}'; {offer}")
    return chosen
