import pytest

from tests.datasets.sources.pictures import write_pictures
from tfskin.datasets.options import SourceOptions
from tfskin.datasets.records import RECORD_COLUMNS
from tfskin.datasets.sources import SOURCES, read_records
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
    write_pictures(tmp_path / "data", ["a/1.jpg", "b/1.jpg"])
    monkeypatch.chdir(tmp_path)
    records = read_records("image_folder", "data")
    assert list(records.columns) == RECORD_COLUMNS
    assert records["path"].tolist() == [
        str(tmp_path / "data" / "a" / "1.jpg"),
        str(tmp_path / "data" / "b" / "1.jpg"),
    ]


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    write_pictures(tmp_path / "data", ["a/1.jpg", "b/1.jpg"])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(read_records("image_folder", "~/data")) == 2
