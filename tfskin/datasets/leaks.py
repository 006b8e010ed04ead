"""What a given split leaks: images to judge a network on whose lesion it has learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tfskin.datasets.audit import Audit
from tfskin.datasets.folds import fold_number
from tfskin.datasets.groups import BY_COPY, BY_ID, BY_PHOTOGRAPH, link_records
from tfskin.datasets.photographs.probability import REPORTING
from tfskin.datasets.records import LINK_COLUMN
from tfskin.datasets.splits_file import SPLITS

HELD_OUT = tuple(split for split in SPLITS if split != "train")
_KINDS = (BY_ID, BY_COPY, BY_PHOTOGRAPH)


@dataclass(frozen=True)
class Leaks:
    """What a split tears apart.

    Attributes:
        pairs: a row for each pair of an image of train and one of val, calibration or test that
            show one lesion: the columns of ``Audit.name_pairs``, ``split_1`` and ``split_2``,
            ``linked_by`` (the kinds of evidence, such as "id photograph"), and of photographs
            their probability and transform (blank for others).
        counts: held-out split -> ``images`` in it, and how many of these have a photograph of
            their lesion in train by each kind of evidence: ``id``, ``copy``, ``photograph``
            (probable enough for splitting), ``sure_photograph`` (probable enough for reporting),
            ``chain`` (only by way of further images), and by ``any`` of them; ``patient``: whose
            patient is in train, whatever the lesion.
    """

    pairs: pd.DataFrame
    counts: dict[str, dict[str, int]]


def judge_split(audit: Audit, splits: pd.Series) -> Leaks:
    """What train and the held-out splits share, by kind of evidence.

    Folds count as train. Kinds that the audit has not looked for are not found.

    Args:
        audit: of the images.
        splits: the split of each of its records; "" for images that are in none.
    """
    names = splits.to_numpy(object)
    learned = np.array([name == "train" or fold_number(name) is not None for name in names])
    held_out = np.isin(names, HELD_OUT)
    links = _gather_links(audit, learned, held_out)
    first, second = links["first"].to_numpy(np.int64), links["second"].to_numpy(np.int64)
    torn = (learned[first] & held_out[second]) | (held_out[first] & learned[second])
    links, first, second = links[torn].reset_index(drop=True), first[torn], second[torn]
    table = audit.name_pairs(links)
    table.insert(1, "split_1", names[first])
    table.insert(3, "split_2", names[second])
    flags = links[list(_KINDS)].to_numpy(bool)
    table["linked_by"] = [" ".join(np.array(_KINDS)[row]) for row in flags]
    table = pd.concat([table, links.drop(columns=["first", "second", *_KINDS])], axis=1)
    return Leaks(table, _count(audit, names, learned, links))


def _gather_links(audit: Audit, learned: np.ndarray, held_out: np.ndarray) -> pd.DataFrame:
    """All links of two images, each once: first, second, a column for each kind, the evidence."""
    photographs = audit.photograph_links()
    by_id = _pair_ids(audit.records, learned, held_out)
    frames = {
        BY_ID: pd.DataFrame(by_id, columns=["first", "second"]),
        BY_COPY: audit.duplicates[["first", "second"]],
        BY_PHOTOGRAPH: photographs[["first", "second"]],
    }
    kinds = [frame.astype(np.int64).assign(**{kind: True}) for kind, frame in frames.items()]
    merged = kinds[0]
    for frame in kinds[1:]:
        merged = merged.merge(frame, on=["first", "second"], how="outer")
    for kind in _KINDS:
        merged[kind] = merged[kind].eq(True)
    merged = merged.merge(photographs, on=["first", "second"], how="left")
    order = merged.assign(kind=~merged[BY_PHOTOGRAPH]).sort_values(
        ["kind", "probability", "first", "second"], ascending=[True, False, True, True]
    )
    return order.drop(columns="kind").reset_index(drop=True)


def _pair_ids(
    records: pd.DataFrame, learned: np.ndarray, held_out: np.ndarray
) -> list[tuple[int, int]]:
    """Pairs of one lesion id, or of one link that a source gives, on both sides; the lower first.

    Where patients are known, merged sources' links are of patients too, and are passed over.
    """
    columns = ["lesion_id"]
    if LINK_COLUMN in records and (records["patient_id"] == "").all():
        columns.append(LINK_COLUMN)
    pairs: set[tuple[int, int]] = set()
    for column in columns:
        known = records[column][(records[column] != "") & (learned | held_out)]
        for places in known.groupby(known).indices.values():
            rows = known.index.to_numpy()[places]
            for one in rows[learned[rows]].tolist():
                pairs |= {(min(one, b), max(one, b)) for b in rows[held_out[rows]].tolist()}
    return sorted(pairs)


def _count(
    audit: Audit, names: np.ndarray, learned: np.ndarray, links: pd.DataFrame
) -> dict[str, dict[str, int]]:
    ends = links[["first", "second"]].to_numpy(np.int64)

    def mark(rows: np.ndarray) -> np.ndarray:
        marked = np.zeros(len(names), bool)
        marked[ends[rows].ravel()] = True
        return marked

    sure = (links["probability"] >= REPORTING).to_numpy()
    by = {kind: mark(links[kind].to_numpy(bool)) for kind in _KINDS}
    by["sure_photograph"] = mark(sure)
    lesions = audit.records.assign(patient_id="")
    if (audit.records["patient_id"] != "").any():
        lesions = lesions.drop(columns=LINK_COLUMN, errors="ignore")
    groups = link_records(lesions, audit.duplicates, audit.photographs).groups
    chained = np.isin(groups, groups[learned])
    direct = by[BY_ID] | by[BY_COPY] | by[BY_PHOTOGRAPH]
    by["chain"] = chained & ~direct
    by["any"] = chained | direct
    patients = audit.records["patient_id"].to_numpy(object)
    by["patient"] = (patients != "") & np.isin(patients, patients[learned])
    return {
        split: {"images": int((names == split).sum())}
        | {kind: int((mask & (names == split)).sum()) for kind, mask in by.items()}
        for split in HELD_OUT
        if (names == split).any()
    }
