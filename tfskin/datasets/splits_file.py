"""The names of splits, and ``splits.csv``: which image is in which of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tfskin.datasets.records import summarise_names
from tfskin.datasets.words import clean_image_id
from tfskin.errors import UserError, nearest_hint
from tfskin.files import replace_file

SPLITS = ("train", "val", "calibration", "test")
FOLD = r"fold\d+"
"""Pattern of the names of the parts of a cross-validation."""


def write_splits_csv(
    path: Path | str,
    image_ids: Sequence[str],
    split: pd.Series,
    groups: np.ndarray,
    linked_by: Sequence[str] | None = None,
) -> None:
    """Write the columns image_id, split, group and linked_by, atomically; rows as given.

    ``linked_by`` says what links an image to others of its group: "id", "copy", "photograph",
    several of them with a space between, or nothing for an image that is alone.
    """
    frame = pd.DataFrame(
        {"image_id": list(image_ids), "split": np.asarray(split, dtype=object), "group": groups}
    )
    if linked_by is not None:
        frame["linked_by"] = list(linked_by)
    with replace_file(path) as temporary:
        frame.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")


def read_splits_csv(path: Path | str) -> pd.Series:
    """Image id -> split as a CSV file says; columns are found by name, and others passed over.

    Raises:
        UserError: the file cannot be read, lacks a column, has no row, an unknown split name or an
            image twice.
    """
    frame = read_splits_table(path, ["image_id", "split"])
    if frame.empty:
        raise UserError(f"{path}: has no rows; give a splits.csv that tfskin-prepare wrote")
    known = frame["split"].isin(SPLITS) | frame["split"].str.fullmatch(FOLD)
    unknown = np.flatnonzero(~known.to_numpy())
    if len(unknown):
        row = frame.iloc[unknown[0]]
        hint = nearest_hint(row["split"], list(SPLITS))
        raise UserError(
            f"{path}: image '{row['image_id']}': unknown split '{row['split']}'{hint}; "
            f"it is one of {', '.join(SPLITS)}, or fold0, fold1, ..."
        )
    frame["image_id"] = frame["image_id"].map(clean_image_id)
    repeated = frame["image_id"][frame["image_id"].duplicated()]
    if len(repeated):
        raise UserError(f"{path}: image '{repeated.iloc[0]}' stands in two rows; keep one")
    return frame.set_index("image_id")["split"]


def apply_splits_csv(path: Path | str, records: pd.DataFrame) -> pd.Series:
    """The split of each record as a CSV file says: str, named "split", indexed as the records.

    Images that are not among the records are passed over, so a file for a whole data set serves a
    part of it too.

    Raises:
        UserError: as :func:`read_splits_csv`, or it does not have an image of the records.
    """
    found = records["image_id"].map(read_splits_csv(path))
    missing = records["image_id"][found.isna()].tolist()
    if missing:
        raise UserError(
            f"{path}: has no row for {summarise_names(missing)}; add a row for every image of the "
            "source, or give --drop-leaks to leave out those without one"
        )
    return pd.Series(found.to_numpy(object), index=records.index, name="split", dtype="str")


def read_splits_table(path: Path | str, columns: Sequence[str]) -> pd.DataFrame:
    """The columns of a CSV file as text, found by name.

    Raises:
        UserError: the file cannot be read, is no CSV table, or lacks a column.
    """
    try:
        frame = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # pandas' parser errors and UnicodeDecodeError are ValueErrors
        raise UserError(f"{path}: is no CSV table: {' '.join(str(error).split())}") from None
    frame.columns = frame.columns.str.strip()
    for column in columns:
        if column not in frame:
            hint = nearest_hint(column, [str(name) for name in frame.columns])
            raise UserError(
                f"{path}: has no column '{column}'{hint}; it needs {' and '.join(columns)}"
            )
        frame[column] = frame[column].str.strip()
    return frame[list(columns)]
