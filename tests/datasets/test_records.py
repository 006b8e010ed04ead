import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.datasets.sources.images import write_images
from tfskin.datasets.records import RECORD_COLUMNS, build_records, check_records
from tfskin.datasets.sources import read_records
from tfskin.errors import UserError


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    write_images(tmp_path, ["a.jpg", "b.jpg", "c.jpg"])
    return [str(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.jpg")]


def build(files, **columns):
    known = {"image_id": ["a", "b", "c"], "path": files, "diagnosis": ["nevus", "mel", "nevus"]}
    return build_records({**known, **columns}, source="here")


def test_columns_that_a_source_lacks_are_unknown(files):
    records = build(files)
    assert list(records.columns) == RECORD_COLUMNS
    assert set(records["lesion_id"]) == {""}
    assert set(records["age"]) == {-1.0}
    assert set(records["source"]) == {"here"}


def test_every_column_is_text_but_age(files):
    records = build(files, lesion_id=[1, 2, 3], age=["30", 40, 50.5])
    assert records["age"].dtype == np.float64
    assert records["age"].tolist() == [30, 40, 50.5]
    assert records["lesion_id"].tolist() == ["1", "2", "3"]
    assert all(
        isinstance(v, str) for name in RECORD_COLUMNS if name != "age" for v in records[name]
    )


@pytest.mark.parametrize("word", ["", " ", "NaN", "unknown", "N/A", None, float("nan"), pd.NA])
def test_words_for_unknown_do_not_become_a_lesion(files, word):
    records = build(files, lesion_id=["L1", word, word], sex=[word, "M", "Female"], age=word)
    assert records["lesion_id"].tolist() == ["L1", "", ""]
    assert records["sex"].tolist() == ["", "male", "female"]
    assert records["age"].tolist() == [-1, -1, -1]


def test_a_diagnosis_of_unknown_is_kept(files):
    assert build(files, diagnosis=["unknown", " nevus ", "NV"])["diagnosis"].tolist() == [
        "unknown",
        "nevus",
        "NV",
    ]


def test_a_split_is_kept_and_other_columns_are_dropped(files):
    records = build(files, split=["train", "", "test"], extra="x")
    assert list(records.columns) == [*RECORD_COLUMNS, "split"]


def test_checking_twice_changes_nothing(files):
    records = build(files, age=["", "3", "4"], sex=["m", "f", ""])
    pd.testing.assert_frame_equal(check_records(records, "here"), records)


def test_the_index_is_renewed(files):
    records = build(files)
    assert check_records(records.iloc[[2, 0]], "here").index.tolist() == [0, 1]


def test_repeated_ids_are_named(files):
    with pytest.raises(UserError, match=r"here: image_id 'a' stands in more than one row"):
        build(files, image_id=["a", "b", "a"])


def test_many_repeated_ids_are_counted(files):
    ids = [f"i{k}" for k in range(8)] * 2
    with pytest.raises(UserError, match=r"'i4' and 3 more stands"):
        build_records({"image_id": ids, "path": files[0], "diagnosis": "x"}, source="here")


@pytest.mark.parametrize("image_id", ["../a", "x/a", "x\\a", "..", "."])
def test_an_id_that_is_a_path_is_refused(files, image_id):
    with pytest.raises(UserError, match="is a path"):
        build(files, image_id=["a", "b", image_id])


@pytest.mark.parametrize(("image_id", "words"), [("", "no image_id"), ("a\nb", "control")])
def test_an_unusable_id_is_refused(files, image_id, words):
    with pytest.raises(UserError, match=words):
        build(files, image_id=["a", "b", image_id])


def test_a_missing_image_is_named_with_its_image(files):
    with pytest.raises(UserError, match=r"image 'c': there is no image .*gone\.jpg"):
        build([*files[:2], str(Path(files[0]).with_name("gone.jpg"))])


def test_an_age_that_is_no_number_is_named(files):
    with pytest.raises(UserError, match="image 'b': age 'old' is no number"):
        build(files, age=["30", "old", ""])


def test_an_empty_table_is_refused():
    with pytest.raises(UserError, match="here: there is no image"):
        build_records({"image_id": [], "path": [], "diagnosis": []}, source="here")


def test_a_missing_column_is_named(files):
    with pytest.raises(UserError, match="'diagnosis'"):
        check_records(build(files).drop(columns="diagnosis"), "here")


def test_errors_are_one_line(files):
    with pytest.raises(UserError) as error:
        build(files, image_id=["a", "b", "a\nb"])
    assert "\n" not in str(error.value)


def test_a_file_name_that_is_not_utf8_is_named(tmp_path):
    for name in (b"a/1.jpg", b"b/2.jpg", b"b/caf\xe9.jpg"):
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    with pytest.raises(UserError, match="UTF-8"):
        read_records("image_folder", tmp_path)


@pytest.mark.parametrize("image_id", ["=1+1", "@x", "-2+cmd|' C calc'!A0", '+HYPERLINK("http")'])
def test_an_id_that_a_spreadsheet_would_run_is_refused(files, image_id):
    with pytest.raises(UserError, match="would be a formula in a spreadsheet; rename it"):
        build(files, image_id=["a", image_id, "c"])


def test_ids_that_only_look_like_numbers_are_kept(files):
    assert list(build(files, image_id=["-1", "+b", "-aB_c"])["image_id"]) == ["-1", "+b", "-aB_c"]


@pytest.mark.parametrize("word", ["-1", "-1.0", -1, -1.0])
def test_minus_one_is_unknown_in_every_field(files, word, news):
    names = [name for name in RECORD_COLUMNS if name not in ("image_id", "path", "source")]
    records = build(files, **{name: [word] * 3 for name in names})
    for name in set(names) - {"age"}:
        assert records[name].tolist() == [""] * 3, name
    assert records["age"].tolist() == [-1] * 3
    assert news == []


def test_a_dropped_age_is_said(files, news):
    assert build(files, age=["85+", "-5", "40"])["age"].tolist() == [85, -1, 40]
    assert "'b' (-5)" in news[0]


def test_ids_have_one_spelling(files):
    records = build(
        files,
        image_id=["isic_0000001.jpg", " b.PNG", "c"],
        lesion_id=["ham_1", "HAM_1", ""],
        patient_id=["12", "12.0", "12"],
    )
    assert records["image_id"].tolist() == ["ISIC_0000001", "b", "c"]
    assert records["lesion_id"].tolist() == ["HAM_1", "HAM_1", ""]
    assert set(records["patient_id"]) == {"12"}


def test_ids_that_differ_in_their_suffix_are_repeated(files):
    with pytest.raises(UserError, match="image_id 'a' stands in more than one row"):
        build(files, image_id=["a.jpg", "a.png", "c"])


def test_image_ids_that_differ_in_case_are_said(files, news):
    assert build(files, image_id=["a", "A", "c"])["image_id"].tolist() == ["a", "A", "c"]
    assert "1 image ids differ from another in case" in news[0]
    assert "'a' and 'A'" in news[0]


def test_classes_that_differ_in_case_are_one(files, news):
    records = build(files, diagnosis=["Malignant", "malignant", "benign"])
    assert records["diagnosis"].tolist() == ["Malignant", "Malignant", "benign"]
    assert "'malignant' is 'Malignant'" in news[0]


@pytest.mark.parametrize("name", ["mel\nnv", "mel; nv", "mel\u2028"])
def test_a_diagnosis_that_cannot_be_a_line_is_named_with_its_image(files, name):
    with pytest.raises(
        UserError, match=r"image 'b': the diagnosis '.*' holds .*; rename it"
    ) as error:
        build(files, diagnosis=["x", name + "x", "y"])
    assert "\n" not in str(error.value)


def test_downsampled_copies_are_linked_whatever_the_source(files):
    records = build(files, image_id=["ISIC_0000001", "train__nv__isic_0000001_downsampled", "c"])
    assert records["link"].tolist() == ["ISIC_0000001", "ISIC_0000001", ""]
    assert "link" not in build(files, image_id=["a_downsampled", "b", "c"])


def test_copies_join_what_a_source_has_linked(files):
    ids = ["a", "a_downsampled", "c"]
    assert build(files, image_id=ids, link=["l", "m", "m"])["link"].tolist() == ["l", "l", "l"]


def test_a_file_that_two_rows_name_is_linked_and_said(files, tmp_path, news):
    (tmp_path / "link.jpg").symlink_to(files[0])
    records = build([files[0], files[1], str(tmp_path / "link.jpg")])
    assert records["link"].tolist() == ["a", "", "a"]
    assert "2 images are of files that others are of too: 'a', 'c'; they are linked" in news[0]
