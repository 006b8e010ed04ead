"""Groups of ids, near duplicates and photographs together: nothing that links them is torn."""

import numpy as np
import pandas as pd
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.datasets.test_splits import data_sets, expect_closed, link, make_table
from tests.datasets.tiny import no_duplicates
from tfskin.datasets.groups import group_records, link_records
from tfskin.datasets.photographs.grouping import MAX_GROUP_IMAGES
from tfskin.datasets.photographs.probability import REPORTING, SPLITTING
from tfskin.datasets.splits import make_splits
from tfskin.errors import UserError


def photographs(*links: tuple[int, int, float]) -> pd.DataFrame:
    frame = pd.DataFrame(links, columns=["first", "second", "probability"])
    return frame.astype({"first": np.int64, "second": np.int64, "probability": np.float64})


@st.composite
def linked_data_sets(draw):
    """Records, near duplicates, and links of photographs of any probability."""
    records, duplicates = draw(data_sets())
    index = st.integers(0, len(records) - 1)
    pairs = st.tuples(index, index, st.sampled_from([0.1, 0.49, SPLITTING, 0.8, REPORTING, 1.0]))
    found = draw(st.lists(pairs.filter(lambda pair: pair[0] < pair[1]), max_size=30))
    return records, duplicates, photographs(*found)


@settings(deadline=None, max_examples=150)
@given(data=linked_data_sets(), seed=st.integers(0, 99))
def test_a_split_never_separates_what_is_linked_and_not_cut(data, seed):
    records, duplicates, found = data
    linked = link_records(records, duplicates, found)
    try:
        split = make_splits(records, linked.groups, seed=seed)
    except UserError:
        assume(False)  # too few groups
    expect_closed(records, duplicates, split)
    follow = (found["probability"] >= SPLITTING).to_numpy() & ~linked.cut
    first, second = found["first"].to_numpy(), found["second"].to_numpy()
    names = split.to_numpy()
    assert (names[first[follow]] == names[second[follow]]).all()


@settings(deadline=None, max_examples=100)
@given(data=linked_data_sets())
def test_groups_are_as_without_photographs_or_coarser(data):
    records, duplicates, found = data
    known = group_records(records, duplicates)
    linked = link_records(records, duplicates, found)
    pairs = pd.DataFrame({"known": known, "group": linked.groups})
    assert pairs.groupby("known")["group"].nunique().max() == 1
    assert (link_records(records, duplicates, None).groups == known).all()
    counts = linked.photographs
    assert counts is not None
    assert counts["cut"] == linked.cut.sum()
    bound = max(MAX_GROUP_IMAGES, np.bincount(known).max())
    assert np.bincount(linked.groups).max() == counts["largest_group"] <= bound


def test_what_links_an_image_is_told_apart():
    records = make_table("aabbccdd", ["l", "l", "", "", "", "", "m", "n"])
    found = photographs((0, 1, 1), (4, 5, 1), (6, 7, 1), (2, 5, 0.3))
    linked = link_records(records, link((2, 3)), found)
    assert linked.linked_by.tolist() == [
        *["id photograph"] * 2,
        *["copy"] * 2,
        *["photograph"] * 4,
    ]
    assert linked.photographs == {
        "pairs": 3,
        "new_pairs": 2,
        "across_lesions": 1,
        "cut": 0,
        "cut_of_one_lesion": 0,
        "largest_group": 2,
    }


def test_a_cut_link_is_counted_and_marks_no_image():
    count = MAX_GROUP_IMAGES + 1
    chain = photographs(*((place, place + 1, 1 - place / 1e4) for place in range(count - 1)))
    linked = link_records(make_table("a" * count, ["l"] * 2 + [""] * (count - 2)), link(), chain)
    assert linked.photographs is not None
    assert linked.photographs["cut"] == 1
    assert linked.photographs["largest_group"] == MAX_GROUP_IMAGES
    assert linked.linked_by[-1] == ""  # the least probable link
    assert linked.linked_by[0] == "id photograph"


def test_photographs_that_were_not_looked_for_link_nothing_and_have_no_counts():
    linked = link_records(make_table("aa"), no_duplicates(), None)
    assert linked.photographs is None
    assert linked.linked_by.tolist() == ["", ""]
    assert len(linked.cut) == 0
