"""Each challenge in the form in which it is published, three or four rows small."""

import io

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.datasets.sources.images import write_images, write_rows
from tfskin.datasets.images import read_image
from tfskin.datasets.options import SourceOptions
from tfskin.datasets.sources import read_records
from tfskin.datasets.sources.contract import check_source
from tfskin.errors import UserError


def one_hot(key: str, rows: dict[str, str], classes: str) -> list[dict[str, str]]:
    names = classes.split(",")
    return [
        {key: name, **{other: "1.0" if other == label else "0.0" for other in names}}
        for name, label in rows.items()
    ]


def write_2016(folder):
    (folder / "ISBI2016_ISIC_Part3_Training_GroundTruth.csv").write_text(
        "ISIC_0000000,benign\nISIC_0000002,malignant\n"
    )
    (folder / "ISBI2016_ISIC_Part3_Test_GroundTruth.csv").write_text(
        "ISIC_0000003,0.0\nISIC_0000005,1.0\n"
    )
    for part, ids in (("Training", (0, 2)), ("Test", (3, 5))):
        place = folder / f"ISBI2016_ISIC_Part3_{part}_Data"
        write_images(place, [f"ISIC_{number:07d}.jpg" for number in ids])


def write_2017(folder):
    for part, first in (("Training", 0), ("Validation", 10), ("Test_v2", 20)):
        ids = [f"ISIC_{first + number:07d}" for number in range(3)]
        truth = [("1.0", "0.0"), ("0.0", "1.0"), ("0.0", "0.0")]
        rows = [
            {"image_id": image_id, "melanoma": melanoma, "seborrheic_keratosis": keratosis}
            for image_id, (melanoma, keratosis) in zip(ids, truth, strict=True)
        ]
        write_rows(folder / f"ISIC-2017_{part}_Part3_GroundTruth.csv", rows)
        place = folder / f"ISIC-2017_{part}_Data"
        write_images(place, [f"{image_id}.jpg" for image_id in ids])
        write_images(place, [f"{image_id}_superpixels.png" for image_id in ids])
        about = [
            {"image_id": image_id, "age_approximate": "unknown", "sex": "female"}
            for image_id in ids
        ]
        write_rows(place / f"ISIC-2017_{part}_Data_metadata.csv", about)


def write_2018(folder):
    classes = "MEL,NV,BCC,AKIEC,BKL,DF,VASC"
    for part, first in (("Training", 0), ("Validation", 10), ("Test", 20)):
        labels = {f"ISIC_{first + i:07d}": name for i, name in enumerate(("MEL", "NV", "AKIEC"))}
        place = folder / f"ISIC2018_Task3_{part}_GroundTruth"
        rows = one_hot("image", labels, classes)
        write_rows(place / f"ISIC2018_Task3_{part}_GroundTruth.csv", rows)
        write_images(folder / f"ISIC2018_Task3_{part}_Input", [f"{name}.jpg" for name in labels])
    groups = [
        {"image": "ISIC_0000000", "lesion_id": "HAM_1", "diagnosis_confirm_type": "histopathology"},
        {"image": "ISIC_0000001", "lesion_id": "HAM_1", "diagnosis_confirm_type": "follow_up"},
        {"image": "ISIC_0000002", "lesion_id": "HAM_2", "diagnosis_confirm_type": "follow_up"},
    ]
    write_rows(folder / "ISIC2018_Task3_Training_LesionGroupings.csv", groups)


def write_2019(folder):
    labels = {
        "ISIC_0000000": "MEL",
        "ISIC_0000001_downsampled": "AK",
        "ISIC_0000002": "SCC",
        "ISIC_0000003": "UNK",
    }
    rows = one_hot("image", labels, "MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK")
    write_rows(folder / "ISIC_2019_Training_GroundTruth.csv", rows)
    write_images(folder / "ISIC_2019_Training_Input", [f"{name}.jpg" for name in labels])
    about = [
        {
            "image": name,
            "age_approx": "55.0" if place else "",
            "anatom_site_general": "anterior torso",
            "lesion_id": "" if place % 2 else "BCN_1",
            "sex": "male",
        }
        for place, name in enumerate(labels)
    ]
    write_rows(folder / "ISIC_2019_Training_Metadata.csv", about, bom=True)


def write_2020(folder, name="ISIC_2020_Training_GroundTruth_v2.csv"):
    rows = [
        {
            "image_name": f"ISIC_{number:07d}",
            "patient_id": f"IP_{number // 2}",
            "lesion_id": f"IL_{number}",
            "sex": "female",
            "age_approx": "45.0",
            "anatom_site_general_challenge": "torso",
            "diagnosis": diagnosis,
            "benign_malignant": "malignant" if diagnosis == "melanoma" else "benign",
            "target": str(int(diagnosis == "melanoma")),
        }
        for number, diagnosis in enumerate(("unknown", "nevus", "melanoma", "unknown"))
    ]
    write_rows(folder / name, rows)
    write_images(folder / "train", [f"ISIC_{number:07d}.jpg" for number in range(4)])
    pairs = [
        {"image_name_1": "ISIC_0000000", "image_name_2": "ISIC_0000003"},
        {"image_name_1": "ISIC_0000001", "image_name_2": "ISIC_9999999"},
    ]
    write_rows(folder / "ISIC_2020_Training_Duplicates.csv", pairs)


def write_2024(folder):
    rows = [
        {
            "isic_id": f"ISIC_{number:07d}",
            "target": str(number % 2),
            "patient_id": "IP_7",
            "age_approx": "60",
            "sex": "male",
            "anatom_site_general": "posterior torso",
            "image_type": "TBP tile: close-up",
            "tbp_lv_A": "20.2",
            "attribution": "Memorial Sloan Kettering Cancer Center",
            "copyright_license": "CC-BY",
            "lesion_id": f"IL_{number}" if number else "",
            "iddx_1": "Malignant" if number % 2 else "Benign",
            "iddx_3": "Melanoma in situ" if number % 2 else "",
        }
        for number in range(3)
    ]
    write_rows(folder / "train-metadata.csv", rows)
    with h5py.File(folder / "train-image.hdf5", "w") as file:
        for number, row in enumerate(rows):
            stream = io.BytesIO()
            Image.new("RGB", (9, 9), (60 * number, 90, 60)).save(stream, "JPEG")
            file.create_dataset(row["isic_id"], data=np.void(stream.getvalue()))


def write_milk10k(folder):
    classes = "AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC"
    rows = one_hot("lesion_id", {"IL_0000001": "BCC", "IL_0000002": "SCCKA"}, classes)
    write_rows(folder / "MILK10k_Training_GroundTruth.csv", rows)
    about: list[dict[str, str]] = []
    for lesion in (1, 2):
        for kind in ("clinical: close-up", "dermoscopic"):
            image_id = f"ISIC_{len(about):07d}"
            about.append(
                {
                    "lesion_id": f"IL_{lesion:07d}",
                    "image_type": kind,
                    "isic_id": image_id,
                    "attribution": "MILK study team",
                    "copyright_license": "CC-BY-NC",
                    "age_approx": "70",
                    "sex": "female",
                    "skin_tone_class": "4",
                    "site": "head_neck_face",
                    "MONET_hair": "0.1",
                }
            )
            place = folder / "MILK10k_Training_Input" / f"IL_{lesion:07d}"
            write_images(place, [f"{image_id}.jpg"])
    write_rows(folder / "MILK10k_Training_Metadata.csv", about)


LAYOUTS = {
    "isic_2016": (write_2016, ["benign", "malignant", "benign", "malignant"]),
    "isic_2017": (write_2017, ["melanoma", "seborrheic_keratosis", "nevus"] * 3),
    "isic_2018": (write_2018, ["MEL", "NV", "AKIEC"] * 3),
    "isic_2019": (write_2019, ["MEL", "AK", "SCC", "UNK"]),
    "isic_2020": (write_2020, ["unknown", "nevus", "melanoma", "unknown"]),
    "isic_2024": (write_2024, ["Benign", "Melanoma in situ", "Benign"]),
    "milk10k": (write_milk10k, ["BCC", "BCC", "SCCKA", "SCCKA"]),
}


@pytest.mark.parametrize("source", LAYOUTS)
def test_the_published_form_gives_its_diagnoses_and_images(source, tmp_path):
    write, diagnoses = LAYOUTS[source]
    write(tmp_path)
    records = check_source(source, tmp_path)
    assert sorted(records["diagnosis"]) == sorted(diagnoses)
    assert set(records["source"]) == {source}
    assert records["image_id"].is_unique
    for path in records["path"]:
        assert min(read_image(path).size) >= 6


@pytest.mark.parametrize("source", sorted(set(LAYOUTS) - {"isic_2024"}))
def test_a_row_without_an_image_is_named_with_its_line(source, tmp_path):
    LAYOUTS[source][0](tmp_path)
    victim = next(iter(sorted(tmp_path.rglob("ISIC_*1*.jpg")) or sorted(tmp_path.rglob("*.jpg"))))
    victim.unlink()
    with pytest.raises(UserError, match=rf"csv: line \d+: no image of '{victim.stem}'"):
        read_records(source, tmp_path)


def test_2016_has_no_header_and_its_test_is_the_test(tmp_path):
    write_2016(tmp_path)
    records = read_records("isic_2016", tmp_path).set_index("image_id")
    assert records["split"].to_dict() == {
        "ISIC_0000003": "test",
        "ISIC_0000005": "test",
        "ISIC_0000000": "train",
        "ISIC_0000002": "train",
    }
    truth = tmp_path / "ISBI2016_ISIC_Part3_Test_GroundTruth.csv"
    truth.write_text("ISIC_0000003,0.0\nISIC_0000005,maybe\n")
    with pytest.raises(UserError, match=r"Test_GroundTruth\.csv: line 2: label 'maybe' is none"):
        read_records("isic_2016", tmp_path)


def test_training_alone_has_no_split(tmp_path):
    write_2016(tmp_path)
    (tmp_path / "ISBI2016_ISIC_Part3_Test_GroundTruth.csv").unlink()
    assert "split" not in read_records("isic_2016", tmp_path)


def test_2017_joins_age_and_sex_and_passes_superpixels_over(tmp_path):
    write_2017(tmp_path)
    records = read_records("isic_2017", tmp_path)
    assert records["split"].value_counts().to_dict() == {"train": 3, "val": 3, "test": 3}
    assert set(records["sex"]) == {"female"}
    assert set(records["age"]) == {-1.0}
    assert not records["path"].str.contains("superpixels").any()


def test_2018_joins_the_lesion_groupings(tmp_path):
    write_2018(tmp_path)
    records = read_records("isic_2018", tmp_path).set_index("image_id")
    assert records["lesion_id"]["ISIC_0000000"] == records["lesion_id"]["ISIC_0000001"] == "HAM_1"
    assert records["lesion_id"]["ISIC_0000010"] == ""
    assert records["split"]["ISIC_0000020"] == "test"


def test_2019_has_blank_lesions_and_links_downsampled_copies(tmp_path):
    write_2019(tmp_path)
    records = read_records("isic_2019", tmp_path)
    assert records["lesion_id"].tolist() == ["BCN_1", "", "BCN_1", ""]
    assert records["age"].tolist() == [-1, 55, 55, 55]
    assert records["link"].tolist()[1] == "ISIC_0000001"


def test_2020_links_the_pairs_of_its_duplicates_list(tmp_path):
    write_2020(tmp_path)
    records = read_records("isic_2020", tmp_path)
    assert records["link"].tolist() == ["ISIC_0000000", "", "", "ISIC_0000000"]
    assert records["patient_id"].tolist() == ["IP_0", "IP_0", "IP_1", "IP_1"]
    by_target = SourceOptions(label_column="benign_malignant")
    labels = read_records("isic_2020", tmp_path, options=by_target)["diagnosis"]
    assert labels.tolist() == ["benign", "benign", "malignant", "benign"]


@pytest.mark.parametrize("name", ["train.csv", "ISIC_2020_Training_GroundTruth.csv"])
def test_2020_in_its_other_two_forms(name, tmp_path):
    write_2020(tmp_path, name)
    assert len(read_records("isic_2020", tmp_path)) == 4


def test_2024_reads_images_out_of_hdf5(tmp_path):
    write_2024(tmp_path)
    records = read_records("isic_2024", tmp_path)
    assert records["path"][0] == f"{tmp_path / 'train-image.hdf5'}::ISIC_0000000"
    assert np.asarray(read_image(records["path"][2]))[4, 4, 0] == pytest.approx(120, abs=3)
    assert records["license"].tolist() == ["CC-BY"] * 3
    target = SourceOptions(label_column="target")
    assert read_records("isic_2024", tmp_path, options=target)["diagnosis"].tolist() == [
        "Benign",
        "Malignant",
        "Benign",
    ]


def test_2024_reads_the_whole_where_the_permissive_part_lies_beside_it(tmp_path):
    write_2024(tmp_path)
    part = tmp_path / "ISIC_2024_Permissive_Training_GroundTruth.csv"
    write_rows(part, [{"isic_id": "ISIC_0000001", "malignant": "1.0"}])
    with h5py.File(tmp_path / "ISIC_2024_Permissive_Training_Input.hdf5", "w") as file:
        file.create_dataset("ISIC_0000001", data=np.void(b"jpeg"))
    assert len(read_records("isic_2024", tmp_path)) == 3
    assert len(read_records("isic_2024", part)) == 1
    (tmp_path / "train-metadata.csv").unlink()
    assert read_records("isic_2024", tmp_path)["diagnosis"].tolist() == ["Malignant"]


def test_2024_names_what_is_wrong_with_its_hdf5(tmp_path):
    write_2024(tmp_path)
    with h5py.File(tmp_path / "train-image.hdf5", "a") as file:
        del file["ISIC_0000001"]
    with pytest.raises(UserError, match="line 3: no image of 'ISIC_0000001'"):
        read_records("isic_2024", tmp_path)
    (tmp_path / "train-image.hdf5").write_bytes(b"not hdf5")
    with pytest.raises(UserError, match=r"train-image\.hdf5: cannot be read as HDF5"):
        read_records("isic_2024", tmp_path)


def test_milk10k_has_two_images_a_lesion(tmp_path):
    write_milk10k(tmp_path)
    records = read_records("milk10k", tmp_path)
    assert records["lesion_id"].tolist() == ["IL_0000001"] * 2 + ["IL_0000002"] * 2
    assert records["image_type"].tolist() == ["clinical: close-up", "dermoscopic"] * 2
    assert records["skin_tone"].tolist() == ["4"] * 4
    assert records["fitzpatrick"].tolist() == [""] * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("1.0,0.0", "1.0,1.0", 1), "line 2: 2 of MEL, .* are 1; exactly"),
        (lambda text: text.replace("1.0", "0.0", 1), "line 2: 0 of MEL"),
        (lambda text: text.replace("1.0", "yes", 1), "line 2: 'MEL' is 'yes'; it must be 0 or 1"),
        (lambda text: text.replace("image,", "name,", 1), "no column 'image' or 'image_id'"),
        (lambda text: text + text.splitlines()[1] + "\n", "'ISIC_0000000' stands in more"),
        (lambda text: text.replace("ISIC_0000000", "", 1), "line 2: 'image' is empty"),
        (lambda text: text.replace(",0.0\n", "\n", 1), r"line 2 has \d+ fields"),
    ],
)
def test_a_broken_one_hot_table_is_named(change, message, tmp_path):
    write_2019(tmp_path)
    truth = tmp_path / "ISIC_2019_Training_GroundTruth.csv"
    truth.write_text(change(truth.read_text().replace("\r\n", "\n")))
    with pytest.raises(UserError, match=message):
        read_records("isic_2019", tmp_path)
