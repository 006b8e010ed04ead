"""Groups of images that must stay together: one lesion, one patient, near duplicates."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tfskin.datasets.records import LINK_COLUMN


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
