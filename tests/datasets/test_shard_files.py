"""What is refused before and after shards are written: options, leaks, disks, damaged folders."""

from pathlib import Path

import pandas as pd
import pytest

from tests.datasets.tiny import make_records, split_evenly, write_tiny
from tests.holding import another_writer
from tfskin.datasets.options import ShardOptions
from tfskin.datasets.shard_writing import write_shards
from tfskin.datasets.shards import load_shards
from tfskin.errors import UserError

# What is refused


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("HAM-10000", "1.0.0", "name 'HAM-10000': must be lower-case"),
        ("../x", "1.0.0", "must be lower-case"),
        ("tiny", "1", "version '1': must be three numbers"),
        ("tiny", "01.0.0", "must be three numbers"),
    ],
)
def test_names_that_tfds_does_not_take_are_refused(tiny_records, tmp_path, name, version, message):
    splits, groups = split_evenly(tiny_records)
    with pytest.raises(UserError, match=message):
        write_shards(tiny_records, splits, groups, name=name, version=version, output_dir=tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "values", [{"max_side": 0}, {"jpeg_quality": 0}, {"jpeg_quality": 101}, {"max_shard_bytes": 0}]
)
def test_impossible_options_are_refused(values):
    with pytest.raises(UserError, match=next(iter(values))):
        ShardOptions(**values)


def test_splits_that_leak_are_refused(tiny_records, tmp_path):
    splits, groups = split_evenly(tiny_records)
    splits[0] = "val" if splits[0] != "val" else "test"
    with pytest.raises(UserError, match=r"'image_000' .*'image_001'"):
        write_shards(tiny_records, splits, groups, name="tiny", output_dir=tmp_path)
    assert not any(tmp_path.iterdir())


def test_records_without_any_diagnosis_are_refused(tiny_records, tmp_path):
    splits, groups = split_evenly(tiny_records)
    with pytest.raises(UserError, match="no image has a diagnosis"):
        write_shards(
            tiny_records.assign(diagnosis=""), splits, groups, name="tiny", output_dir=tmp_path
        )


def test_a_broken_image_is_named_and_leaves_nothing(tmp_path):
    records = make_records(tmp_path / "images", 12)
    broken = Path(records["path"][5])
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UserError, match=r"image_005\.png: is cut off"):
        write_tiny(records, tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_shards_that_are_there_are_replaced_only_when_asked(tiny_records, tmp_path):
    first = write_tiny(tiny_records, tmp_path)
    with pytest.raises(UserError, match="is there already"):
        write_tiny(tiny_records, tmp_path)
    assert load_shards(first.folder) == first
    second = write_tiny(tiny_records, tmp_path, overwrite=True, max_side=20)
    assert second.fingerprint != first.fingerprint
    assert [path.name for path in second.folder.parent.iterdir()] == ["1.0.0"]


def test_an_output_that_is_a_file_is_named(tiny_records, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        write_tiny(tiny_records, tmp_path / "file")


def test_a_full_disk_is_one_line_and_leaves_nothing(tiny_records, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # a file cannot grow further
    try:
        with pytest.raises(UserError, match=r"tiny/1\.0\.0: cannot be written: \S+") as caught:
            write_tiny(tiny_records, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_two_processes_do_not_write_one_data_set_at_once(tiny_records, tmp_path):
    for held in (tmp_path / "tiny", tmp_path / "tiny" / "1.0.0"):
        with another_writer(held) as process, pytest.raises(UserError) as caught:
            write_tiny(tiny_records, tmp_path)
        assert f"process {process.pid} has been writing it" in str(caught.value)
    assert write_tiny(tiny_records, tmp_path).counts


# Loading


def copy(shards, folder: Path) -> Path:
    import shutil

    shutil.copytree(shards.folder, folder)
    return folder


def test_the_folder_of_the_name_serves_when_one_version_is_in_it(tiny_shards, tmp_path):
    assert load_shards(tiny_shards.folder.parent) == tiny_shards
    copy(tiny_shards, tmp_path / "tiny" / "1.0.0")
    copy(tiny_shards, tmp_path / "tiny" / "1.1.0")
    with pytest.raises(UserError, match=r"has versions 1\.0\.0, 1\.1\.0; name one"):
        load_shards(tmp_path / "tiny")
    assert load_shards(str(tmp_path / "tiny" / "1.1.0")).fingerprint == tiny_shards.fingerprint


def test_a_relative_folder_gives_absolute_files(tiny_shards, monkeypatch):
    monkeypatch.chdir(tiny_shards.folder.parent.parent)
    assert load_shards("tiny/1.0.0").files == tiny_shards.files


def test_a_folder_that_is_none_or_holds_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        load_shards(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no shards"):
        load_shards(tmp_path)
    (tmp_path / "1.0.0").mkdir()
    with pytest.raises(UserError, match="unfinished"):
        load_shards(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "files": []}'])
def test_a_damaged_description_is_refused(tiny_shards, tmp_path, text):
    folder = copy(tiny_shards, tmp_path / "1.0.0")
    (folder / "shards.json").write_text(text)
    with pytest.raises(UserError, match=r"shards\.json: is damaged"):
        load_shards(folder)


def test_another_format_is_refused(tiny_shards, tmp_path):
    folder = copy(tiny_shards, tmp_path / "1.0.0")
    (folder / "shards.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match="another version of tfskin"):
        load_shards(folder)


def test_a_missing_or_shortened_file_is_named(tiny_shards, tmp_path):
    folder = copy(tiny_shards, tmp_path / "1.0.0")
    file = folder / "tiny-val.tfrecord-00000-of-00001"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"tiny-val\S+: the shard file has \d+ bytes instead of"):
        load_shards(folder)
    file.unlink()
    with pytest.raises(UserError, match=r"tiny-val\S+: the shard file is missing"):
        load_shards(folder)


def test_splits_that_are_no_longer_disjoint_are_refused(tiny_shards, tmp_path):
    folder = copy(tiny_shards, tmp_path / "1.0.0")
    table = pd.read_csv(folder / "splits.csv", dtype=str)
    table.loc[0, "split"] = "val" if table.loc[0, "split"] != "val" else "test"
    table.to_csv(folder / "splits.csv", index=False)
    with pytest.raises(UserError, match="two splits"):
        load_shards(folder)
