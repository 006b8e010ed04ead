"""What is odd about records, though nothing in it is an error: said before anybody trains."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tfskin.datasets.records import summarise_names
from tfskin.datasets.splits_file import FOLD

LARGE_SHARE = 0.1
"""One lesion, patient or group that holds more of the images is said."""
_LARGE = 10  # images: in smaller groups there is nothing odd about a tenth of a small data set
_SHOWN = 3


def describe_oddities(records: pd.DataFrame, groups: np.ndarray) -> list[str]:
    """A line for everything odd about ids and diagnoses.

    Images without a diagnosis, diagnoses of one image, lesions with two diagnoses, and an id or a
    group that holds more than :data:`LARGE_SHARE` of the images.

    Args:
        records: as ``check_records`` returns them.
        groups: int (N,), as ``group_records`` returns it.
    """
    lines = [*_describe_diagnoses(records["diagnosis"]), *_describe_torn_lesions(records)]
    named = []
    for column in ("lesion_id", "patient_id"):
        large = _largest(records[column][records[column] != ""], len(records))
        if large is not None:
            named.append(large[1])
            lines.append(
                f"{column} '{large[0]}' stands for {_share(large[1], len(records))}, which are "
                "kept in one split; if it is a word for 'unknown', empty it"
            )
    large = _largest(pd.Series(groups), len(records))
    if large is not None and large[1] > max(named, default=0):
        ids = records["image_id"][groups == large[0]].tolist()
        lines.append(
            f"one group of linked images holds {_share(large[1], len(records))}, such as "
            f"{summarise_names(ids)}; all of it is kept in one split"
        )
    return lines


def describe_untrained(records: pd.DataFrame, splits: pd.Series) -> list[str]:
    """A line where diagnoses have no image in train: no network can learn them.

    Args:
        records: as ``check_records`` returns them.
        splits: the split of each record; folds count as train.
    """
    known = records["diagnosis"] != ""
    is_train = (splits == "train") | splits.str.fullmatch(FOLD)
    trained = set(records["diagnosis"][known & is_train])
    lost = sorted(set(records["diagnosis"][known]) - trained)
    if not lost:
        return []
    count = int(records["diagnosis"].isin(lost).sum())
    return [
        f"no image of {summarise_names(lost)} is in train ({count} are in other splits), so no "
        "network can learn it; leave it out of data.classes"
    ]


def _describe_diagnoses(diagnoses: pd.Series) -> list[str]:
    lines = []
    counts = diagnoses.value_counts()
    missing = int(counts.get("", 0))
    if missing:
        lines.append(f"{_share(missing, len(diagnoses))} have no diagnosis and are in no class")
    alone = sorted(str(name) for name in counts.index[counts == 1] if name)
    if alone:
        lines.append(f"{len(alone)} diagnoses have one image each: {summarise_names(alone)}")
    return lines


def _describe_torn_lesions(records: pd.DataFrame) -> list[str]:
    known = records[(records["lesion_id"] != "") & (records["diagnosis"] != "")]
    torn = known[known.groupby("lesion_id")["diagnosis"].transform("nunique") > 1]
    if torn.empty:
        return []
    shown = []
    for lesion, rows in list(torn.groupby("lesion_id", sort=False))[:_SHOWN]:
        first = rows.drop_duplicates("diagnosis")
        pairs = zip(first["image_id"], first["diagnosis"], strict=True)
        shown.append(f"'{lesion}' ({', '.join(f'{name}: {word}' for name, word in pairs)})")
    count = torn["lesion_id"].nunique()
    more = f" and {count - len(shown)} more" if count > len(shown) else ""
    return [f"{count} lesions have two diagnoses or more: {', '.join(shown)}{more}"]


def _largest(names: pd.Series, total: int) -> tuple[object, int] | None:
    """The name of most rows, and their number, where it holds a large share of all."""
    counts = names.value_counts()
    if counts.empty or counts.iloc[0] < _LARGE or counts.iloc[0] <= LARGE_SHARE * total:
        return None
    return counts.index[0], int(counts.iloc[0])


def _share(count: int, total: int) -> str:
    return f"{count} of {total} images ({count / total:.0%})"
