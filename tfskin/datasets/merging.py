"""Several sources -> one table of records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tfskin.datasets.diagnoses import common_name
from tfskin.datasets.records import LINK_COLUMN, SPLIT_COLUMN, UNKNOWN_AGE

_ISIC = re.compile(r"(ISIC_\d{7})(_downsampled)?")
_FILLED = ("lesion_id", "patient_id", "sex", "site", "image_type", "skin_type", "license")


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
    that has it keeps it, what it does not know (lesion, patient, age, ...) is filled in from the
    later ones, and a split that any source gives holds, a test split before all. Other ids get
    their source's name in front when two sources use the same. ``ISIC_0000001_downsampled`` and
    ``ISIC_0000001`` are linked. Lesion ids, which sources number each for itself, and patient
    ids are compared as they are when they are the archive's (IL_..., IP_...), and within one
    source otherwise.

    Args:
        tables: as ``read_records`` returns them.
        harmonise: write the diagnosis by its common name (see ``datasets.diagnoses``).
    """
    frames = [_mark_ids(table) for table in tables]
    records = pd.concat(frames, ignore_index=True)
    records["image_id"] = _distinct_ids(records)
    if harmonise:
        records["diagnosis"] = [common_name(name) for name in records["diagnosis"]]
    if LINK_COLUMN not in records:
        records[LINK_COLUMN] = ""
    records[LINK_COLUMN] = records[LINK_COLUMN].fillna("")
    if SPLIT_COLUMN in records:
        records[SPLIT_COLUMN] = records[SPLIT_COLUMN].fillna("")
    again = records["image_id"].duplicated(keep=False)
    conflicts = _find_conflicts(records[again])
    kept = _fill_from_later(records, again)
    archive = kept["image_id"].str.extract(_ISIC)[0].fillna("")
    kept[LINK_COLUMN] = kept[LINK_COLUMN].where(kept[LINK_COLUMN] != "", archive)
    return Merged(kept.reset_index(drop=True), len(records) - len(kept), conflicts)


def _mark_ids(table: pd.DataFrame) -> pd.DataFrame:
    """Lesion and patient ids that only their own source understands get its name in front."""
    table = table.copy()
    for column, archive in (("lesion_id", r"IL_\d+"), ("patient_id", r"IP_\d+")):
        own = (table[column] != "") & ~table[column].str.fullmatch(archive)
        table[column] = table[column].where(~own, table["source"] + ":" + table[column])
    return table


def _distinct_ids(records: pd.DataFrame) -> pd.Series:
    ids = records["image_id"]
    sources = records.groupby("image_id")["source"].transform("nunique")
    clash = (sources > 1) & ~ids.str.fullmatch(_ISIC)
    return ids.where(~clash, records["source"] + "__" + ids)


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
        if kept.at[place, "age"] == UNKNOWN_AGE:
            kept.at[place, "age"] = row["age"]
        if SPLIT_COLUMN in kept and row[SPLIT_COLUMN]:
            held = kept.at[place, SPLIT_COLUMN]
            if held in ("", "train") or row[SPLIT_COLUMN] == "test":
                kept.at[place, SPLIT_COLUMN] = row[SPLIT_COLUMN]
    return kept
