import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.datasets.sources.images import write_images, write_rows
from tfskin.datasets.options import SourceOptions
from tfskin.datasets.records import RECORD_COLUMNS
from tfskin.datasets.sources import read_records
from tfskin.datasets.sources.contract import check_source
from tfskin.errors import UserError

ROWS = [
    {"path": "pics/a.jpg", "label": "nevus", "lesion_id": "1", "age": "40", "sex": "M"},
    {"path": "pics/b.jpg", "label": "nevus", "lesion_id": "1", "age": "", "sex": ""},
    {"path": "pics/sub/c.png", "label": "mel", "lesion_id": "", "age": "7.5", "sex": "female"},
]


def read(path, **options):
    return read_records("table", path, options=SourceOptions(**options))


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path, [row["path"] for row in ROWS])
    return tmp_path


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ","), ("t.tab", "\t"), ("t.tsv", "\t")])
def test_a_table_with_the_usual_columns(folder, name, delimiter):
    records = check_source("table", write_rows(folder / name, ROWS, delimiter=delimiter, bom=True))
    assert list(records.columns) == RECORD_COLUMNS
    assert records["image_id"].tolist() == ["pics__a", "pics__b", "pics__sub__c"]
    assert records["diagnosis"].tolist() == ["nevus", "nevus", "mel"]
    assert records["lesion_id"].tolist() == ["1", "1", ""]
    assert records["age"].tolist() == [40, -1, 7.5]
    assert records["sex"].tolist() == ["male", "", "female"]


def test_the_only_table_of_a_folder_is_read(folder):
    write_rows(folder / "t.csv", ROWS)
    assert len(read(folder)) == 3
    write_rows(folder / "u.csv", ROWS)
    with pytest.raises(UserError, match=r"found: t\.csv, u\.csv"):
        read(folder)


def test_columns_can_be_chosen(folder):
    rows = [{"Where": row["path"], "What": row["label"], "label": "no"} for row in ROWS]
    file = write_rows(folder / "t.csv", rows)
    records = read(file, path_column="Where", label_column="What")
    assert records["diagnosis"].tolist() == ["nevus", "nevus", "mel"]


def test_images_may_be_elsewhere_and_their_suffix_unsaid(folder):
    rows = [{"image": "a", "dx": "nv"}, {"image": "b", "dx": "mel"}]
    file = write_rows(folder / "tables" / "t.csv", rows)
    records = read(file, images=folder / "pics")
    assert records["image_id"].tolist() == ["a", "b"]
    assert records["path"].tolist() == [str(folder / "pics" / n) for n in ("a.jpg", "b.jpg")]


def test_absolute_backslashed_and_upward_paths(folder):
    paths = [str(folder / "pics" / "a.jpg"), "..\\pics\\b.jpg", "../pics/sub/c.png"]
    rows = [{"path": path, "label": "x"} for path in paths]
    records = read(write_rows(folder / "tables" / "t.csv", rows))
    assert records["image_id"].tolist() == ["pics__a", "pics__b", "pics__sub__c"]
    assert records["path"].iloc[1] == str(folder / "pics" / "b.jpg")


def test_ids_and_splits_of_the_table_are_kept(folder):
    splits = ("Training", "valid", "")
    rows = [
        {**row, "image_id": f"i{k}", "split": split}
        for k, (row, split) in enumerate(zip(ROWS, splits, strict=True))
    ]
    records = read(write_rows(folder / "t.csv", rows))
    assert records["image_id"].tolist() == ["i0", "i1", "i2"]
    assert records["split"].tolist() == ["train", "val", ""]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "pics/gone.jpg"}, r"t\.csv: line 3: there is no image .*gone\.jpg"),
        ({"path": "pics/gone"}, r"t\.csv: line 3: there is no image .*gone"),
        ({"path": ""}, "line 3: 'path' is empty"),
        ({"label": ""}, "line 3: 'label' is empty"),
        ({"path": "pics/a.jpg"}, "'pics__a' stands in more than one row"),
        ({"age": "forty"}, "'pics__b': age 'forty' is no number"),
        ({"split": "holdout"}, "line 3: split 'holdout' is none of"),
        ({"image_id": "../b"}, "'../b' is a path"),
    ],
)
def test_a_bad_row_is_named(folder, change, words):
    extra = {key: "" for key in change if key == "split"}
    rows = [
        {
            **row,
            **extra,
            **({"image_id": row["label"] + row["age"]} if "image_id" in change else {}),
        }
        for row in ROWS
    ]
    rows[1].update(change)
    with pytest.raises(UserError, match=words) as error:
        read(write_rows(folder / "t.csv", rows))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("column", "option"), [("path", "path_column"), ("label", "label_column")])
def test_a_missing_column_says_how_to_choose_one(folder, column, option):
    rows = [{key: row[key] for key in row if key != column} for row in ROWS]
    with pytest.raises(UserError, match=rf"t\.csv: no column '{column}' or .*found: .*{option}"):
        read(write_rows(folder / "t.csv", rows))


def test_a_chosen_column_that_is_not_there_gets_the_nearest(folder):
    file = write_rows(folder / "t.csv", ROWS)
    with pytest.raises(UserError, match=r"no column 'lable' \(did you mean 'label'\?\)"):
        read(file, label_column="lable")


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.permutations(list(ROWS[0])),
    extra=st.dictionaries(
        st.sampled_from(["", "x", "Note, two"]), st.sampled_from(["", "a;b", "é"])
    ),
    bom=st.booleans(),
    delimiter=st.sampled_from([",", "\t"]),
)
def test_order_extra_columns_and_bom_never_change_the_records(folder, order, extra, bom, delimiter):
    expected = read(write_rows(folder / "t.csv", ROWS))
    rows = [{**extra, **{name: row[name] for name in order}} for row in ROWS]
    assert read(write_rows(folder / "t.csv", rows, delimiter=delimiter, bom=bom)).equals(expected)


@pytest.mark.parametrize(
    ("given", "column"),
    [
        ("fitzpatrick", "fitzpatrick"),
        ("fitzpatrick_skin_type", "fitzpatrick"),
        ("skin_type", "fitzpatrick"),
        ("skin_tone", "skin_tone"),
        ("skin_tone_class", "skin_tone"),
        ("clinic", "clinic"),
    ],
)
def test_each_scale_of_skin_and_the_clinic_have_a_column(folder, given, column):
    records = read(write_rows(folder / "t.csv", [row | {given: "2"} for row in ROWS]))
    found = {name for name in ("fitzpatrick", "skin_tone", "clinic") if "2" in set(records[name])}
    assert found == {column}


def test_paths_are_found_however_they_are_spelt(tmp_path):
    written = ["caf\u00e9\\a.jpg", "caf\u00e9/B.JPG", "cafe\u0301/c", "d e.jpg"]
    write_images(tmp_path, ["cafe\u0301/a.jpg", "cafe\u0301/b.jpg", "cafe\u0301/c.jpg", "d e.jpg"])
    rows = [{"path": path, "label": "x"} for path in written]
    records = read(write_rows(tmp_path / "t.csv", rows, delimiter=";"))
    assert [path.rpartition("/")[2] for path in records["path"]] == [
        *("a.jpg", "b.jpg", "c.jpg", "d e.jpg"),
    ]


def test_an_unknown_split_or_source_is_none(folder):
    rows = [{**row, "split": "NA", "source": "-1"} for row in ROWS]
    records = read(write_rows(folder / "t.csv", rows))
    assert set(records["split"]) == {""}
    assert set(records["source"]) == {"table"}
