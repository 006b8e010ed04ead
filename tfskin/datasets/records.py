"""Records: a table with one row an image, the same columns whatever the source."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Mapping
from stat import S_ISREG
from typing import Any

import pandas as pd

from tfskin.datasets.containers import split_container_path
from tfskin.datasets.words import (
    UNKNOWN_AGE,
    clean_id,
    clean_image_id,
    find_near_spellings,
    forbidden_in_name,
    join_spellings,
    parse_ages,
    says_nothing,
    says_unknown,
    shown_image,
)
from tfskin.errors import UserError
from tfskin.files import is_formula

logger = logging.getLogger(__name__)

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
_UNKNOWN_WORD_COLUMNS = (
    *("lesion_id", "patient_id", "sex", "site", "image_type"),
    *("fitzpatrick", "skin_tone", "clinic", "license", "attribution"),
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

    Text loses surrounding blanks. What stands for "no value" ("NaN", "NA", "-1", "-1.0", ...)
    becomes "", and words such as "unknown" do in every column but ``diagnosis``. ``sex`` is "male",
    "female" or as the source has it; an age is -1 where it is missing, and, with a warning, where
    nobody has it. An ``image_id`` has no image's suffix. Spellings of one diagnosis, lesion or
    patient are joined, with a warning, and ``ISIC_0000001_downsampled`` and ``ISIC_0000001`` are
    linked. The index counts from 0. Columns ``split`` and ``link`` are kept, others dropped.

    Args:
        records: a frame with at least :data:`RECORD_COLUMNS`.
        source: named in errors.

    Raises:
        UserError: no rows, a missing column, an id that is empty, repeated, or cannot be a file
            name, an age that is no number, a diagnosis with a line break or "; " in it, or an image
            that is not on disk. The message names the rows.
    """
    missing = [name for name in RECORD_COLUMNS if name not in records]
    if missing:
        raise UserError(f"{source}: records lack the column '{missing[0]}'; have all of them")
    if records.empty:
        raise UserError(f"{source}: there is no image in it; give a folder that holds images")
    names = RECORD_COLUMNS + [name for name in (SPLIT_COLUMN, LINK_COLUMN) if name in records]
    ids = [clean_image_id(word) for word in _clean_text(records["image_id"])]
    columns: dict[str, Any] = {}
    for name in names:
        if name == "image_id":
            columns[name] = pd.Series(ids, dtype="str")
        elif name == "age":
            ages = parse_ages(_clean_text(records[name]), ids, source)
            columns[name] = pd.Series(ages, dtype="float64")
        else:
            columns[name] = pd.Series(_clean_column(name, records[name], source), dtype="str")
    checked = pd.DataFrame(columns)
    _check_ids(ids, source)
    _check_diagnoses(checked, source)
    for name in ("diagnosis", "lesion_id", "patient_id"):
        checked[name] = join_spellings(checked[name], f"values of {name}", source)
    files = _find_files(checked, source)
    again = files.duplicated(keep=False)
    if again.any():
        names = checked["image_id"][again].tolist()
        logger.warning(
            f"{source}: {len(names)} images are of files that others are of too: "
            f"{summarise_names(names)}; they are linked"
        )
    checked = _link_images(checked, checked["image_id"].map(shown_image))
    return _link_images(checked, checked["image_id"].groupby(files).transform("first"))


def _link_images(records: pd.DataFrame, shown: pd.Series) -> pd.DataFrame:
    """The records, with a common ``link`` for images that show the same.

    ``x_downsampled`` shows what ``x`` shows, and an id of the ISIC Archive means one image, in
    whatever folders it lies: ``train__nv__ISIC_0000001`` and ``test__nv__ISIC_0000001``.

    Args:
        records: with or without ``link``.
        shown: a name of what each image shows.
    """
    copies = shown.duplicated(keep=False)
    if not copies.any():
        return records
    nothing = pd.Series("", index=records.index)
    link = records[LINK_COLUMN].copy() if LINK_COLUMN in records else nothing
    for image, rows in shown[copies].groupby(shown[copies]):
        names = set(link[rows.index]) - {""}
        name = min(names, default=str(image))
        if len(names) > 1:  # what the source had linked under either name
            link[link.isin(names)] = name
        link[rows.index] = name
    return records.assign(**{LINK_COLUMN: link.astype("str")})


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


def _clean_column(name: str, values: pd.Series, source: str) -> list[str]:
    if name == "path":  # a blank may belong to the file's name
        return [str(value) for value in values.tolist()]
    words = _clean_text(values)
    if name in _UNKNOWN_WORD_COLUMNS:
        words = ["" if says_unknown(word) else word for word in words]
    elif name in ("diagnosis", SPLIT_COLUMN, LINK_COLUMN):
        words = ["" if says_nothing(word) else word for word in words]
    elif name == "source":
        words = [source if says_nothing(word) else word for word in words]
    if name in ("lesion_id", "patient_id", LINK_COLUMN):
        words = [clean_id(word) for word in words]
    if name == "sex":
        words = [_SEXES.get(word.lower(), word) for word in words]
    return words


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
    near = find_near_spellings(ids)
    if near:
        logger.warning(
            f"{source}: {len(near)} image ids differ from another in case, blanks or Unicode form "
            f"alone, such as '{near[0][0]}' and '{near[0][1]}'; they are taken as different images"
        )


def _check_diagnoses(records: pd.DataFrame, source: str) -> None:
    """A class is a line of ``labels.txt``, and a prediction set has "; " between its classes."""
    for name, rows in records.groupby("diagnosis"):
        if what := forbidden_in_name(str(name)):
            raise UserError(
                f"{source}: image '{rows['image_id'].iloc[0]}': the diagnosis {str(name)!r} holds "
                f"{what}, which a class name can't; rename it"
            )


def _find_files(records: pd.DataFrame, source: str) -> pd.Series:
    """What is equal for records of one file: where the disk has it, whatever it is called."""
    places = []
    for image_id, path in zip(records["image_id"], records["path"], strict=True):
        inside = split_container_path(path)  # its source has looked the image up
        try:
            stat = os.stat(inside[0] if inside else path)  # noqa: PTH116 (a third of the time)
        except OSError:
            stat = None
        if stat is None or not S_ISREG(stat.st_mode):
            raise UserError(
                f"{source}: image '{image_id}': there is no image {path}; "
                "put it there, or leave its row out"
            )
        places.append(path if inside else f"{stat.st_dev}:{stat.st_ino}")
    return pd.Series(places, index=records.index, dtype="str")
