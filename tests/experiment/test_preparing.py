"""What is refused before any work, and splits that are used again."""

import json
from dataclasses import replace

import pandas as pd
import pytest

import tfskin
from tests.datasets.tiny import make_image
from tfskin.datasets.options import Fractions
from tfskin.errors import UserError
from tfskin.experiment import preparing

FEW = tfskin.PrepareOptions(name="few", near_duplicates=False, photographs=False, artefacts=False)


@pytest.fixture
def table(tmp_path):
    """30 images of 15 lesions; the first two lesions are torn into train and test."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(30):
        make_image(number).save(folder / f"p{number}.png")
    rows = pd.DataFrame(
        {
            "image_id": [f"p{number}" for number in range(30)],
            "path": [f"p{number}.png" for number in range(30)],
            "label": [("mel", "nv")[number // 2 % 2] for number in range(30)],
            "lesion_id": [f"l{number // 2}" for number in range(30)],
            "split": ["train", "test", "train", "test", *[""] * 26],
        }
    )
    rows.to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def test_dropped_leaks_are_dropped_again_by_the_splits_file(tmp_path, table):
    options = replace(FEW, drop_leaks=True)
    first = tfskin.prepare("table", table, output=tmp_path / "a", options=options)
    about = json.loads((first.folder / "shards.json").read_text())
    assert set(about["left_out"]) == {"p0", "p2"}
    path = first.folder / "splits.csv"

    options = replace(options, split_file=path)
    second = tfskin.prepare("table", table, output=tmp_path / "b", options=options)
    assert second.fingerprint == first.fingerprint
    assert (second.folder / "splits.csv").read_bytes() == path.read_bytes()
    about = json.loads((second.folder / "shards.json").read_text())
    assert about["left_out"] == dict.fromkeys(("p0", "p2"), "no row in splits.csv")

    other = tmp_path / "other.csv"
    other.write_text("image_id,split\nelsewhere,train\n")
    options = replace(options, split_file=other)
    with pytest.raises(UserError, match="has no row for any image"):
        tfskin.prepare("table", table, output=tmp_path / "c", options=options)


@pytest.mark.parametrize(
    ("changes", "splits", "message"),
    [
        ({"name": "ISIC2019"}, None, "name 'ISIC2019': must be lower-case"),
        ({"version": "1.0"}, None, "version '1.0': must be three numbers"),
        ({}, "", "is no CSV table"),
        ({}, "image_id,split\n", "has no rows"),
        ({}, "image_id,split\np0,tset\n", "did you mean 'test'"),
        ({"folds": 5}, "image_id,split\np0,test\n", "--folds has no use"),
        (
            {"fractions": Fractions(0.8, 0.1, 0, 0.1)},
            "image_id,split\np0,test\n",
            "--fractions has no use",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_the_download(
    tmp_path, monkeypatch, changes, splits, message
):
    options = replace(FEW, download=True, **changes)
    if splits is not None:
        (tmp_path / "splits.csv").write_text(splits)
        options = replace(options, split_file=tmp_path / "splits.csv")
    monkeypatch.setattr(preparing, "download_source", lambda *_, **__: pytest.fail("downloaded"))
    with pytest.raises(UserError, match=message):
        tfskin.prepare("isic_2019", tmp_path / "isic", output=tmp_path, options=options)


def test_a_splits_file_without_an_image_is_refused_before_the_audit(tmp_path, monkeypatch, table):
    path = tmp_path / "splits.csv"
    path.write_text("image_id,split\np0,test\n")
    monkeypatch.setattr(preparing, "audit_records", lambda *_, **__: pytest.fail("audited"))
    options = replace(FEW, split_file=path)
    with pytest.raises(UserError, match=r"has no row for 'p1', .* --drop-leaks"):
        tfskin.prepare("table", table, output=tmp_path, options=options)


def test_unknown_patients_are_no_group_and_odd_ids_are_said(tmp_path, table, news):
    rows = pd.read_csv(table, dtype=str, keep_default_na=False).drop(columns=["split"])
    rows["patient_id"] = ["-1", "-1.0", "NaN"] * 5 + ["P"] * 12 + ["Q", "R", "S"]
    rows["age"] = ["85+", "-5", *["40"] * 28]
    rows.loc[[0, 1], "label"] = ["mel", "Nv"]
    rows.to_csv(table, index=False)
    options = replace(FEW, name="odd")
    shards = tfskin.prepare("table", table, output=tmp_path / "out", options=options)
    groups = pd.read_csv(shards.folder / "splits.csv").set_index("image_id")["group"]
    assert groups[[f"p{number}" for number in range(0, 14, 2)]].nunique() == 7
    text = "\n".join(news)
    for line in (
        "1 ages are below 0 or above 120 and are taken as unknown: those of 'p1' (-5)",
        "'Nv' is 'nv'",
        "1 lesions have two diagnoses or more: 'l0' (p0: mel, p1: nv)",
        "patient_id 'P' stands for 12 of 30 images (40%)",
    ):
        assert line in text
    assert set(shards.counts["train"]) == {"mel", "nv"}


def test_a_diagnosis_that_train_lacks_is_said(tmp_path, table, news):
    rows = pd.read_csv(table, dtype=str).drop(columns=["lesion_id", "split"])
    rows.loc[27:, "label"] = "UNK"
    rows["split"] = [*["train"] * 18, *["val", "val", "test"] * 4]
    rows.to_csv(table, index=False)
    fractions = Fractions(train=0.8, val=0.1, calibration=0, test=0.1)
    options = replace(FEW, name="lacks", fractions=fractions)
    tfskin.prepare("table", table, output=tmp_path / "out", options=options)
    assert any("no image of 'UNK' is in train (3 are in other splits)" in line for line in news)
