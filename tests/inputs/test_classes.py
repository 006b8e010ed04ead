import pytest

from tests.inputs.fake_shards import make_shards
from tfskin.datasets.shards import Shards
from tfskin.errors import UserError
from tfskin.inputs import class_names, count_images, describe_thin_classes


@pytest.fixture
def shards(tmp_path) -> Shards:
    counts = {"train": {"nv": 5, "mel": 2, "bkl": 1}, "test": {"": 9, "nv": 3, "df": 4}}
    return make_shards(tmp_path, counts, {})


def test_without_a_mapping_the_diagnoses_are_the_classes(shards):
    assert class_names(shards, None) == ["bkl", "df", "mel", "nv"]


def test_classes_keep_their_order(shards):
    assert class_names(shards, {"z": ["nv"], "a": ["mel", "bkl"]}) == ["z", "a"]


def test_images_are_counted_per_split_and_mapping(shards):
    assert count_images(shards, "train", None) == 8
    assert count_images(shards, "train", {"z": ["nv"], "a": ["mel"]}) == 7
    assert count_images(shards, "test", {"z": ["nv"], "a": ["mel"]}) == 3
    assert count_images(shards, "val", None) == 0


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"a": ["nvv"], "b": ["mel"]}, r"data\.classes\.a: 'nvv' .*did you mean 'nv'"),
        ({"a": ["nv", "mel"], "b": ["mel"]}, r"'mel' is in 'a' and in 'b'"),
        ({"a": ["nv", "mel"]}, r"two classes or more"),
        ({}, r"two classes or more"),
        ({"a": ["nv"], "b": ["df"]}, r"no training image of class 'b'"),
        ({"a": ["nv"], "b": ["mel"], "c": []}, r"no training image of class 'c'"),
    ],
)
def test_impossible_classes_are_refused(shards, classes, message):
    with pytest.raises(UserError, match=message):
        class_names(shards, classes)


def test_shards_with_one_trained_diagnosis_are_refused(tmp_path):
    shards = make_shards(tmp_path, {"train": {"nv": 3}, "test": {"mel": 2}}, {})
    with pytest.raises(UserError, match="no training image of class 'mel'"):
        class_names(shards, None)


def test_classes_that_cannot_be_learnt_are_said(shards):
    line = describe_thin_classes(shards, None)
    assert "2 of 4 classes have no training image, or one: 'bkl' (1), 'df' (0)" in line
    assert describe_thin_classes(shards, {"z": ["nv"], "a": ["mel", "bkl"]}) == ""
