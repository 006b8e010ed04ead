"""Several sources -> one table of records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count

import numpy as np
import pandas as pd

from tfskin.datasets.diagnoses import common_name
from tfskin.datasets.groups import group_records, name_groups
from tfskin.datasets.records import LINK_COLUMN, SPLIT_COLUMN
from tfskin.datasets.words import UNKNOWN_AGE, join_spellings

ISIC_ID = re.compile(r"(ISIC_\d{7})(_downsampled)?")
"""An id of the ISIC Archive; it means one image in every source."""
# Ids that mean the same in every source: the archive's, and those of the collections in ISIC 2019.
SHARED_IDS = {
    "lesion_id": r"(IL|HAM|BCN|MSK\d*)_\d+",
    "patient_id": r"IP_\d+",
    LINK_COLUMN: ISIC_ID.pattern,
}
_FILLED = (
    *("diagnosis", "lesion_id", "patient_id"),
    *("sex", "site", "image_type", "fitzpatrick", "skin_tone", "clinic"),
)


@dataclass(frozen=True)
class Merged:
    """Records of several sources.

    Attributes:
        records: as ``check_records`` returns them.
        repeated: rows left out, for their image is in an earlier source already.
        conflicts: image ids whose sources disagree about the diagnosis, with what each says.
    """

    records: pd.DataFrame
    repeated: int
    conflicts: dict[str, list[str]]


def merge_records(tables: Sequence[pd.DataFrame], *, harmonise: bool = True) -> Merged:
    """The records of several sources, each image of the ISIC Archive once.

    Ids of the archive (ISIC and seven digits) mean one image in every source: the first source
    that has it keeps it, what it does not know (diagnosis, lesion, age, ...) is filled in from the
    later ones, a licence together with its attribution, and a split that any source gives holds,
    a test split before all. Other ids get their source's name in front when two tables use the
    same ("table" and "table_2" where both are of one source). Lesion ids, which sources number
    each for itself, and patient ids are compared as they are when they are the archive's or of a
    collection in it (IL_..., HAM_..., BCN_..., MSK..., IP_...), and within one table otherwise.

    An image keeps one lesion id, but what any source links stays linked: the column ``link`` has
    one name for all images that a chain of lesions, patients and duplicates joins, over the rows
    of all sources. ``ISIC_0000001_downsampled`` and ``ISIC_0000001`` are linked.

    Args:
        tables: as ``read_records`` returns them.
        harmonise: write the diagnosis by its common name (see ``datasets.diagnoses``).
    """
    names = _name_tables(tables)
    frames = [_mark_ids(table, name) for table, name in zip(tables, names, strict=True)]
    records = pd.concat(frames, ignore_index=True)
    origin = pd.Series(np.repeat(names, [len(frame) for frame in frames]), dtype="str")
    records["image_id"] = _distinct_ids(records["image_id"], origin)
    if harmonise:
        records["diagnosis"] = [common_name(name) for name in records["diagnosis"]]
    records["diagnosis"] = join_spellings(records["diagnosis"], "diagnoses", "the merged sources")
    for column in (LINK_COLUMN, SPLIT_COLUMN):
        if column in records:
            records[column] = records[column].fillna("")
    records[LINK_COLUMN] = _link_rows(records)
    again = records["image_id"].duplicated(keep=False)
    conflicts = _find_conflicts(records[again])
    kept = _fill_from_later(records, again)
    return Merged(kept.reset_index(drop=True), len(records) - len(kept), conflicts)


def _name_tables(tables: Sequence[pd.DataFrame]) -> list[str]:
    """A name for each table: its source's, numbered where it is taken."""
    names: list[str] = []
    for table in tables:
        source = table["source"].iloc[0]
        numbered = (f"{source}_{number}" for number in count(2))
        names.append(next(name for name in chain([source], numbered) if name not in names))
    return names


def _mark_ids(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Lesions, patients and links that only their own table understands get its name in front."""
    table = table.copy()
    for column, shared in SHARED_IDS.items():
        if column in table:
            own = (table[column] != "") & ~table[column].str.fullmatch(shared)
            table[column] = table[column].where(~own, name + ":" + table[column])
    return table


def _distinct_ids(ids: pd.Series, origin: pd.Series) -> pd.Series:
    clash = ids.duplicated(keep=False) & ~ids.str.fullmatch(ISIC_ID)
    return ids.where(~clash, origin + "__" + ids)


def _link_rows(records: pd.DataFrame) -> pd.Series:
    """A name that linked images share, the first one's id; "" for an image that is alone.

    Taken over the rows that will be left out too: what they link would be lost with them.
    """
    ids = records["image_id"]
    image = ids.str.extract(ISIC_ID)[0].fillna(ids)  # a downsampled copy shows the same
    rows = np.arange(len(ids))
    first = pd.Series(rows, index=ids.index).groupby(image).transform("first")
    return name_groups(ids, group_records(records, pd.DataFrame({"first": first, "second": rows})))


def _find_conflicts(rows: pd.DataFrame) -> dict[str, list[str]]:
    conflicts = {}
    for image_id, names in rows.groupby("image_id")["diagnosis"]:
        distinct = list(dict.fromkeys(name for name in names if name))
        if len(distinct) > 1:
            conflicts[str(image_id)] = distinct
    return conflicts


def _fill_from_later(records: pd.DataFrame, again: pd.Series) -> pd.DataFrame:
    """One row an image: the first, its blanks filled; the rest are few, so rows are looped."""
    kept = records[~records["image_id"].duplicated()].copy()
    places = dict(zip(kept["image_id"], kept.index, strict=True))
    for row in records[again].to_dict("records"):
        place = places[row["image_id"]]
        for column in _FILLED:
            if kept.at[place, column] == "" and row[column] != "":
                kept.at[place, column] = row[column]
        if kept.at[place, "license"] == "" and row["license"] != "":
            kept.at[place, "license"] = row["license"]
            if row["attribution"] != "":
                kept.at[place, "attribution"] = row["attribution"]
        if kept.at[place, "age"] == UNKNOWN_AGE:
            kept.at[place, "age"] = row["age"]
        if SPLIT_COLUMN in kept and row[SPLIT_COLUMN]:
            held = kept.at[place, SPLIT_COLUMN]
            if held in ("", "train") or row[SPLIT_COLUMN] == "test":
                kept.at[place, SPLIT_COLUMN] = row[SPLIT_COLUMN]
    return kept
