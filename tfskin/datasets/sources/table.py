"""Any table with a column of image paths and a column of labels."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from tfskin.datasets.records import SPLIT_COLUMN, build_records
from tfskin.datasets.sources.metadata import Metadata, read_metadata
from tfskin.datasets.sources.paths import PATH_COLUMNS, TABLE_SUFFIXES, PathFinder
from tfskin.datasets.sources.split_names import SPLIT_NAMES
from tfskin.datasets.words import says_nothing, says_unknown, strip_suffix
from tfskin.errors import UserError

LABEL_COLUMNS = ("label", "diagnosis", "dx", "class", "target")
ID_COLUMNS = ("image_id", "isic_id")
SITE_COLUMNS = ("site", "anatom_site_general", "anatom_site_general_challenge", "localization")


def read_table(
    path: Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    images: Path | str | None = None,
) -> pd.DataFrame:
    """The records of a ``.csv``, ``.tsv`` or ``.tab`` file that lists images and labels.

    Columns are found by name, whatever their case: the path (:data:`PATH_COLUMNS`) and the label
    (:data:`LABEL_COLUMNS`) unless chosen, and where there ``image_id``, ``lesion_id``,
    ``patient_id``, ``age``, ``sex``, ``site``, ``image_type``, ``fitzpatrick``, ``skin_tone``,
    ``clinic``, ``license``, ``attribution``, ``source`` and ``split``. A path may be spelt in any
    way that :class:`tfskin.datasets.sources.paths.PathFinder` knows. Without ``image_id`` the id
    is the path without its suffix, '/' written '__'.

    Args:
        path: the file, or a folder with one such file.
        path_column: the column of the images' paths.
        label_column: the column of the labels, taken as the diagnosis.
        images: the folder that the paths are relative to; the table's own unless given.

    Returns:
        Records; with a column ``split`` when the table has one ("train", "val", "test", or "").

    Raises:
        UserError: a missing column, an empty path or label, an image that is not there, a split
            with another name, an id twice.
    """
    metadata = read_metadata(_find_table(path))
    paths = metadata.require_values(
        *([path_column] if path_column else PATH_COLUMNS),
        remedy="choose the column of the images' paths with path_column",
    )
    labels = metadata.require_values(
        *([label_column] if label_column else LABEL_COLUMNS),
        remedy="choose the column of the labels with label_column",
    )
    folder = Path(images).expanduser() if images is not None else metadata.file.parent
    found = _resolve_images(metadata, paths, folder.absolute())
    columns = {
        "image_id": _read_ids(metadata, found, folder.absolute()),
        "path": [str(image) for image in found],
        "diagnosis": labels,
        "lesion_id": metadata.get("lesion_id"),
        "patient_id": metadata.get("patient_id"),
        "age": metadata.get("age", "age_approx"),
        "sex": metadata.get("sex"),
        "site": metadata.get(*SITE_COLUMNS),
        "image_type": metadata.get("image_type"),
        "fitzpatrick": metadata.get("fitzpatrick", "fitzpatrick_skin_type", "skin_type"),
        "skin_tone": metadata.get("skin_tone", "skin_tone_class"),
        "clinic": metadata.get("clinic"),
        "license": metadata.get("license", "copyright_license"),
        "attribution": metadata.get("attribution"),
        "source": metadata.get("source").map(lambda word: "table" if says_nothing(word) else word),
    }
    if metadata.find(SPLIT_COLUMN) is not None:
        columns[SPLIT_COLUMN] = _read_splits(metadata)
    return build_records(columns, source=str(metadata.file))


def _find_table(path: Path) -> Path:
    if path.is_file():
        return path
    tables = sorted(p for p in path.iterdir() if p.suffix.lower() in TABLE_SUFFIXES)
    if len(tables) != 1:
        found = f"found: {', '.join(p.name for p in tables[:5])}" if tables else "found none"
        raise UserError(f"{path}: not one .csv, .tab or .tsv file ({found}); give the file's path")
    return tables[0]


def _resolve_images(metadata: Metadata, paths: pd.Series, folder: Path) -> list[Path]:
    finder = PathFinder(folder)
    found = []
    for line, text in paths.items():
        image = finder.find(text)
        if not image.is_file():
            raise UserError(
                f"{metadata.file}: line {line}: there is no image {image}; put it there, or "
                "give the folder that the paths are relative to with images"
            )
        found.append(image)
    finder.unnamed(found).say(metadata.file)
    return found


def _read_ids(metadata: Metadata, images: list[Path], folder: Path) -> pd.Series | list[str]:
    if metadata.find(*ID_COLUMNS) is not None:
        return metadata.require_values(*ID_COLUMNS, remedy="")
    ids = []
    for image in images:
        relative = Path(os.path.relpath(image, folder))
        ids.append(strip_suffix("__".join(part for part in relative.parts if part != "..")))
    return ids


def _read_splits(metadata: Metadata) -> list[str]:
    splits = []
    for line, text in metadata.get(SPLIT_COLUMN).items():
        if not says_unknown(text) and text.lower() not in SPLIT_NAMES:
            raise UserError(
                f"{metadata.file}: line {line}: split '{text}' is none of train, val, test; "
                "rename it, or leave it empty"
            )
        splits.append(SPLIT_NAMES.get(text.lower(), ""))
    return splits
