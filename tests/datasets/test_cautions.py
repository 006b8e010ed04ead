import numpy as np
import pandas as pd
import pytest

from tests.datasets.tiny import make_records
from tfskin.datasets.cautions import describe_oddities, describe_untrained


@pytest.fixture
def records(tmp_path):
    return make_records(tmp_path, 30)


def describe(records, groups=None):
    return describe_oddities(records, np.arange(len(records)) // 2 if groups is None else groups)


def test_ordinary_records_are_not_talked_about(records):
    assert describe(records) == []


@pytest.mark.parametrize("column", ["lesion_id", "patient_id"])
def test_an_id_that_nearly_all_share_is_said(records, column):
    records.loc[:25, column] = "0"
    (line,) = [line for line in describe(records) if column in line]
    assert line.startswith(f"{column} '0' stands for 26 of 30 images (87%)")


def test_a_group_that_no_id_explains_is_said(records):
    groups = np.where(np.arange(30) < 20, 0, np.arange(30))
    (line,) = describe(records, groups)
    assert "one group of linked images holds 20 of 30 images (67%), such as 'image_000'" in line


def test_a_group_that_an_id_explains_is_said_once(records):
    records.loc[:19, "patient_id"] = "P"
    lines = describe(records, np.where(np.arange(30) < 20, 0, np.arange(30)))
    assert len(lines) == 1


def test_a_lesion_with_two_diagnoses_is_said_with_its_ids(records):
    records.loc[[0, 1], "diagnosis"] = ["mel", "nv"]
    assert describe(records) == [
        "1 lesions have two diagnoses or more: 'lesion_0' (image_000: mel, image_001: nv)"
    ]


def test_images_without_a_diagnosis_and_diagnoses_of_one_image_are_said(records):
    records.loc[[0, 1, 2], "diagnosis"] = ["", "", "rare"]
    lines = describe(records)
    assert lines[0] == "2 of 30 images (7%) have no diagnosis and are in no class"
    assert lines[1] == "1 diagnoses have one image each: 'rare'"


def test_a_diagnosis_that_train_lacks_is_said(records):
    splits = pd.Series(np.where(records["diagnosis"] == "nv", "test", "train"))
    (line,) = describe_untrained(records, splits)
    assert line.startswith("no image of 'nv' is in train (10 are in other splits)")
    assert describe_untrained(records, splits.where(splits != "test", "fold1")) == []
