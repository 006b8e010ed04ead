"""Records: a table with one row an image, the same columns whatever the source."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tfskin.datasets.containers import split_container_path
from tfskin.errors import UserError
from tfskin.files import is_formula

RECORD_COLUMNS = [
    "image_id",
    "path",
    "diagnosis",
    "lesion_id",
    "patient_id",
    "age",
    "sex",
    "site",
    "image_type",
    "fitzpatrick",
    "skin_tone",
    "clinic",
    "license",
    "attribution",
    "source",
]
"""``fitzpatrick`` goes from 1 (lightest) to 6, ``skin_tone`` from 0 (very dark) to 5 (very light):
opposite scales, so each has a column of its own. ``clinic`` is where within a source an image is
from."""
SPLIT_COLUMN = "split"
LINK_COLUMN = "link"
LINKED_BY = "linked_by"
"""Optional: images that share a name here belong together, by the word of a source or several."""
UNKNOWN_AGE = -1.0

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"})

# Words that tables write for "not known". As a lesion or patient id, one of them would join all
# of its rows into one group, so they must not survive. A diagnosis keeps them: ISIC 2020 has a
# category of its own called "unknown".
_UNKNOWN_WORDS = frozenset({"", "nan", "none", "null", "na", "n/a", "<na>", "nat", "unknown", "?"})
_UNKNOWN_WORD_COLUMNS = (
    *("lesion_id", "patient_id", "sex", "site", "image_type"),
    *("fitzpatrick", "skin_tone", "clinic"),
)
_SEXES = {"m": "male", "f": "female", "male": "male", "female": "female"}
_NAMED = 5


def build_records(columns: Mapping[str, Any], *, source: str) -> pd.DataFrame:
    """Checked records from whatever columns a source knows.

    Args:
        columns: name -> values (or one value for all rows). ``image_id``, ``path`` and
            ``diagnosis`` are required, the rest of :data:`RECORD_COLUMNS` is unknown where left
            out; ``split`` ("train", "val", "test" or "") and ``link`` (a name that images
            which belong together share, or "") are optional.
        source: what the rows come from; written into the column ``source`` unless given, and
            named in errors.

    Returns:
        A frame as :func:`check_records` returns it.

    Raises:
        UserError: as :func:`check_records`.
    """
    _check_unicode(columns.get("path", ()), source)
    unknown = dict.fromkeys(RECORD_COLUMNS, "") | {"age": UNKNOWN_AGE, "source": source}
    return check_records(pd.DataFrame({**unknown, **columns}), source)


def check_records(records: pd.DataFrame, source: str) -> pd.DataFrame:
    """The records in canonical form: columns in order, text as str, unknown as "" or -1.

    Text loses surrounding blanks; words such as "NaN" and "unknown" become "" in every column
    but ``diagnosis``; ``sex`` is "male", "female" or as the source has it; a negative or missing
    age is -1. The index counts from 0. Columns ``split`` and ``link`` are kept, others dropped.

    Args:
        records: a frame with at least :data:`RECORD_COLUMNS`.
        source: named in errors.

    Raises:
        UserError: no rows, a missing column, an id that is empty, repeated, or cannot be a file
            name, an age that is no number, or an image that is not on disk. The message names
            the rows.
    """
    missing = [name for name in RECORD_COLUMNS if name not in records]
    if missing:
        raise UserError(f"{source}: records lack the column '{missing[0]}'; have all of them")
    if records.empty:
        raise UserError(f"{source}: there is no image in it; give a folder that holds images")
    names = RECORD_COLUMNS + [name for name in (SPLIT_COLUMN, LINK_COLUMN) if name in records]
    ids = _clean_text(records["image_id"])
    columns: dict[str, Any] = {}
    for name in names:
        if name == "age":
            columns[name] = _parse_ages(records[name], ids, source)
        else:
            columns[name] = pd.Series(_clean_column(name, records[name]), dtype="str")
    checked = pd.DataFrame(columns)
    _check_ids(ids, source)
    _check_images(checked, source)
    return checked


def summarise_names(names: list[str]) -> str:
    """The first few of ``names``, quoted, and how many more there are."""
    shown = ", ".join(f"'{name}'" for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _check_unicode(paths: Iterable[object], source: str) -> None:
    """File names of another encoding reach Python as lone surrogates, which no file can hold."""
    for path in paths:
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(
                f"{source}: the file name {str(path)!a} is not UTF-8; rename the file"
            ) from None


def _clean_text(values: pd.Series) -> list[str]:
    return ["" if _is_missing(value) else str(value).strip() for value in values.tolist()]


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _clean_column(name: str, values: pd.Series) -> list[str]:
    if name == "path":  # a blank may belong to the file's name
        return [str(value) for value in values.tolist()]
    words = _clean_text(values)
    if name in _UNKNOWN_WORD_COLUMNS:
        words = ["" if word.lower() in _UNKNOWN_WORDS else word for word in words]
    if name == "sex":
        words = [_SEXES.get(word.lower(), word) for word in words]
    return words


def _parse_ages(values: pd.Series, ids: list[str], source: str) -> pd.Series:
    ages = []
    for image_id, word in zip(ids, _clean_text(values), strict=True):
        if word.lower() in _UNKNOWN_WORDS:
            ages.append(UNKNOWN_AGE)
            continue
        try:
            age = float(word)
        except ValueError:
            raise UserError(
                f"{source}: image '{image_id}': age '{word}' is no number; write years, or nothing"
            ) from None
        ages.append(age if 0 <= age < math.inf else UNKNOWN_AGE)
    return pd.Series(ages, dtype="float64")


def _check_ids(ids: list[str], source: str) -> None:
    seen: set[str] = set()
    repeated: dict[str, None] = {}
    for row, image_id in enumerate(ids):
        if not image_id:
            raise UserError(f"{source}: record {row} has no image_id; give every image one")
        if image_id in (".", "..") or "/" in image_id or "\\" in image_id:
            raise UserError(
                f"{source}: image_id '{image_id}' is a path; use a plain name without '/' or '..'"
            )
        if not image_id.isprintable():
            raise UserError(f"{source}: image_id {image_id!r} holds control characters; rename it")
        if is_formula(image_id):
            raise UserError(
                f"{source}: image_id '{image_id}' would be a formula in a spreadsheet; rename it"
            )
        if image_id in seen:
            repeated[image_id] = None
        seen.add(image_id)
    if repeated:
        raise UserError(
            f"{source}: image_id {summarise_names(list(repeated))} stands in more than one row; "
            "keep one row an image, and rename images that differ only in their suffix"
        )


def _check_images(records: pd.DataFrame, source: str) -> None:
    for image_id, path in zip(records["image_id"], records["path"], strict=True):
        inside = split_container_path(path)  # its source has looked the image up
        if not Path(inside[0] if inside else path).is_file():
            raise UserError(
                f"{source}: image '{image_id}': there is no image {path}; "
                "put it there, or leave its row out"
            )
