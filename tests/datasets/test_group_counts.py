"""What the proof and the news say of links that were cut."""

import pandas as pd
import pytest

from tests.datasets.test_groups import photographs
from tests.datasets.test_splits import make_table
from tests.datasets.tiny import no_duplicates
from tfskin.datasets.audit import Audit
from tfskin.datasets.group_counts import count_for_proof, describe_groups
from tfskin.datasets.groups import LinkedRecords, link_records
from tfskin.datasets.photographs.grouping import MAX_GROUP_IMAGES

COUNT = MAX_GROUP_IMAGES + 1


@pytest.fixture
def chain() -> tuple[Audit, LinkedRecords]:
    """One image more than a group may have in a chain, of which the last link is cut."""
    links = photographs(*((place, place + 1, 1 - place / 1e4) for place in range(COUNT - 1)))
    records = make_table("a" * COUNT).assign(source="made")
    audit = Audit(records, records, no_duplicates().assign(turn=0), links, ("photographs",))
    return audit, link_records(records, no_duplicates(), links)


def test_cut_links_between_two_splits_are_counted(chain):
    audit, linked = chain
    split = pd.Series("train", index=audit.records["image_id"])
    proof = count_for_proof(audit, linked, split)
    assert proof is not None
    assert (proof["cut"], proof["cut_in_two_splits"]) == (1, 0)
    split[f"i{COUNT - 1}"] = "test"
    torn = count_for_proof(audit, linked, split)
    assert torn == proof | {"cut_in_two_splits": 1}
    assert count_for_proof(audit, linked, split.iloc[:-1]) == proof  # the last one was dropped


def test_what_was_not_looked_for_is_not_counted(chain):
    audit, _ = chain
    blind = Audit(audit.records, audit.files, audit.duplicates, None, ())
    linked = link_records(blind.records, blind.duplicates, None)
    assert count_for_proof(blind, linked, pd.Series(dtype="str")) is None
    assert "photographs of one lesion, " not in describe_groups(blind, linked)


def test_the_news_says_what_was_linked_and_cut(chain):
    line = describe_groups(*chain).splitlines()[0]
    assert line.startswith(f"{COUNT} images, 0 lesions, 0 near-duplicate pairs")
    assert f"{COUNT - 2} pairs of photographs of one lesion (1 more were cut), 2 groups" in line
