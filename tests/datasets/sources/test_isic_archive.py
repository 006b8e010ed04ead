import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.datasets.sources.images import write_images, write_rows
from tfskin.datasets.options import SourceOptions
from tfskin.datasets.sources import read_records
from tfskin.datasets.sources.contract import check_source
from tfskin.errors import UserError

MELANOMA = "Malignant melanocytic proliferations (Melanoma)"
COLUMNS = (
    "isic_id",
    "attribution",
    "copyright_license",
    "age_approx",
    "anatom_site_general",
    "diagnosis_1",
    "diagnosis_2",
    "diagnosis_3",
    "diagnosis_4",
    "fitzpatrick_skin_type",
    "image_type",
    "lesion_id",
    "patient_id",
    "sex",
)
ROWS = [
    "ISIC_0000001|Anonymous|CC-0|30|head/neck|Benign|Benign melanocytic|Nevus|Nevus, Atypical|II|"
    "dermoscopic|IL_1|IP_1|female",
    "ISIC_0000002|Clinic, Barcelona|CC-BY-NC|60||Malignant|" + MELANOMA + "|Melanoma in situ|||"
    "dermoscopic|IL_2|IP_1|male",
    "ISIC_0000003|Anonymous|CC-BY|||Malignant|" + MELANOMA + "||||clinical: overview|||",
    "ISIC_0000004|Anonymous|CC-BY||||||||dermoscopic|||",
]


def archive_rows() -> list[dict[str, str]]:
    return [dict(zip(COLUMNS, row.split("|"), strict=True)) for row in ROWS]


@pytest.fixture
def download(tmp_path):
    """A download as the command-line tool writes it."""
    write_rows(tmp_path / "metadata.csv", archive_rows())
    write_images(tmp_path, [f"{row['isic_id']}.jpg" for row in archive_rows()])
    (tmp_path / "attribution.txt").write_text("Anonymous\n")
    return tmp_path


def test_the_tools_layout(download):
    records = check_source("isic_archive", download)
    assert records["image_id"].tolist() == [f"ISIC_000000{k}" for k in (1, 2, 3, 4)]
    assert records["license"].tolist() == ["CC-0", "CC-BY-NC", "CC-BY", "CC-BY"]
    assert records["attribution"].iloc[1] == "Clinic, Barcelona"
    assert records["age"].tolist() == [30, 60, -1, -1]
    assert records["site"].iloc[0] == "head/neck"
    assert records["fitzpatrick"].tolist() == ["II", "", "", ""]
    assert records["lesion_id"].tolist() == ["IL_1", "IL_2", "", ""]
    assert records["patient_id"].tolist() == ["IP_1", "IP_1", "", ""]
    assert records["image_type"].iloc[2] == "clinical: overview"


def test_the_diagnosis_is_the_most_specific_level(download):
    records = read_records("isic_archive", download)
    assert records["diagnosis"].tolist() == ["Nevus, Atypical", "Melanoma in situ", MELANOMA, ""]


def test_one_level_can_be_chosen(download):
    options = SourceOptions(label_column="diagnosis_2")
    records = read_records("isic_archive", download, options=options)
    assert records["diagnosis"].tolist() == ["Benign melanocytic", MELANOMA, MELANOMA, ""]


def test_images_may_be_in_a_subfolder(tmp_path):
    write_rows(tmp_path / "metadata.csv", archive_rows(), bom=True)
    write_images(tmp_path / "images", [f"{row['isic_id']}.jpg" for row in archive_rows()])
    assert len(read_records("isic_archive", tmp_path)) == 4


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"diagnosis": "nevus", "benign_malignant": "benign"}, "nevus"),
        ({"diagnosis": "", "benign_malignant": "benign"}, "benign"),
        ({"benign_malignant": "malignant"}, "malignant"),
    ],
)
def test_older_downloads(tmp_path, columns, expected):
    write_rows(tmp_path / "metadata.csv", [{"isic_id": "ISIC_1", **columns}])
    write_images(tmp_path, ["ISIC_1.jpg"])
    assert read_records("isic_archive", tmp_path)["diagnosis"].tolist() == [expected]


def test_images_without_a_row_are_left_out(download):
    write_images(download, ["ISIC_9999999.jpg"])
    assert len(read_records("isic_archive", download)) == 4


def test_a_row_without_an_image_is_named(download):
    (download / "ISIC_0000002.jpg").unlink()
    (download / "ISIC_0000003.jpg").unlink()
    words = r"metadata\.csv: line 3: no image of 'ISIC_0000002' \(and of 1 more rows\)"
    with pytest.raises(UserError, match=words):
        read_records("isic_archive", download)


def test_an_image_in_two_rows_is_named(download):
    write_rows(download / "metadata.csv", [*archive_rows(), archive_rows()[0]])
    with pytest.raises(UserError, match="'ISIC_0000001' stands in more than one row"):
        read_records("isic_archive", download)


def test_a_missing_id_column_is_named(tmp_path):
    write_rows(tmp_path / "metadata.csv", [{"name": "x", "diagnosis": "nevus"}])
    with pytest.raises(UserError, match="no column 'isic_id'"):
        read_records("isic_archive", tmp_path)


@pytest.mark.parametrize("columns", [{"sex": "male"}, {"sex": "male", "diagnosis_1": ""}])
def test_a_download_without_any_diagnosis_is_refused(tmp_path, columns):
    write_rows(tmp_path / "metadata.csv", [{"isic_id": "ISIC_1", **columns}])
    write_images(tmp_path, ["ISIC_1.jpg"])
    with pytest.raises(UserError, match="diagnosis"):
        read_records("isic_archive", tmp_path)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.permutations(COLUMNS),
    extra=st.sampled_from([{}, {"melanocytic": "True"}, {"pixels_x": "8", "mel_class": "x,y"}]),
    bom=st.booleans(),
)
def test_order_extra_columns_and_bom_never_change_the_records(download, order, extra, bom):
    write_rows(download / "metadata.csv", archive_rows())
    expected = read_records("isic_archive", download)
    rows = [{**extra, **{name: row[name] for name in order}} for row in archive_rows()]
    write_rows(download / "metadata.csv", rows, bom=bom)
    assert read_records("isic_archive", download).equals(expected)


def test_the_real_images(real_isic_archive):
    records = read_records("isic_archive", real_isic_archive)
    assert records["diagnosis"].value_counts().to_dict() == {"Nevus": 163, "Melanoma, NOS": 73}
    assert set(records["license"]) == {"CC-0"}
    assert set(records["attribution"]) == {"Anonymous"}


def test_the_first_tools_columns_are_read(tmp_path):
    rows = [
        {
            "_id": "5436e3abbae478396759f0cf",
            "name": "ISIC_0000001",
            "meta.clinical.diagnosis": "nevus",
            "meta.clinical.benign_malignant": "benign",
            "meta.clinical.age_approx": "30",
            "meta.clinical.sex": "female",
        },
        {
            "_id": "5436e3abbae478396759f0d0",
            "name": "ISIC_0000002",
            "meta.clinical.diagnosis": "",
            "meta.clinical.benign_malignant": "malignant",
            "meta.clinical.age_approx": "",
            "meta.clinical.sex": "male",
        },
    ]
    write_rows(tmp_path / "metadata.csv", rows)
    write_images(tmp_path, ["ISIC_0000001.jpg", "ISIC_0000002.jpg"])
    records = read_records("isic_archive", tmp_path)
    assert records["diagnosis"].tolist() == ["nevus", "malignant"]
    assert records["age"].tolist() == [30, -1]
    assert records["sex"].tolist() == ["female", "male"]


def test_a_level_that_says_nothing_gives_way_to_a_broader_one(download):
    rows = archive_rows()
    rows[0] |= {"diagnosis_4": "NA", "diagnosis_3": "-1"}
    write_rows(download / "metadata.csv", rows)
    assert read_records("isic_archive", download)["diagnosis"].iloc[0] == "Benign melanocytic"
