import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfskin.datasets.photographs.grouping import LinkedGroups, group_linked
from tfskin.datasets.splits import make_splits

STRONG, WEAK, FAINT = 0.95, 0.6, 0.2


def frame(*links: tuple[int, int, float]) -> pd.DataFrame:
    return pd.DataFrame(links, columns=["first", "second", "probability"]).astype(
        {"first": np.int64, "second": np.int64, "probability": np.float64}
    )


def group(known, links: pd.DataFrame, max_images: int = 30) -> LinkedGroups:
    return group_linked(
        np.asarray(known), links, splitting=0.5, reporting=0.9, max_images=max_images
    )


def test_strong_links_make_groups_in_the_order_of_first_appearance():
    found = group(range(5), frame((1, 4, STRONG), (2, 4, STRONG)))
    assert found.groups.tolist() == [0, 1, 1, 2, 1]
    assert found.kept.all()
    assert not found.cut.any()
    assert found.largest == 3


def test_faint_links_are_not_followed_and_not_counted_as_cut():
    found = group(range(2), frame((0, 1, FAINT)))
    assert found.groups.tolist() == [0, 1]
    assert not found.kept.any()
    assert not found.cut.any()


def test_a_weak_link_brings_a_single_image_to_a_group():
    found = group([0, 0, 1], frame((1, 2, WEAK)))
    assert found.groups.tolist() == [0, 0, 0]


def test_two_groups_need_two_weak_links_or_a_strong_one():
    known = [0, 0, 1, 1]
    lone = group(known, frame((0, 2, WEAK)))
    assert lone.groups.tolist() == [0, 0, 1, 1]
    assert lone.cut.tolist() == [True]
    assert group(known, frame((0, 2, WEAK), (1, 3, WEAK))).groups.tolist() == [0, 0, 0, 0]
    assert group(known, frame((0, 2, STRONG))).groups.tolist() == [0, 0, 0, 0]


def test_one_pair_twice_is_no_support():
    found = group([0, 0, 1, 1], frame((0, 2, WEAK), (2, 0, WEAK)))
    assert found.groups.tolist() == [0, 0, 1, 1]


def test_support_may_come_of_a_join():
    # Images 4 and 5 come to the two groups first; then two weak links lead from one to the other.
    known = [0, 0, 1, 1, 2, 3]
    links = frame((4, 0, WEAK), (5, 2, WEAK), (4, 5, WEAK - 0.05), (1, 3, WEAK - 0.05))
    assert group(known, links).largest == 6


def test_a_chain_is_broken_at_its_weakest_link():
    links = frame((0, 1, 0.95), (1, 2, 0.94), (2, 3, 0.91), (3, 4, 0.96), (4, 5, 0.97))
    found = group(range(6), links, max_images=3)
    assert found.groups.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.cut.tolist() == [False, False, True, False, False]


def test_known_groups_hold_whatever_their_size():
    found = group([7] * 5 + [3], frame((0, 5, STRONG)), max_images=4)
    assert found.groups.tolist() == [0] * 5 + [1]
    assert found.cut.tolist() == [True]


def test_nothing_at_all():
    found = group([], frame())
    assert found.groups.tolist() == []
    assert found.largest == 0


@st.composite
def linked_images(draw):
    count = draw(st.integers(1, 25))
    image = st.integers(0, count - 1)
    known = draw(st.lists(st.integers(0, count), min_size=count, max_size=count))
    probability = st.sampled_from([0.1, 0.5, 0.55, 0.6, 0.9, 0.95, 1.0])
    links = draw(st.lists(st.tuples(image, image, probability), max_size=60))
    return np.array(known), frame(*links), draw(st.integers(1, 12))


@settings(max_examples=200, deadline=None)
@given(linked_images(), st.randoms(use_true_random=False))
def test_groups_under_random_links(example, random):
    known, links, max_images = example
    found = group(known, links, max_images)
    groups = found.groups
    # Known groups are whole, and what links make of several of them keeps the bound.
    for name in np.unique(known):
        assert len(set(groups[known == name])) == 1
    for name in np.unique(groups):
        members = groups == name
        assert members.sum() <= max_images or len(set(known[members])) == 1
    # What is kept is together, what is cut is apart, and what is neither was too faint.
    first, second = links["first"].to_numpy(), links["second"].to_numpy()
    assert (groups[first] == groups[second]).tolist() == found.kept.tolist()
    followed = links["probability"].to_numpy() >= 0.5
    assert found.cut.tolist() == (followed & ~found.kept).tolist()
    # A strong link is cut only where its groups would have been too large together.
    sizes = np.bincount(groups)
    for place in np.flatnonzero(found.cut & (links["probability"].to_numpy() >= 0.9)):
        assert sizes[groups[first[place]]] + sizes[groups[second[place]]] > max_images
    # The order of the links and of their ends means nothing.
    rows = list(links.itertuples(index=False, name=None))
    random.shuffle(rows)
    turned = frame(*((b, a, p) if random.random() < 0.5 else (a, b, p) for a, b, p in rows))
    assert group(known, turned, max_images).groups.tolist() == groups.tolist()


@settings(max_examples=30, deadline=None)
@given(linked_images(), st.integers(0, 3))
def test_a_split_never_separates_what_is_linked(example, seed):
    known, links, max_images = example
    found = group(known, links, max_images)
    if len(np.unique(found.groups)) < 4:
        return
    records = pd.DataFrame(
        {"image_id": [f"i{place}" for place in range(len(known))], "diagnosis": "nevus"}
    )
    split = make_splits(records, found.groups, seed=seed).to_numpy(object)
    first, second = links["first"].to_numpy(), links["second"].to_numpy()
    assert (split[first] == split[second])[found.kept].all()
    assert all(len(set(split[known == name])) == 1 for name in np.unique(known))


@pytest.mark.parametrize("max_images", [2, 5, 30])
def test_false_links_at_random_do_not_glue_a_data_set_together(max_images):
    generator = np.random.default_rng(0)
    ends = generator.integers(0, 1000, (3000, 2))
    links = pd.DataFrame(ends, columns=["first", "second"]).assign(probability=STRONG)
    assert group(range(1000), links, max_images).largest <= max_images
