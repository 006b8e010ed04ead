"""The proof that no lesion, patient, near duplicate or linked photograph is in two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfskin.datasets.records import LINK_COLUMN

_KINDS = {"lesion": "lesion_id", "patient": "patient_id", "linked image": LINK_COLUMN}
NEAR_DUPLICATE = "near duplicate"
PHOTOGRAPH = "photograph"


def prove_disjoint(
    records: pd.DataFrame,
    splits: pd.Series,
    groups: np.ndarray,
    *,
    near_duplicates: int | None,
    photographs: Mapping[str, int] | None,
) -> dict[str, Any]:
    """What was checked and found, as it is written into the shards' metadata.

    For each kind of link (lesion, patient, images that the source lists as duplicates or that
    merged sources join): ``images`` with an id, and ``in_two_splits``, the number of ids whose
    images are in two splits, counted anew from the ids, without the groups. ``near duplicate``
    has the number of linked ``pairs``, or is absent where they were not looked for; so does
    ``photograph``, with the counts of ``datasets.groups.count_photographs``. ``groups``:
    how many, and how many are ``in_two_splits``. ``not_ruled_out``: the kinds that nothing is
    known of, for at least one image.

    Args:
        records: with lesion_id, patient_id, and link where there is one.
        splits: the split of each record.
        groups: int (N,).
        near_duplicates: the number of near-duplicate pairs that the groups hold; None: they were
            not looked for.
        photographs: counts of the links of photographs; None: they were not looked for.
    """
    split = np.asarray(splits, dtype=object)
    links: dict[str, dict[str, int]] = {}
    open_questions = []
    for kind, column in _KINDS.items():
        if column not in records:
            continue
        ids = records[column].to_numpy(object)
        known = ids != ""
        links[kind] = {
            "images": int(known.sum()),
            "in_two_splits": count_torn(ids[known], split[known]),
        }
        if column != LINK_COLUMN and not known.all():
            open_questions.append(kind)
    if near_duplicates is None:
        open_questions.append(NEAR_DUPLICATE)
    else:
        links[NEAR_DUPLICATE] = {"pairs": near_duplicates}
    if photographs is None:
        open_questions.append(PHOTOGRAPH)
    else:
        links[PHOTOGRAPH] = dict(photographs)
    return {
        "links": links,
        "groups": {
            "images": len(groups),
            "groups": len(np.unique(groups)),
            "in_two_splits": count_torn(np.asarray(groups), split),
        },
        "not_ruled_out": open_questions,
    }


def count_torn(ids: np.ndarray, splits: np.ndarray) -> int:
    """The number of ids whose rows are in more than one split."""
    pairs = pd.DataFrame({"id": ids, "split": splits}).drop_duplicates()
    return int((pairs["id"].value_counts() > 1).sum())


def count_faults(proof: dict[str, Any]) -> str:
    """What a proof counts in two splits, as a phrase; "" when it holds."""
    for kind, numbers in [*proof["links"].items(), ("group", proof["groups"])]:
        if numbers.get("in_two_splits", 0):
            return f"{numbers['in_two_splits']} {kind}s are in two splits"
    return ""


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
