import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets.tiny import no_duplicates
from tfskin.datasets.groups import group_records
from tfskin.datasets.options import Fractions
from tfskin.datasets.splits import check_disjoint, make_splits
from tfskin.datasets.splits_file import SPLITS, apply_splits_csv, write_splits_csv
from tfskin.errors import UserError


def make_table(diagnoses, lesions=None, patients=None) -> pd.DataFrame:
    count = len(diagnoses)
    return pd.DataFrame(
        {
            "image_id": [f"i{index}" for index in range(count)],
            "diagnosis": list(diagnoses),
            "lesion_id": list(lesions) if lesions is not None else [""] * count,
            "patient_id": list(patients) if patients is not None else [""] * count,
        }
    )


def link(*pairs: tuple[int, int]) -> pd.DataFrame:
    frame = pd.DataFrame(pairs, columns=["first", "second"], dtype=np.int64)
    return frame.assign(distance=0)


def expect_closed(records: pd.DataFrame, duplicates: pd.DataFrame, split: pd.Series) -> None:
    """Straight from the definition, without groups: no link leads from one split to another."""
    for column in ("lesion_id", "patient_id"):
        known = records[records[column] != ""]
        assert split[known.index].groupby(known[column]).nunique().le(1).all()
    for first, second in zip(duplicates["first"], duplicates["second"], strict=True):
        assert split.iloc[first] == split.iloc[second]


# Groups


def test_groups_follow_lesions_patients_and_duplicates_through_chains():
    records = make_table(
        "aaaaaaa", ["l0", "l0", "", "l1", "", "", ""], ["", "p", "p", "", "", "", ""]
    )
    groups = group_records(records, link((2, 3), (4, 5)))
    assert groups.tolist() == [0, 0, 0, 0, 1, 1, 2]


def test_empty_ids_link_nothing_and_a_lesion_is_no_patient():
    records = make_table("aaa", ["x", "", ""], ["", "x", ""])
    assert group_records(records, no_duplicates()).tolist() == [0, 1, 2]


# Splits


@st.composite
def data_sets(draw):
    count = draw(st.integers(1, 60))
    ids = st.lists(st.integers(0, count), min_size=count, max_size=count)
    lesions = ["" if number % 3 == 0 else f"l{number}" for number in draw(ids)]
    patients = ["" if number % 4 else f"p{number}" for number in draw(ids)]
    diagnoses = ["abcde"[number % 5 if number % 2 else 0] for number in draw(ids)]
    index = st.integers(0, count - 1)
    pairs = draw(
        st.lists(st.tuples(index, index).filter(lambda pair: pair[0] < pair[1]), max_size=9)
    )
    return make_table(diagnoses, lesions, patients), link(*pairs)


@st.composite
def fractions(draw):
    parts = [draw(st.sampled_from([0, 0.01, 0.05, 0.1, 0.2, 0.3])) for _ in range(3)]
    return Fractions(1 - sum(parts), *parts)


@settings(deadline=None, max_examples=150)
@given(data=data_sets(), shares=fractions(), seed=st.integers(0, 2**31 - 1))
def test_no_chain_of_links_leaves_a_split_whatever_the_graph_fractions_and_seed(data, shares, seed):
    records, duplicates = data
    groups = group_records(records, duplicates)
    wanted = [name for name in SPLITS if getattr(shares, name) > 0]
    if len(set(groups)) < len(wanted):
        with pytest.raises(UserError, match="too few images to split"):
            make_splits(records, groups, fractions=shares, seed=seed)
        return
    split = make_splits(records, groups, fractions=shares, seed=seed)
    assert set(split) == set(wanted)
    assert split.index.equals(records.index)
    expect_closed(records, duplicates, split)
    check_disjoint(groups, split, records["image_id"].tolist())
    again = make_splits(records, groups, fractions=shares, seed=seed)
    assert split.equals(again)


@pytest.mark.parametrize(
    ("groups", "diagnoses", "parts", "seed"),
    [
        pytest.param(
            [0, 1, 1, 2, 1, 3, 1, 1, 4, 1, 1, 5, 2],
            "eafaacaaabaed",
            (0.01, 0.3, 0.3),
            1290,
            id="one fold holds the groups of the later splits",
        ),
        pytest.param(
            [int(digit) for digit in "0011231451211163614715811161491"],
            "aebeaafaabccabdadeaaadafdcdaaaa",
            (0.01, 0.2, 0.2),
            141,
            id="scikit-learn leaves a fold empty",
        ),
    ],
)
def test_few_large_groups_of_many_classes_still_give_every_split(groups, diagnoses, parts, seed):
    records = make_table(diagnoses, [f"l{group}" for group in groups])
    numbers = group_records(records, no_duplicates())
    split = make_splits(records, numbers, fractions=Fractions(1 - sum(parts), *parts), seed=seed)
    assert set(split) == set(SPLITS)
    expect_closed(records, no_duplicates(), split)


@settings(deadline=None, max_examples=60)
@given(data=data_sets(), names=st.lists(st.sampled_from(["", "train", "val", "test"]), min_size=60))
def test_given_splits_are_kept_or_refused(data, names):
    records, duplicates = data
    groups = group_records(records, duplicates)
    # One name a group, and blanks among its images.
    fixed = pd.Series([names[group % 60] if i % 3 else "" for i, group in enumerate(groups)])
    held_out = set(groups[fixed.isin(["val", "test"])])
    to_cut = {"val", "calibration", "test"} - set(fixed)
    if len(set(groups) - held_out) < 1 + len(to_cut):
        with pytest.raises(UserError, match="too few images to split"):
            make_splits(records, groups, fixed=fixed)
        return
    split = make_splits(records, groups, fixed=fixed)
    expect_closed(records, duplicates, split)
    for name in ("val", "test"):
        assert (split[fixed == name] == name).all()
    assert set(SPLITS) == set(split)


@pytest.mark.parametrize("seed", [0, 1])
def test_shares_of_every_class_are_near_the_fractions_when_groups_are_small(seed):
    generator = np.random.default_rng(seed)
    lesions = generator.integers(0, 1500, 2000)
    diagnosis_of = generator.choice(list("abcd"), 1500, p=[0.7, 0.15, 0.1, 0.05])
    records = make_table(diagnosis_of[lesions], [f"l{number}" for number in lesions])
    groups = group_records(records, no_duplicates())
    split = make_splits(records, groups, seed=seed)
    expected = pd.Series({"train": 0.7, "val": 0.1, "calibration": 0.08, "test": 0.12})
    overall = split.value_counts(normalize=True)
    assert (overall - expected).abs().max() < 0.015
    shares = pd.crosstab(records["diagnosis"], split, normalize="index")
    assert (shares - expected).abs().max().max() < 0.03
    other = make_splits(records, groups, seed=seed + 10)
    assert not split.equals(other)


def test_a_rare_class_is_in_train_first_and_no_warning_is_raised():
    records = make_table("a" * 60 + "b" + "cc" + "ddd" + "eeee")
    groups = np.arange(len(records))
    for seed in range(10):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            split = make_splits(records, groups, seed=seed)
        for name in "abcde":
            assert "train" in set(split[records["diagnosis"] == name])


@given(
    rare=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    images=st.integers(1, 3),
    seed=st.integers(0, 2**31 - 1),
)
def test_a_class_of_n_groups_is_in_train_and_n_minus_1_further_splits(rare, images, seed):
    """Test is served before val, and val before calibration."""
    counts = [60, *rare]
    lesions = np.repeat(np.arange(sum(counts)), images)
    diagnoses = np.repeat(np.repeat(list("abcdef")[: len(counts)], counts), images)
    records = make_table(diagnoses, [f"l{number}" for number in lesions])
    split = make_splits(records, lesions, seed=seed)
    expect_closed(records, no_duplicates(), split)
    for name, count in zip("abcdef", counts, strict=False):
        found = set(split[records["diagnosis"] == name])
        assert found >= set(["train", "test", "val", "calibration"][:count])


def test_a_group_that_another_class_needs_stays():
    """Both groups of the rare class hold the only image of another class."""
    records = make_table(
        "a" * 60 + "bcbd", [f"l{number}" for number in [*range(60), 60, 60, 61, 61]]
    )
    for seed in range(5):
        split = make_splits(records, group_records(records, no_duplicates()), seed=seed)
        for name in "bcd":
            assert "train" in set(split[records["diagnosis"] == name])


def test_large_groups_stay_whole_and_every_split_has_images():
    records = make_table("ab" * 50, patients=[f"p{index // 25}" for index in range(100)])
    split = make_splits(records, group_records(records, no_duplicates()))
    assert split.value_counts().to_dict() == dict.fromkeys(SPLITS, 25)


def test_splits_do_not_depend_on_the_numbers_of_the_groups_or_the_index():
    records = make_table("ab" * 30).set_index(pd.RangeIndex(100, 160))
    groups = np.arange(60) // 2
    first = make_splits(records, groups, seed=3)
    assert first.index[0] == 100
    assert first.equals(make_splits(records, groups * 7 + 5, seed=3))


def test_too_few_groups_are_refused():
    with pytest.raises(UserError, match=r"3 groups .* for 4 splits"):
        make_splits(make_table("abc"), np.arange(3))
    split = make_splits(make_table("abc"), np.arange(3), fractions=Fractions(0.6, 0.2, 0, 0.2))
    assert sorted(split) == ["test", "train", "val"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0.7, 0.1, 0.1, 0.2), "add up to 1"),
        ((0, 0.5, 0.2, 0.3), "train"),
        ((0.999, 0, 0, 0.001), "0.01"),
        ((1.2, -0.2, 0, 0), "0 or 0.01 to 1"),
    ],
)
def test_impossible_fractions_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        Fractions(*values)


# Splits that the source gives


def test_a_given_test_split_is_kept_and_the_rest_is_cut_from_train():
    records = make_table("ab" * 100)
    fixed = pd.Series(["test" if index < 50 else "train" for index in range(200)])
    split = make_splits(records, np.arange(200), fixed=fixed)
    assert (split == "test").to_numpy().tolist() == (fixed == "test").to_numpy().tolist()
    # 150 images at 70 : 10 : 8
    assert 14 <= (split == "val").sum() <= 20
    assert 11 <= (split == "calibration").sum() <= 17


def test_a_group_that_given_splits_tear_apart_is_refused_and_named():
    records = make_table("abab", ["", "same", "same", ""])
    groups = group_records(records, no_duplicates())
    fixed = pd.Series(["train", "test", "train", "test"])
    with pytest.raises(UserError, match=r"'i1' \(test\), 'i2' \(train\);.* --drop-leaks"):
        make_splits(records, groups, fixed=fixed)


def test_an_image_without_a_split_follows_its_group():
    records = make_table("ab" * 10)
    groups = np.array([0, 0, *range(2, 20)])
    fixed = pd.Series(["test", *[""] * 19])
    assert make_splits(records, groups, fixed=fixed)[1] == "test"


def test_an_unknown_given_split_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"image 'i1': unknown split 'tset' \(did you mean 'test'"):
        make_splits(make_table("ab"), np.arange(2), fixed=pd.Series(["train", "tset"]))


def test_given_splits_without_train_are_refused():
    with pytest.raises(UserError, match="too few"):
        make_splits(make_table("abab"), np.arange(4), fixed=pd.Series(["test"] * 4))


# Disjoint


def test_check_disjoint_names_the_images():
    split = pd.Series(["train", "test", "test", "val"])
    check_disjoint(np.array([0, 1, 1, 2]), split, ["a", "b", "c", "d"])
    with pytest.raises(UserError, match=r"1 groups .* such as 'c' \(test\), 'd' \(val\)"):
        check_disjoint(np.array([0, 1, 2, 2]), split, ["a", "b", "c", "d"])


# CSV


def test_a_published_file_gives_the_same_splits_back(tmp_path):
    records = make_table("ab" * 40).assign(image_id=[f"00{i}, 'é\"" for i in range(80)])
    groups = np.arange(80) // 2
    split = make_splits(records, groups, seed=1)
    path = tmp_path / "splits.csv"
    write_splits_csv(path, records["image_id"].tolist(), split, groups)
    assert path.read_text(encoding="utf-8").splitlines()[0] == "image_id,split,group"
    write_splits_csv(path, records["image_id"].tolist(), split, groups, ["id copy"] * 80)
    assert path.read_text(encoding="utf-8").splitlines()[0] == "image_id,split,group,linked_by"
    shuffled = records.sample(frac=1, random_state=0)
    again = apply_splits_csv(path, shuffled)
    assert again.index.equals(shuffled.index)
    assert again.sort_index().equals(split)
    assert make_splits(records, groups, seed=5, fixed=split).equals(split)


def test_a_byte_order_mark_blanks_and_other_columns_do_no_harm(tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text(
        "\ufeffnote, split ,image_id\n,val,i1\nx, train ,i0\n,test,elsewhere\n", "utf-8"
    )
    assert apply_splits_csv(path, make_table("ab")).tolist() == ["train", "val"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,group\ni0,1\n", "has no column 'split'"),
        ("image,split\ni0,train\n", r"has no column 'image_id' \(did you mean 'image'"),
        ("image_id,split\ni0,train\ni1,vall\n", r"image 'i1': unknown split 'vall' \(did you mean"),
        ("image_id,split\ni0,train\ni1,\n", "image 'i1': unknown split ''"),
        ("image_id,split\ni0,train\n", "has no row for 'i1'"),
        ("image_id,split\ni0,train\ni0,test\ni1,test\n", "image 'i0' stands in two rows"),
        ("image_id,split\n", "has no rows"),
        ("", "is no CSV table"),
        ('image_id,split\n"i0,train\n', "is no CSV table"),
    ],
)
def test_a_faulty_file_is_named_with_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "splits.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        apply_splits_csv(path, make_table("ab"))
    assert str(caught.value).startswith(str(path))


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        apply_splits_csv(tmp_path / "none.csv", make_table("ab"))
    path = tmp_path / "binary.csv"
    path.write_bytes(b"\xff\xd8\xff\x00")
    with pytest.raises(UserError, match=r"binary\.csv: is no CSV table"):
        apply_splits_csv(path, make_table("ab"))
