import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.datasets.sources.images import write_images, write_rows
from tfskin.datasets.options import SourceOptions
from tfskin.datasets.sources import read_records
from tfskin.datasets.sources.contract import check_source
from tfskin.errors import UserError

ROWS = [
    ("HAM_1", "ISIC_0000001", "nv", "histo", "45.0", "male", "back"),
    ("HAM_1", "ISIC_0000002", "nv", "histo", "45.0", "male", "back"),
    ("HAM_2", "ISIC_0000003", "mel", "histo", "", "unknown", "unknown"),
    ("HAM_3", "ISIC_0000004", "bkl", "consensus", "0.0", "female", "face"),
]
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")


def published_rows() -> list[dict[str, str]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]


@pytest.fixture
def published(tmp_path):
    """The two parts as they are downloaded."""
    write_rows(tmp_path / "HAM10000_metadata.csv", published_rows())
    write_images(tmp_path / "HAM10000_images_part_1", [f"{row[1]}.jpg" for row in ROWS[:2]])
    write_images(tmp_path / "HAM10000_images_part_2", [f"{row[1]}.jpg" for row in ROWS[2:]])
    return tmp_path


def test_the_published_layout(published):
    records = check_source("ham10000", published)
    assert records["image_id"].tolist() == [row[1] for row in ROWS]
    assert records["diagnosis"].tolist() == ["nv", "nv", "mel", "bkl"]
    assert records["lesion_id"].tolist() == ["HAM_1", "HAM_1", "HAM_2", "HAM_3"]
    assert records["age"].tolist() == [45, 45, -1, 0]
    assert records["sex"].tolist() == ["male", "male", "", "female"]
    assert records["site"].tolist() == ["back", "back", "", "face"]
    assert set(records["license"]) == {"CC-BY-NC-4.0"}
    assert records["attribution"].str.contains("Tschandl").all()
    assert set(records["image_type"]) == {"dermoscopic"}
    assert set(records["source"]) == {"ham10000"}
    assert "HAM10000_images_part_2" in records["path"].iloc[3]


@pytest.mark.parametrize("name", ["HAM10000_metadata.tab", "HAM10000_metadata"])
@pytest.mark.parametrize("folder", ["HAM10000_images", "images", "."])
def test_other_names_and_folders(tmp_path, name, folder):
    write_rows(tmp_path / name, published_rows(), delimiter="\t")
    write_images(tmp_path / folder, [f"{row[1]}.jpg" for row in ROWS])
    assert len(read_records("ham10000", tmp_path)) == 4


def test_the_metadata_file_and_a_folder_of_images_can_be_given(tmp_path):
    file = write_rows(tmp_path / "a" / "HAM10000_metadata.csv", published_rows())
    write_images(tmp_path / "b", [f"{row[1]}.JPG" for row in ROWS])
    records = read_records("ham10000", file, options=SourceOptions(images=tmp_path / "b"))
    assert len(records) == 4


@pytest.mark.parametrize("column", ["image_id", "dx", "lesion_id"])
def test_a_missing_column_is_named(published, column):
    rows = published_rows()
    for row in rows:
        del row[column]
    write_rows(published / "HAM10000_metadata.csv", rows)
    with pytest.raises(UserError, match=rf"HAM10000_metadata\.csv: no column '{column}'.*found: "):
        read_records("ham10000", published)


def test_a_row_without_an_image_is_named(published):
    (published / "HAM10000_images_part_2" / "ISIC_0000004.jpg").unlink()
    with pytest.raises(UserError, match="line 5: no image of 'ISIC_0000004'"):
        read_records("ham10000", published)


def test_an_image_in_two_rows_is_named(published):
    write_rows(published / "HAM10000_metadata.csv", [*published_rows(), published_rows()[1]])
    with pytest.raises(UserError, match=r"'ISIC_0000002' stands in more.*lines 3 and 6"):
        read_records("ham10000", published)


def test_an_empty_diagnosis_is_named(published):
    rows = published_rows()
    rows[2]["dx"] = " "
    write_rows(published / "HAM10000_metadata.csv", rows)
    with pytest.raises(UserError, match="line 4: 'dx' is empty"):
        read_records("ham10000", published)


def test_a_diagnosis_that_ham10000_does_not_have_is_named(published):
    rows = published_rows()
    rows[2]["dx"] = "xyz"
    write_rows(published / "HAM10000_metadata.csv", rows)
    with pytest.raises(UserError, match=r"line 4: dx 'xyz' is none of akiec, .*'table'"):
        read_records("ham10000", published)


def test_a_folder_without_metadata_says_what_it_found(published):
    (published / "HAM10000_metadata.csv").rename(published / "meta.csv")
    with pytest.raises(UserError, match=r"no HAM10000_metadata\.csv .*found: meta\.csv"):
        read_records("ham10000", published)


names = st.text(string.ascii_lowercase, min_size=1, max_size=8).map(lambda name: f"extra_{name}")
values = st.text("aé,;\"' \u2028", max_size=12)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.permutations(COLUMNS),
    extra=st.dictionaries(names, values, max_size=3),
    bom=st.booleans(),
    tab=st.booleans(),
)
def test_order_extra_columns_and_bom_never_change_the_records(published, order, extra, bom, tab):
    write_rows(published / "HAM10000_metadata.csv", published_rows())
    expected = read_records("ham10000", published)
    rows = [{**extra, **{name: row[name] for name in order}} for row in published_rows()]
    delimiter = "\t" if tab else ","
    write_rows(published / "HAM10000_metadata.csv", rows, delimiter=delimiter, bom=bom)
    assert read_records("ham10000", published).equals(expected)


def test_the_real_images(real_ham10000):
    records = read_records("ham10000", real_ham10000)
    counts = {"nv": 5364, "mel": 891, "bkl": 879, "bcc": 411, "akiec": 262, "vasc": 113, "df": 92}
    assert records["diagnosis"].value_counts().to_dict() == counts
    assert (records["lesion_id"] != "").all()
    assert records["lesion_id"].nunique() < len(records)
    assert (records["age"] == -1).sum() == 44


def test_the_clinic_is_read_from_the_archive_of_the_dataset(published):
    clinics = ["rosendahl", "vidir_modern", "unknown", "vienna_dias"]
    rows = [
        row | {"dataset": clinic} for row, clinic in zip(published_rows(), clinics, strict=True)
    ]
    write_rows(published / "HAM10000_metadata.csv", rows)
    records = read_records("ham10000", published)
    assert records["clinic"].tolist() == ["rosendahl", "vidir_modern", "", "vienna_dias"]


def test_without_that_column_the_clinic_is_unknown(published):
    assert set(read_records("ham10000", published)["clinic"]) == {""}
