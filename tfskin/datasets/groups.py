"""Groups of images that must stay together: by ids, near duplicates, photographs of one lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tfskin.datasets.photographs.grouping import LinkedGroups, group_linked
from tfskin.datasets.photographs.probability import REPORTING, SPLITTING
from tfskin.datasets.records import LINK_COLUMN

BY_ID, BY_COPY, BY_PHOTOGRAPH = "id", "copy", "photograph"
"""What links an image to others: a lesion, a patient or a list of the source; its hash; details."""


@dataclass(frozen=True)
class LinkedRecords:
    """The groups of records, and what holds them together.

    Attributes:
        groups: int64 (N,), numbered from 0 in the order of first appearance.
        linked_by: of each record, what links it to others of its group, such as "id photograph";
            "" where it is alone.
        photographs: counts of the links of photographs, as :func:`count_photographs` returns
            them; None where they were not looked for.
        cut: bool, one for each link of photographs: its images are in two groups.
    """

    groups: np.ndarray
    linked_by: np.ndarray
    photographs: dict[str, int] | None
    cut: np.ndarray


def link_records(
    records: pd.DataFrame, duplicates: pd.DataFrame, photographs: pd.DataFrame | None
) -> LinkedRecords:
    """The groups that ids, near duplicates and links of photographs make together.

    Ids and near duplicates are never cut. A link of photographs is followed from the probability
    for splitting on, also across two known lesion ids: where it is false, a group gets coarser,
    and where the ids are at fault, a lesion is kept from two splits. Which of these links are cut
    says :func:`tfskin.datasets.photographs.grouping.group_linked`.

    Args:
        records: as for :func:`group_records`.
        duplicates: as for :func:`group_records`.
        photographs: as ``find_photographs`` returns it for the records' paths in order; None:
            they were not looked for.
    """
    known = group_records(records, duplicates)
    links = _no_links() if photographs is None else photographs
    linked = group_linked(known, links, splitting=SPLITTING, reporting=REPORTING)
    followed = linked.kept & (links["probability"].to_numpy() >= SPLITTING)
    ids = np.zeros(len(records), bool)
    for column in _linking_columns(records):
        ids |= records[column].duplicated(keep=False).to_numpy() & (records[column] != "")
    kinds = {
        BY_ID: ids,
        BY_COPY: _mark_ends(duplicates, len(records)),
        BY_PHOTOGRAPH: _mark_ends(links[followed], len(records)),
    }
    words = np.stack([np.where(mask, kind, "") for kind, mask in kinds.items()], axis=1)
    return LinkedRecords(
        linked.groups,
        np.array([" ".join(filter(None, row)) for row in words.tolist()], object),
        None if photographs is None else count_photographs(records, known, links, linked),
        linked.cut,
    )


def count_photographs(
    records: pd.DataFrame, known: np.ndarray, links: pd.DataFrame, linked: LinkedGroups
) -> dict[str, int]:
    """Counts of the links that are probable enough for splitting.

    ``pairs`` within a group; ``new_pairs`` of them, which neither ids nor copies hold together;
    ``across_lesions`` of them, with two known lesion ids; ``cut`` links, whose images are in two
    groups; ``cut_of_one_lesion`` of them, with one known lesion id; ``largest_group`` in images.
    """
    first, second = links["first"].to_numpy(np.int64), links["second"].to_numpy(np.int64)
    kept = linked.kept & (links["probability"].to_numpy() >= SPLITTING)
    lesions = records["lesion_id"].to_numpy(object)
    named = (lesions[first] != "") & (lesions[second] != "")
    same = named & (lesions[first] == lesions[second])
    return {
        "pairs": int(kept.sum()),
        "new_pairs": int((kept & (known[first] != known[second])).sum()),
        "across_lesions": int((kept & named & ~same).sum()),
        "cut": int(linked.cut.sum()),
        "cut_of_one_lesion": int((linked.cut & same).sum()),
        "largest_group": linked.largest,
    }


def _mark_ends(links: pd.DataFrame, count: int) -> np.ndarray:
    marked = np.zeros(count, bool)
    marked[links["first"].to_numpy(np.int64)] = True
    marked[links["second"].to_numpy(np.int64)] = True
    return marked


def _no_links() -> pd.DataFrame:
    return pd.DataFrame({"first": [], "second": [], "probability": []}, dtype=np.float64)


def group_records(records: pd.DataFrame, duplicates: pd.DataFrame) -> np.ndarray:
    """The group of each record: int64 (N,), numbered from 0 in the order of first appearance.

    Two images are in one group when a chain of shared lesions, shared patients and near
    duplicates leads from one to the other (connected components). An empty id links nothing.

    Args:
        records: a frame with columns lesion_id and patient_id, and link where the source names
            duplicates itself.
        duplicates: as ``compare_hashes`` returns it for the records' paths in order.
    """
    count = len(records)
    firsts = [duplicates["first"].to_numpy(np.int64)]
    seconds = [duplicates["second"].to_numpy(np.int64)]
    nodes = count
    for column in _linking_columns(records):
        codes, names = pd.factorize(records[column].to_numpy(object))
        known = np.flatnonzero(records[column].to_numpy(object) != "")
        firsts.append(known)
        seconds.append(codes[known] + nodes)  # each id is a node of its own, linked to its images
        nodes += len(names)
    rows, columns = np.concatenate(firsts), np.concatenate(seconds)
    links = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(nodes, nodes))
    _, components = connected_components(links, directed=False)
    return pd.factorize(components[:count])[0].astype(np.int64)


def name_groups(ids: pd.Series, groups: np.ndarray) -> pd.Series:
    """A name that the images of a group share, the first one's id; "" for one that is alone."""
    linked = ids.groupby(groups)
    return linked.transform("first").where(linked.transform("nunique") > 1, "")


def _linking_columns(records: pd.DataFrame) -> list[str]:
    return [name for name in ("lesion_id", "patient_id", LINK_COLUMN) if name in records]
