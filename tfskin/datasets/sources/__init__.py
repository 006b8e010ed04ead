"""On-disk layouts: one file each, from a path to records.

A new layout is one file and one line in :data:`SOURCES`; one's own is a function anywhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pandas as pd

from tfskin.datasets.options import SourceOptions
from tfskin.datasets.records import build_records
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
from tfskin.extensions import SOURCE, find_entry_point, is_own, load_part

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
    source: str,
    path: Path | str | None,
    *,
    options: SourceOptions | None = None,
) -> pd.DataFrame:
    """The records of a data set on disk, with the columns of ``records.RECORD_COLUMNS``.

    Args:
        source: a name of :data:`SOURCES`; one that an installed package offers as an entry point
            of the group ``tfskin.sources``; or a function of one's own, written
            ``package.module:function``. It is called with the path and with those of the options
            that it takes and that are given, and returns a table with the columns image_id, path
            and diagnosis, and what else of ``records.RECORD_COLUMNS`` it knows.
        path: the folder (or metadata file) to read; for ``phantom`` the folder that the images
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
    read = find_source(source)
    if path is None:
        raise UserError(f"source '{source}' needs the path of a folder")
    path = Path(path).expanduser()
    if source != "phantom" and not path.exists():
        raise UserError(f"{path}: no such folder; give the one that holds the '{source}' data")
    records = read(path, **_chosen_arguments(source, read, options or SourceOptions()))
    if source in SOURCES:
        return records
    if not isinstance(records, pd.DataFrame):
        raise UserError(f"source '{source}': gives {type(records).__name__}; it must give a table")
    name = data_set_name(source)
    for column in ("image_id", "path", "diagnosis"):
        if column not in records:
            raise UserError(f"source '{source}': its table has no column '{column}'; give it one")
    return build_records({str(key): records[key] for key in records}, source=name)


def find_source(source: str) -> Callable[..., pd.DataFrame]:
    """The function that reads a layout: of :data:`SOURCES`, an entry point, or one's own.

    Raises:
        UserError: there is none of that name, or it cannot be imported.
    """
    if source in SOURCES or is_own(source) or find_entry_point(source, SOURCE):
        read: Callable[..., pd.DataFrame] = load_part(source, SOURCES, SOURCE)
        return read
    hint = nearest_hint(source, list(SOURCES)) or f"; known: {', '.join(SOURCES)}"
    raise UserError(f"unknown source '{source}'{hint}")


def data_set_name(source: str) -> str:
    """What the data of a source are called unless a name is given: ``a.b:read_c`` gives "c"."""
    return source.rpartition(":")[2].removeprefix("read_") if is_own(source) else source


def _chosen_arguments(
    source: str, read: Callable[..., pd.DataFrame], options: SourceOptions
) -> dict[str, object]:
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    chosen = {name: value for name, value in values.items() if value is not None}
    _, *taken = inspect.signature(read).parameters
    for name in chosen:
        if name not in taken:
            offer = f"it takes: {', '.join(taken)}" if taken else "it takes none"
            raise UserError(f"source '{source}' takes no option '{name}'; {offer}")
    return chosen
