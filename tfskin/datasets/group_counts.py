"""What the groups of a data set are made of, for the proof and in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from tfskin.datasets.audit import Audit
from tfskin.datasets.groups import LinkedRecords
from tfskin.datasets.photographs.probability import REPORTING


def count_for_proof(
    audit: Audit, linked: LinkedRecords, split_of: pd.Series
) -> dict[str, int] | None:
    """Counts of the links of photographs, and ``cut_in_two_splits``: cut ones that are torn.

    None where photographs were not looked for.

    Args:
        audit: what was found.
        linked: the groups of its records.
        split_of: image id -> split, of the images that were not dropped.
    """
    if audit.photographs is None or linked.photographs is None:
        return None
    ids = audit.records["image_id"].to_numpy(object)
    cut = audit.photographs[linked.cut]
    first, second = (
        split_of.reindex(ids[cut[end]]).to_numpy(object) for end in ("first", "second")
    )
    there = pd.notna(first) & pd.notna(second)
    return linked.photographs | {"cut_in_two_splits": int((there & (first != second)).sum())}


def describe_groups(audit: Audit, linked: LinkedRecords) -> str:
    """How many images, lesions, links and groups there are, and what is odd about them."""
    records = audit.records
    lesions = records["lesion_id"]
    known = lesions[lesions != ""]
    text = (
        f"{len(records)} images, {known.nunique()} lesions, {len(audit.duplicates)} "
        f"near-duplicate pairs, {_describe_photographs(linked.photographs)}"
        f"{len(np.unique(linked.groups))} groups"
    )
    found = audit.photograph_pairs()
    across = found[(found["same_lesion"] == "no") & (found["probability"] >= REPORTING)]
    if len(across):
        first = across.iloc[0]
        text += (
            f"\n{len(across)} pairs of photographs look like one lesion and have two lesion ids, "
            f"such as '{first['image_id_1']}' and '{first['image_id_2']}'; tfskin-audit lists them"
        )
    conflicts = audit.pairs()
    conflicts = conflicts[conflicts["conflict"]]
    if len(conflicts):
        first = conflicts.iloc[0]
        text += (
            f"\nwarning: {len(conflicts)} near-duplicate pairs have two diagnoses, such as "
            f"'{first['image_id_1']}' ({first['diagnosis_1']}) and '{first['image_id_2']}' "
            f"({first['diagnosis_2']}); tfskin-audit lists them"
        )
    if known.empty and (records["patient_id"] == "").all():
        text += (
            "\nno lesion or patient ids: images that are found to show one lesion are kept "
            "together, but photographs that share too few details, and other lesions of one "
            "patient, can't be told apart and may be in two splits"
        )
    return text


def _describe_photographs(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return ""
    cut = f" ({counts['cut']} more were cut)" if counts["cut"] else ""
    return f"{counts['pairs']} pairs of photographs of one lesion{cut}, "
