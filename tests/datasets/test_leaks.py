"""What a split leaks, by kind of evidence: every planted leak is found."""

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets.test_groups import linked_data_sets, photographs
from tests.datasets.test_splits import link, make_table
from tfskin.datasets.audit import Audit
from tfskin.datasets.groups import link_records
from tfskin.datasets.leaks import HELD_OUT, judge_split
from tfskin.datasets.photographs.probability import SPLITTING
from tfskin.datasets.splits import make_splits
from tfskin.errors import UserError


def audit_of(records: pd.DataFrame, duplicates: pd.DataFrame, found: pd.DataFrame | None) -> Audit:
    records = records.assign(source="made")
    return Audit(records, records, duplicates, found, ())


def pairs_of(leaks) -> set[tuple[str, str]]:
    return set(zip(leaks.pairs["image_id_1"], leaks.pairs["image_id_2"], strict=True))


@settings(deadline=None, max_examples=100)
@given(
    data=linked_data_sets(),
    names=st.lists(st.sampled_from(["", "train", "fold1", "val", "test"]), min_size=60),
)
def test_every_leak_is_found_whatever_the_links_and_the_split(data, names):
    records, duplicates, found = data
    split = pd.Series(names[: len(records)], dtype="str")
    leaks = judge_split(audit_of(records, duplicates, found), split)
    probable = found[found["probability"] >= SPLITTING]
    lesions = records["lesion_id"]
    linked = {
        *zip(duplicates["first"], duplicates["second"], strict=True),
        *zip(probable["first"], probable["second"], strict=True),
        *(
            (one, other)
            for one in range(len(records))
            for other in range(one + 1, len(records))
            if lesions[one] == lesions[other] != ""
        ),
    }
    sides = {name: "train" if name in ("train", "fold1") else name for name in names}
    torn = {
        (one, other)
        for one, other in linked
        if "train" in (sides[split[one]], sides[split[other]])
        and not {sides[split[one]], sides[split[other]]}.isdisjoint(HELD_OUT)
    }
    assert pairs_of(leaks) == {(f"i{one}", f"i{other}") for one, other in torn}
    for name, counts in leaks.counts.items():
        there = {image for pair in torn for image in pair if split[image] == name}
        assert counts["any"] - counts["chain"] == len(there)
        assert counts["images"] == (split == name).sum()


@settings(deadline=None, max_examples=50)
@given(data=linked_data_sets())
def test_a_split_over_the_lesions_groups_leaks_nothing(data):
    records, duplicates, found = data
    records = records.assign(patient_id="")
    linked = link_records(records, duplicates, found)
    try:
        split = make_splits(records, linked.groups)
    except UserError:
        return  # too few groups
    leaks = judge_split(audit_of(records, duplicates, found[~linked.cut]), split)
    assert leaks.pairs.empty
    assert all(counts["any"] == 0 for counts in leaks.counts.values())


def test_kinds_of_evidence_are_told_apart():
    records = make_table(
        "aabbccddee", ["l", "l", *[""] * 8], ["", "", "", "", "", "", "p", "p", "", ""]
    )
    found = photographs((0, 1, 0.99), (4, 5, 0.6), (8, 9, 0.2))
    split = pd.Series(["train", "test"] * 5)
    leaks = judge_split(audit_of(records, link((2, 3)), found), split)
    assert leaks.counts == {
        "test": {
            "images": 5,
            "id": 1,
            "copy": 1,
            "photograph": 2,
            "sure_photograph": 1,
            "chain": 0,
            "any": 3,
            "patient": 1,
        }
    }
    table = leaks.pairs.set_index("image_id_1")
    assert table["linked_by"].to_dict() == {"i0": "id photograph", "i4": "photograph", "i2": "copy"}
    assert (table["split_1"] == "train").all()
    assert (table["split_2"] == "test").all()
    assert table.isna()["probability"].to_dict() == {"i0": False, "i4": False, "i2": True}


def test_a_leak_by_way_of_a_third_image_is_counted_as_such():
    records = make_table("aaa")
    split = pd.Series(["train", "val", "test"])
    leaks = judge_split(audit_of(records, link((0, 1), (1, 2)), None), split)
    assert leaks.counts["test"]["chain"] == leaks.counts["test"]["any"] == 1
    assert leaks.counts["val"]["copy"] == 1
