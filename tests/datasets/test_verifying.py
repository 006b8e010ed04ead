"""Shards that were swapped or thinned, with sizes in ``shards.json`` that fit."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.datasets.tiny import make_records, write_tiny
from tfskin.datasets.shards import load_shards
from tfskin.datasets.verifying import stored_number
from tfskin.errors import UserError
from tfskin.files import read_json, write_json

FROZEN = Path(__file__).parents[1] / "frozen" / "v1" / "tfrecords" / "phantom" / "1.0.0"
Examples = list[tf.train.Example]


def read_all(file: Path) -> Examples:
    records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    return [tf.train.Example.FromString(record) for record in records]


def rewrite(folder: Path, split: str, change: Callable[[Examples], Examples]) -> None:
    """Change the first file of a split; its size in ``shards.json`` is made to fit."""
    about = read_json(folder / "shards.json")
    name = min(about["files"][split])
    examples = change(read_all(folder / name))
    with tf.io.TFRecordWriter(str(folder / name)) as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    about["files"][split][name] = (folder / name).stat().st_size
    write_json(folder / "shards.json", about)


def feature(example: tf.train.Example, name: str):
    found = example.features.feature[name]
    return getattr(found, found.WhichOneof("kind")).value


@pytest.fixture
def folder(tiny_shards, tmp_path) -> Path:
    return shutil.copytree(tiny_shards.folder, tmp_path / "1.0.0")


def test_whole_shards_pass(folder, tiny_shards):
    assert load_shards(folder, verify=True).fingerprint == tiny_shards.fingerprint


def test_the_order_of_records_is_no_content(folder):
    rewrite(folder, "train", lambda examples: examples[::-1])
    assert load_shards(folder, verify=True).counts == load_shards(folder).counts


def test_shards_of_a_former_version_pass():
    assert set(load_shards(FROZEN, verify=True).counts) == {"train", "val", "calibration", "test"}


def test_records_that_were_dropped_are_counted(folder):
    rewrite(folder, "train", lambda examples: examples[2:])
    with pytest.raises(UserError, match="the train split lacks 2 of its records, such as that of"):
        load_shards(folder)


def test_train_records_copied_into_test_are_counted(folder):
    copied = read_all(folder / "tiny-train.tfrecord-00000-of-00001")[:3]
    rewrite(folder, "test", lambda examples: examples + copied)
    with pytest.raises(UserError, match="the test split should not hold 3 of its records"):
        load_shards(folder)


def test_a_record_that_is_there_twice_is_counted(folder):
    rewrite(folder, "val", lambda examples: examples + examples[:1])
    with pytest.raises(UserError, match="the val split should not hold 1 of its records"):
        load_shards(folder)


def test_a_group_that_was_changed_is_found(folder):
    def change(examples: Examples) -> Examples:
        feature(examples[0], "group")[0] = 99
        return examples

    rewrite(folder, "train", change)
    with pytest.raises(UserError, match="the train split lacks 1 of its records"):
        load_shards(folder)


def test_a_flipped_label_is_found(folder):
    def flip(examples: Examples) -> Examples:
        feature(examples[0], "label")[0] = (feature(examples[0], "label")[0] + 1) % 3
        return examples

    rewrite(folder, "train", flip)
    with pytest.raises(UserError, match=r"its label . is not its diagnosis '"):
        load_shards(folder)


@pytest.mark.parametrize("label", [99, -2])
def test_a_label_out_of_range_is_found(folder, label):
    def change(examples: Examples) -> Examples:
        feature(examples[0], "label")[0] = label
        return examples

    rewrite(folder, "train", change)
    with pytest.raises(UserError, match=f"its label {label} is not its diagnosis"):
        load_shards(folder)


def test_a_label_flipped_with_its_diagnosis_changes_the_counts(folder):
    def flip(examples: Examples) -> Examples:
        other = next(
            e for e in examples if feature(e, "label")[0] != feature(examples[0], "label")[0]
        )
        for name in ("label", "diagnosis"):
            feature(examples[0], name)[0] = feature(other, name)[0]
        return examples

    rewrite(folder, "train", flip)
    with pytest.raises(UserError, match=r"the train split has \d+ images of '\w+' instead of \d+"):
        load_shards(folder)


def swap(name: str) -> Callable[[Examples], Examples]:
    """Two records of different labels swap a feature: no count and no id changes."""

    def change(examples: Examples) -> Examples:
        one = examples[0]
        other = next(e for e in examples if feature(e, "label")[0] != feature(one, "label")[0])
        for key in ("label", "diagnosis") if name == "label" else (name,):
            first, second = feature(one, key)[0], feature(other, key)[0]
            feature(one, key)[0], feature(other, key)[0] = second, first
        return examples

    return change


@pytest.mark.parametrize("name", ["label", "image", "age", "lesion_id"])
def test_only_the_fingerprint_knows_what_was_swapped(folder, name):
    rewrite(folder, "train", swap(name))
    load_shards(folder)
    with pytest.raises(UserError, match="their fingerprint is another"):
        load_shards(folder, verify=True)


def test_a_training_compares_the_fingerprint_when_it_begins(folder):
    from tfskin.experiment.fitting.data import find_shards

    rewrite(folder, "train", swap("image"))
    find_shards(str(folder))
    with pytest.raises(UserError, match="their fingerprint is another"):
        find_shards(str(folder), verify=True)


def damage(folder: Path, place: int) -> None:
    file = folder / "tiny-val.tfrecord-00000-of-00001"
    data = bytearray(file.read_bytes())
    data[place] ^= 64
    file.write_bytes(bytes(data))


def test_a_byte_that_changed_is_found_with_its_record(folder):
    damage(folder, 2000)
    with pytest.raises(UserError, match=r"tiny-val\S+: record \d+ is damaged"):
        load_shards(folder, verify=True)


def test_a_length_that_changed_is_found(folder):
    damage(folder, 2)
    with pytest.raises(UserError, match=r"tiny-val\S+: record 1 is damaged"):
        load_shards(folder)


def test_a_record_that_lacks_a_feature_is_named(folder):
    def strip(examples: Examples) -> Examples:
        del examples[0].features.feature["label"]
        return examples

    rewrite(folder, "val", strip)
    with pytest.raises(UserError, match=r"tiny-val\S+: record 1 is damaged"):
        load_shards(folder)


def test_ages_are_stored_as_they_are_read(tmp_path):
    records = make_records(tmp_path / "images", 24)
    records["age"] = np.linspace(1, 80, 24) + 1 / 3
    write_tiny(records, tmp_path / "shards")
    load_shards(tmp_path / "shards" / "tiny", verify=True)
    assert stored_number(85.3) == 85.3


WRITE = """
import sys
from pathlib import Path
from tests.datasets.tiny import make_records, write_tiny
write_tiny(make_records(Path(sys.argv[1]), 12), Path(sys.argv[2]))
"""


def test_identical_prepares_give_identical_bytes(tmp_path):
    """In two processes: within one, hashes of names are the same."""
    for name in ("a", "b"):
        command = [sys.executable, "-c", WRITE, str(tmp_path / "images"), str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[2])
    first = {path.relative_to(tmp_path / "a"): path for path in (tmp_path / "a").rglob("*.*")}
    second = {path.relative_to(tmp_path / "b"): path for path in (tmp_path / "b").rglob("*.*")}
    assert first.keys() == second.keys()
    different = [
        str(name)
        for name, path in first.items()
        if path.is_file() and path.read_bytes() != second[name].read_bytes()
    ]
    assert different == []


def test_files_that_passed_are_read_again_when_they_changed(folder):
    load_shards(folder)
    rewrite(folder, "train", lambda examples: examples[1:])
    with pytest.raises(UserError, match="lacks 1"):
        load_shards(folder)
