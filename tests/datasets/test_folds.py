import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets.test_splits import data_sets, expect_closed, link, make_table
from tests.datasets.tiny import make_records, no_duplicates
from tfskin.datasets.folds import find_leaks, fold_number, make_folds
from tfskin.datasets.groups import group_records
from tfskin.datasets.options import Fractions
from tfskin.datasets.proof import count_torn, prove_disjoint
from tfskin.datasets.shard_writing import write_shards
from tfskin.datasets.shards import SHARDS_FILE, load_shards
from tfskin.datasets.splits import make_splits
from tfskin.errors import UserError


@settings(deadline=None, max_examples=40)
@given(data=data_sets(), folds=st.integers(2, 8), seed=st.integers(0, 2**31 - 1))
def test_no_component_is_in_two_folds_whatever_the_graph_and_seed(data, folds, seed):
    records, duplicates = data
    groups = group_records(records, duplicates)
    try:
        splits = make_folds(records, groups, folds=folds, seed=seed)
    except UserError as error:
        # Of few groups it may: another test shows that it must.
        few = len(set(groups)) < 2 * folds + 2 + len(set(records["diagnosis"]))
        if few and "too few images" in str(error):
            return
        raise
    expect_closed(records, duplicates, splits)
    names = {f"fold{number}" for number in range(folds)}
    assert set(splits) == names | {"calibration", "test"}
    proof = prove_disjoint(
        records, splits, groups, near_duplicates=len(duplicates), photographs={"pairs": 0}
    )
    assert proof["links"]["photograph"] == {"pairs": 0}
    assert proof["groups"]["in_two_splits"] == 0
    assert all(not kind.get("in_two_splits") for kind in proof["links"].values())


@settings(deadline=None, max_examples=8)
@given(folds=st.integers(2, 10), seed=st.integers(0, 99), groups=st.integers(100, 300))
def test_class_shares_are_even_over_the_folds(folds, seed, groups):
    """Within 3 images of the share of every class that has five groups a fold or more."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(list("abc"), groups, p=[0.6, 0.3, 0.1])
    sizes = rng.integers(1, 3, groups)
    lesions = np.repeat([f"l{number}" for number in range(groups)], sizes)
    records = make_table(np.repeat(labels, sizes), lesions)
    whole = Fractions(1.0, 0.0, 0.0, 0.0)
    splits = make_folds(
        records, group_records(records, no_duplicates()), folds=folds, seed=seed, fractions=whole
    )
    for name in "abc":
        if (labels == name).sum() >= 5 * folds:
            counts = splits[records["diagnosis"] == name].value_counts()
            mean = (records["diagnosis"] == name).sum() / folds
            assert (counts - mean).abs().max() <= 3


def test_given_test_and_val_images_are_kept_and_dealt():
    records = make_table("ab" * 20)
    fixed = pd.Series(["test"] * 8 + ["val"] * 8 + ["train"] * 24)
    groups = np.arange(40)
    splits = make_folds(records, groups, folds=3, fixed=fixed)
    assert (splits[:8] == "test").all()
    assert splits[8:16].str.startswith(("fold", "calibration")).all()


def test_too_many_folds_are_refused():
    with pytest.raises(UserError, match="must be 2 to 100, got 1"):
        make_folds(make_table("ab"), np.arange(2), folds=1)
    with pytest.raises(UserError, match="too few images"):
        make_folds(make_table("ab" * 4), np.arange(8), folds=9)


@pytest.mark.parametrize(
    ("name", "number"), [("fold0", 0), ("fold12", 12), ("train", None), ("folds", None)]
)
def test_the_number_of_a_fold_is_in_its_name(name, number):
    assert fold_number(name) == number


@settings(deadline=None, max_examples=30)
@given(data=data_sets(), names=st.lists(st.sampled_from(["", "train", "val", "test"]), min_size=60))
def test_without_the_leaks_any_given_splits_stand(data, names):
    records, duplicates = data
    groups = group_records(records, duplicates)
    fixed = pd.Series(names[: len(records)])
    leaks = find_leaks(groups, fixed)
    assert not (leaks & (fixed == "test").to_numpy()).any()
    pairs = pd.DataFrame({"group": groups, "split": fixed.replace("", "train")})[~leaks]
    assert count_torn(pairs["group"].to_numpy(), pairs["split"].to_numpy()) == 0


def test_the_proof_says_what_could_not_be_ruled_out():
    records = make_table("aabb", ["l0", "l0", "", ""], ["p", "p", "p", "p"])
    splits = pd.Series(["train", "val", "train", "train"])
    proof = prove_disjoint(
        records, splits, np.zeros(4, int), near_duplicates=None, photographs=None
    )
    assert proof["links"]["lesion"] == {"images": 2, "in_two_splits": 1}
    assert proof["not_ruled_out"] == ["lesion", "near duplicate", "photograph"]
    assert proof["groups"]["in_two_splits"] == 1


# In shards


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folded")
    records = make_records(folder / "images", 40)
    records["sticker"] = np.arange(40) % 4 == 0
    records[["hair", "dark_corners"]] = 0
    groups = group_records(records, link((0, 39)))
    splits = make_folds(records, groups, folds=3)
    return write_shards(records, splits, groups, name="folded", output_dir=folder)


def test_a_fold_is_val_and_the_others_are_train(folded):
    total = sum(sum(part.values()) for part in folded.counts.values())
    seen = []
    for fold in range(3):
        shards = load_shards(folded.folder, fold=fold)
        assert set(shards.counts) == {"train", "val", "calibration", "test"}
        assert sum(sum(part.values()) for part in shards.counts.values()) == total
        assert not set(shards.files["train"]) & set(shards.files["val"])
        seen += shards.files["val"]
    assert len(seen) == len(set(seen)) == 3


def test_folds_that_are_not_there_are_refused(folded, phantom_shards):
    with pytest.raises(UserError, match=r"no fold 3; data\.fold is one of 0 to 2"):
        load_shards(folded.folder, fold=3)
    with pytest.raises(UserError, match=r"have no folds; leave data\.fold out"):
        load_shards(phantom_shards, fold=0)


def test_training_asks_for_a_fold(folded):
    from tfskin.experiment.fitting.data import find_shards

    with pytest.raises(
        UserError, match=r"holds folds; choose which one is val, such as data\.fold"
    ):
        find_shards(str(folded.folder))
    assert find_shards(str(folded.folder), fold=1).fold == 1


def test_flagged_images_are_passed_over_and_not_counted(folded):
    from tfskin.inputs import InputOptions, count_images, make_dataset, read_labels

    everything = load_shards(folded.folder, fold=0)
    without = load_shards(folded.folder, fold=0, exclude=["sticker"])
    total = 0
    for split in ("train", "val", "calibration", "test"):
        names = read_labels(without, split, None)["image_id"]
        assert not any(int(name[-3:]) % 4 == 0 for name in names)
        assert len(names) == count_images(without, split, None)
        total += len(names)
        options = InputOptions(image_size=(16, 16), batch_size=4)
        batches = list(make_dataset(without, split, options=options, epoch=1))
        assert sum(len(labels) for _, labels in batches) == len(names)
    assert total == 30
    assert count_images(everything, "train", None) > count_images(without, "train", None)


def test_an_unknown_artefact_and_shards_without_flags_are_refused(folded, tmp_path):
    with pytest.raises(UserError, match=r"'stickers' is no artefact \(did you mean 'sticker'"):
        load_shards(folded.folder, exclude=["stickers"])
    records = make_records(tmp_path / "p", 16)
    groups = np.arange(16) // 2
    plain = write_shards(
        records, make_splits(records, groups), groups, name="plain", output_dir=tmp_path
    )
    with pytest.raises(UserError, match="nobody has looked for artefacts in these shards"):
        load_shards(plain.folder, exclude=["hair"])


def test_shards_whose_proof_fails_are_refused(tmp_path):
    records = make_records(tmp_path / "p", 16)
    groups = np.arange(16) // 2
    shards = write_shards(
        records, make_splits(records, groups), groups, name="plain", output_dir=tmp_path
    )
    about = shards.folder / SHARDS_FILE
    good = json.loads(about.read_text())
    assert good["proof"]["links"]["lesion"] == {"images": 16, "in_two_splits": 0}
    assert good["proof"]["not_ruled_out"] == ["patient", "near duplicate", "photograph"]
    bad = json.loads(about.read_text())
    bad["proof"]["links"]["lesion"]["in_two_splits"] = 2
    about.write_text(json.dumps(bad))
    with pytest.raises(UserError, match="2 lesions are in two splits; run tfskin-prepare again"):
        load_shards(shards.folder)
    del good["proof"], good["flags"]
    about.write_text(json.dumps(good))
    assert load_shards(shards.folder).fingerprint == shards.fingerprint
