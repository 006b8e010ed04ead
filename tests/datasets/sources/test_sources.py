import importlib
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.datasets.sources.images import write_images, write_rows
from tfskin.datasets.options import SourceOptions
from tfskin.datasets.records import RECORD_COLUMNS
from tfskin.datasets.sources import SOURCES, read_records
from tfskin.datasets.sources.contract import check_source
from tfskin.errors import UserError


def test_an_unknown_source_gets_the_nearest_name(tmp_path):
    with pytest.raises(UserError, match=r"unknown source 'ham1000' \(did you mean 'ham10000'\?\)"):
        read_records("ham1000", tmp_path)


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"phantom"}))
def test_a_missing_folder_is_named(source, tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        read_records(source, tmp_path / "nowhere")


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"phantom"}))
def test_an_empty_folder_is_named(source, tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)):
        read_records(source, tmp_path)


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_a_path_is_needed(source):
    with pytest.raises(UserError, match=f"'{source}' needs the path"):
        read_records(source, None)


def test_an_option_that_a_source_does_not_take_is_refused(tmp_path):
    options = SourceOptions(prefixes={"a": "b"})
    with pytest.raises(UserError, match="'ham10000' takes no option 'prefixes'; it takes: images"):
        read_records("ham10000", tmp_path, options=options)


def test_paths_are_absolute_wherever_one_stands(tmp_path, monkeypatch):
    write_images(tmp_path / "data", ["a/1.jpg", "b/1.jpg"])
    monkeypatch.chdir(tmp_path)
    records = read_records("image_folder", "data")
    assert list(records.columns) == RECORD_COLUMNS
    assert records["path"].tolist() == [
        str(tmp_path / "data" / "a" / "1.jpg"),
        str(tmp_path / "data" / "b" / "1.jpg"),
    ]


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    write_images(tmp_path / "data", ["a/1.jpg", "b/1.jpg"])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(read_records("image_folder", "~/data")) == 2


OWN = """
from pathlib import Path
import pandas as pd
from tfskin.errors import UserError

def read_lesions(path, *, images=None):
    files = sorted(Path(images or path).glob("*.jpg"))
    if not files:
        raise UserError(f"{path}: has no images; give the folder that holds them")
    return pd.DataFrame(
        {
            "image_id": [file.stem for file in files],
            "path": [str(file.absolute()) for file in files],
            "diagnosis": [file.stem.partition("-")[0] for file in files],
        }
    )

def read_silently(path):
    return pd.DataFrame({"image_id": [], "path": [], "diagnosis": []})

def read_ids(path):
    return pd.DataFrame({"image_id": ["a"]})
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder that holds a module of the user's, where the user stands; and images."""
    (tmp_path / "own_layouts.py").write_text(OWN)
    write_images(tmp_path / "data", ["mel-1.jpg", "nv-1.jpg", "nv-2.jpg"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path / "data"
    sys.modules.pop("own_layouts", None)


def test_a_layout_of_ones_own_keeps_the_contract(own: Path):
    records = check_source("own_layouts:read_lesions", own)
    assert records["diagnosis"].tolist() == ["mel", "nv", "nv"]
    assert set(records["source"]) == {"lesions"}
    options = SourceOptions(images=own)
    assert len(read_records("own_layouts:read_lesions", own.parent, options=options)) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_layouts:read_lesion", "did you mean 'read_lesions'"),
        ("no_such_module:read", "no module 'no_such_module'"),
        ("own_layouts:read_ids", "no column 'path'"),
        ("own_layouts:read_silently", "there is no image in it"),
    ],
)
def test_a_layout_of_ones_own_that_cannot_be_used_says_why(own, name, message):
    with pytest.raises(UserError, match=message):
        read_records(name, own)


def test_an_option_that_a_layout_of_ones_own_does_not_take_is_refused(own):
    options = SourceOptions(label_column="dx")
    with pytest.raises(UserError, match="takes no option 'label_column'; it takes: images"):
        read_records("own_layouts:read_lesions", own, options=options)


def test_a_layout_that_reads_an_empty_folder_breaks_the_contract(own, monkeypatch):
    own_layouts = importlib.import_module("own_layouts")

    def read_table(path: Path):
        return own_layouts.read_lesions(own)

    monkeypatch.setattr(own_layouts, "read_table", read_table, raising=False)
    with pytest.raises(AssertionError, match="is read without an error"):
        check_source("own_layouts:read_table", own)


def write_layout(source: str, folder: Path) -> Path:
    """An example of a layout below ``folder``; its metadata file."""
    from tests.datasets.sources import test_challenges as challenges

    ids = [f"ISIC_000000{number}" for number in range(4)]
    if source == "ham10000":
        rows = [
            {"lesion_id": f"HAM_{n}", "image_id": ids[n], "dx": dx, "age": "50", "dataset": "vidir"}
            for n, dx in enumerate(("mel", "nv", "nv", "bkl"))
        ]
        write_images(folder / "HAM10000_images_part_1", [f"{name}.jpg" for name in ids])
        return write_rows(folder / "HAM10000_metadata.csv", rows)
    if source == "isic_archive":
        rows = [
            {"isic_id": ids[n], "diagnosis_1": dx, "age_approx": "50", "copyright_license": "CC-0"}
            for n, dx in enumerate(("Benign", "Malignant", "Benign", "Benign"))
        ]
        write_images(folder / "images", [f"{name}.jpg" for name in ids])
        return write_rows(folder / "metadata.csv", rows)
    if source == "table":
        rows = [
            {"path": f"{ids[n]}.jpg", "label": dx, "patient_id": f"P{n}", "split": "train"}
            for n, dx in enumerate(("a", "b", "b", "b"))
        ]
        write_images(folder, [f"{name}.jpg" for name in ids])
        return write_rows(folder / "t.csv", rows)
    getattr(challenges, f"write_{source.removeprefix('isic_')}")(folder)
    named = next(table for table in sorted(folder.rglob("*.csv")) if WHOLE[source] in table.name)
    for other in folder.rglob("*GroundTruth.csv"):  # a file stands for its own part alone
        if other != named and WHOLE[source] != "Metadata":
            other.unlink()
    return named


WHOLE = {
    **dict.fromkeys(["isic_2016", "isic_2018", "isic_2019"], "Training"),
    "isic_2017": "Training_Part3_GroundTruth",
    "isic_2020": "GroundTruth",
    "isic_2024": "train-metadata",
    "milk10k": "Metadata",
}


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"phantom", "image_folder"}))
def test_a_source_named_by_its_file_or_its_folder_is_the_same(source, tmp_path):
    file = write_layout(source, tmp_path)
    by_folder, by_file = read_records(source, tmp_path), read_records(source, file)
    assert len(by_folder) >= 2
    pd.testing.assert_frame_equal(by_folder, by_file)


def test_2020_knows_its_lesions_by_either_truth_file(tmp_path):
    from tests.datasets.sources.test_challenges import write_2020

    write_2020(tmp_path)
    new = tmp_path / "ISIC_2020_Training_GroundTruth_v2.csv"
    rows = pd.read_csv(new, dtype=str)
    old = tmp_path / "ISIC_2020_Training_GroundTruth.csv"
    rows.drop(columns=["lesion_id"]).to_csv(old, index=False)
    by_file = read_records("isic_2020", old)
    pd.testing.assert_frame_equal(by_file, read_records("isic_2020", tmp_path))
    assert set(by_file["lesion_id"]) == {f"IL_{number}" for number in range(4)}


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"phantom"}))
def test_every_source_tells_what_it_leaves_out(source, tmp_path, news):
    if source == "image_folder":
        write_images(tmp_path, ["a/1.jpg", "b/1.jpg"])
        place = tmp_path / "a"
    else:
        write_layout(source, tmp_path)
        place = next((path.parent for path in tmp_path.rglob("*.jpg")), tmp_path)
    if source == "isic_2024":
        pytest.skip("its images lie in one HDF5 file")
    write_images(place, ["ISIC_0000000_segmentation.png"])
    (place / "notes.txt").write_text("text")
    records = read_records(source, tmp_path)
    assert not records["path"].str.contains("segmentation").any()
    (line,) = [line for line in news if "left out" in line]
    assert "1 no readable image (.txt)" in line
    assert "masks or superpixels" in line


def test_the_same_image_from_two_sources_is_one(tmp_path):
    from tfskin.datasets.merging import merge_records

    write_layout("ham10000", tmp_path / "ham")
    names = [f"isic_000000{number}.JPG" for number in range(4)]
    write_images(tmp_path / "table", names)
    rows = [{"image_id": name, "path": name, "label": "nv"} for name in names]
    table = write_rows(tmp_path / "table" / "t.csv", rows)
    tables = [read_records("ham10000", tmp_path / "ham"), read_records("table", table)]
    merged = merge_records(tables)
    assert merged.repeated == 4
    assert len(merged.records) == 4
