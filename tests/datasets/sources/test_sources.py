import importlib
import sys
from pathlib import Path

import pytest

from tests.datasets.sources.images import write_images
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
