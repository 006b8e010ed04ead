import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.datasets.tiny import make_image, make_records, no_duplicates
from tfskin.datasets.shards import ShardOptions, load_shards, write_shards
from tfskin.datasets.splits import SPLITS, group_records, make_splits, read_splits_csv
from tfskin.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = "184f2288071e2b7d8352d1e2d23698be092828a6ea2e145394bc3c72cb67a767"


def split_evenly(records: pd.DataFrame) -> tuple[pd.Series, np.ndarray]:
    groups = group_records(records, no_duplicates())
    return make_splits(records, groups), groups


def write(records: pd.DataFrame, folder: Path, **options):
    splits, groups = split_evenly(records)
    return write_shards(
        records, splits, groups, name="tiny", output_dir=folder, options=ShardOptions(**options)
    )


def read_examples(file: str) -> list[dict]:
    import tensorflow as tf

    examples = []
    for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        kinds = {name: value.WhichOneof("kind") for name, value in feature.items()}
        examples.append(
            {name: getattr(feature[name], kind).value[0] for name, kind in kinds.items()}
        )
    return examples


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return make_records(tmp_path_factory.mktemp("pictures"), 24)


@pytest.fixture(scope="module")
def shards(records, tmp_path_factory):
    return write(records, tmp_path_factory.mktemp("shards"))


def test_the_folder_holds_what_the_readme_says_and_nothing_else(shards):
    assert shards.folder.parts[-2:] == ("tiny", "1.0.0")
    names = {path.name for path in shards.folder.iterdir()}
    files = {f"tiny-{split}.tfrecord-00000-of-00001" for split in SPLITS}
    described = {"features.json", "dataset_info.json", "label.labels.txt", "LICENSE"}
    assert names == files | described | {"splits.csv", "shards.json"}
    assert [path.name for path in shards.folder.parent.iterdir()] == ["1.0.0"]
    assert {Path(file).name for part in shards.files.values() for file in part} == files


def test_what_comes_back_describes_the_records(records, shards):
    splits, groups = split_evenly(records)
    for split in SPLITS:
        expected = records["diagnosis"][splits == split].value_counts().to_dict()
        assert shards.counts[split] == expected
    about = json.loads((shards.folder / "shards.json").read_text())
    assert about["licenses"] == {"CC-0": 24}
    assert about["source"] == "tiny"
    assert about["groups"] == len(set(groups))
    assert read_splits_csv(shards.folder / "splits.csv", records).equals(splits)


def test_tfds_reads_back_every_record_bit_for_bit(records, shards):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(shards.folder)
    assert builder.name == "tiny"
    assert str(builder.version) == "1.0.0"
    label = builder.info.features["label"]
    assert label.names == ["bcc", "mel", "nv"]
    splits, groups = split_evenly(records)
    by_id = records.assign(split=splits, group=groups).set_index("image_id")
    seen = []
    decoders = {"image": tfds.decode.SkipDecoding()}
    for split in SPLITS:
        assert builder.info.splits[split].num_examples == sum(shards.counts[split].values())
        for record in builder.as_dataset(split=split, decoders=decoders).as_numpy_iterator():
            row = by_id.loc[record["image_id"].decode()]
            assert record["image"] == Path(row["path"]).read_bytes()
            assert (
                label.int2str(record["label"]) == row["diagnosis"] == record["diagnosis"].decode()
            )
            assert record["group"] == row["group"]
            assert row["split"] == split
            assert record["age"] == row["age"]
            assert (record["width"], record["height"]) == (40, 30)
            for name in ("lesion_id", "patient_id", "sex", "site", "license", "source"):
                assert record[name].decode() == row[name]
            seen.append(record["image_id"].decode())
    assert sorted(seen) == sorted(records["image_id"])
    decoded = next(iter(builder.as_dataset(split="train").as_numpy_iterator()))
    assert decoded["image"].shape == (30, 40, 3)


def test_no_group_is_in_the_files_of_two_splits(shards):
    groups = [
        {example["group"] for file in files for example in read_examples(file)}
        for files in shards.files.values()
    ]
    assert sum(len(part) for part in groups) == len(set.union(*groups))


def test_the_order_is_shuffled_by_the_seed_and_not_by_the_order_of_the_records(
    records, shards, tmp_path
):
    def order(which) -> list[bytes]:
        return [example["image_id"] for example in read_examples(which.files["train"][0])]

    assert order(shards) != sorted(order(shards))
    splits, groups = split_evenly(records)
    backwards = np.arange(len(records))[::-1]
    again = write_shards(
        records.iloc[backwards],
        splits.iloc[backwards],
        groups[backwards],
        name="tiny",
        output_dir=tmp_path,
    )
    assert order(again) == order(shards)
    assert again.fingerprint == shards.fingerprint


def test_the_fingerprint_names_the_content_and_not_its_layout(records, shards, tmp_path):
    other = write(records, tmp_path / "a", seed=1, max_shard_bytes=5000, workers=1)
    assert len(other.files["train"]) > 1
    assert other.fingerprint == shards.fingerprint
    assert re.fullmatch("[0-9a-f]{64}", other.fingerprint)


def test_the_fingerprint_changes_with_a_byte_a_split_and_a_label(records, shards, tmp_path):
    splits, groups = split_evenly(records)
    fingerprints = {shards.fingerprint}

    def add(folder: str, changed: pd.DataFrame, split: pd.Series) -> None:
        made = write_shards(changed, split, groups, name="tiny", output_dir=tmp_path / folder)
        fingerprints.add(made.fingerprint)

    picture = tmp_path / "other.png"
    make_image(999).save(picture)
    byte = records.copy()
    byte.loc[3, "path"] = str(picture)
    add("byte", byte, splits)
    label = records.copy()
    label.loc[3, "diagnosis"] = "mel" if label.loc[3, "diagnosis"] != "mel" else "nv"
    add("label", label, splits)
    add(
        "split",
        records,
        splits.where(groups != groups[0], "test" if splits[0] != "test" else "val"),
    )
    assert len(fingerprints) == 4


def test_the_fingerprint_of_known_records_is_a_known_one(tmp_path):
    # Uncompressed pixels, stored as they are: no encoder's version changes these bytes.
    records = make_records(tmp_path / "pictures", 8)
    for index, path in enumerate(records["path"]):
        Path(path).write_bytes(_plain_png(index))
    splits = pd.Series(np.repeat(SPLITS, 2))
    made = write_shards(
        records, splits, np.arange(8) // 2, name="golden", output_dir=tmp_path / "shards"
    )
    assert made.fingerprint == GOLDEN


def _plain_png(level: int) -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    row = bytes([0, level, level, level])
    stored = b"\x78\x01\x01" + struct.pack("<HH", 4, 0xFFFF - 4) + row
    pixels = stored + struct.pack(">I", zlib.adler32(row))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_large_pictures_are_shrunk_and_their_size_is_kept(tmp_path):
    import tensorflow as tf

    records = make_records(tmp_path / "pictures", 8)
    for index, path in enumerate(records["path"]):
        make_image(index, size=(300, 200)).save(path)
    made = write(records, tmp_path / "shards", max_side=60)
    assert made.max_side == 60
    examples = [x for files in made.files.values() for file in files for x in read_examples(file)]
    assert len(examples) == 8
    for example in examples:
        assert (example["width"], example["height"]) == (300, 200)
        assert tf.io.decode_image(example["image"]).shape == (40, 60, 3)


def test_many_records_are_spread_over_four_files_that_stay_below_the_limit(tmp_path):
    picture = tmp_path / "one.jpg"
    make_image(0).save(picture)
    records = make_records(tmp_path / "pictures", 2)
    many = pd.concat([records.iloc[:1]] * 520, ignore_index=True)
    many["image_id"] = [f"i{index}" for index in range(520)]
    many["lesion_id"] = ""
    many["path"] = str(picture)
    many.loc[0, "diagnosis"] = "nv"
    splits = pd.Series(["train"] * 510 + ["test"] * 10)
    made = write_shards(many, splits, np.arange(520), name="tiny", output_dir=tmp_path / "a")
    assert [Path(file).name[-5:] for file in made.files["train"]] == ["00004"] * 4
    assert len(made.files["test"]) == 1
    limited = write_shards(
        many,
        splits,
        np.arange(520),
        name="tiny",
        output_dir=tmp_path / "b",
        options=ShardOptions(max_shard_bytes=50_000),
    )
    assert len(limited.files["train"]) > 4
    assert max(Path(file).stat().st_size for file in limited.files["train"]) <= 50_000
    assert sum(len(read_examples(file)) for file in limited.files["train"]) == 510


def test_a_record_without_a_diagnosis_has_label_minus_one(tmp_path):
    records = make_records(tmp_path / "pictures", 8)
    records.loc[0, "diagnosis"] = ""
    made = write(records, tmp_path / "shards")
    examples = [x for files in made.files.values() for file in files for x in read_examples(file)]
    labels = {example["image_id"]: example["label"] for example in examples}
    assert labels[b"image_000"] == -1
    assert min(label for name, label in labels.items() if name != b"image_000") == 0


def test_a_missing_split_has_no_files(tmp_path):
    records = make_records(tmp_path / "pictures", 4)
    splits = pd.Series(["train", "train", "test", "test"])
    made = write_shards(
        records, splits, np.array([0, 0, 1, 1]), name="tiny", output_dir=tmp_path / "shards"
    )
    assert sorted(made.files) == sorted(made.counts) == ["test", "train"]


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
def test_names_that_tfds_does_not_take_are_refused(records, tmp_path, name, version, message):
    splits, groups = split_evenly(records)
    with pytest.raises(UserError, match=message):
        write_shards(records, splits, groups, name=name, version=version, output_dir=tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "values", [{"max_side": 0}, {"jpeg_quality": 0}, {"jpeg_quality": 101}, {"max_shard_bytes": 0}]
)
def test_impossible_options_are_refused(values):
    with pytest.raises(UserError, match=next(iter(values))):
        ShardOptions(**values)


def test_splits_that_leak_are_refused(records, tmp_path):
    splits, groups = split_evenly(records)
    splits[0] = "val" if splits[0] != "val" else "test"
    with pytest.raises(UserError, match=r"'image_000' .*'image_001'"):
        write_shards(records, splits, groups, name="tiny", output_dir=tmp_path)
    assert not any(tmp_path.iterdir())


def test_records_without_any_diagnosis_are_refused(records, tmp_path):
    splits, groups = split_evenly(records)
    with pytest.raises(UserError, match="no image has a diagnosis"):
        write_shards(records.assign(diagnosis=""), splits, groups, name="tiny", output_dir=tmp_path)


def test_a_broken_picture_is_named_and_leaves_nothing(tmp_path):
    records = make_records(tmp_path / "pictures", 12)
    broken = Path(records["path"][5])
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UserError, match=r"image_005\.png: is cut off"):
        write(records, tmp_path / "shards")
    assert not any((tmp_path / "shards").iterdir())


def test_shards_that_are_there_are_replaced_only_when_asked(records, tmp_path):
    first = write(records, tmp_path)
    with pytest.raises(UserError, match="is there already"):
        write(records, tmp_path)
    assert load_shards(first.folder) == first
    second = write(records, tmp_path, overwrite=True, max_side=20)
    assert second.fingerprint != first.fingerprint
    assert [path.name for path in second.folder.parent.iterdir()] == ["1.0.0"]


def test_an_output_that_is_a_file_is_named(records, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        write(records, tmp_path / "file")


def test_a_full_disk_is_one_line_and_leaves_nothing(records, tmp_path):
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))  # a file cannot grow further
    try:
        with pytest.raises(UserError, match=r"tiny/1\.0\.0: cannot be written: \S+") as caught:
            write(records, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_two_processes_do_not_write_one_data_set_at_once(records, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "tiny").mkdir()
    handle = os.open(tmp_path / "tiny", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(UserError, match="another process is writing"):
            write(records, tmp_path)
    finally:
        os.close(handle)
    assert write(records, tmp_path).counts


# Loading


def copy(shards, folder: Path) -> Path:
    import shutil

    shutil.copytree(shards.folder, folder)
    return folder


def test_the_folder_of_the_name_serves_when_one_version_is_in_it(shards, tmp_path):
    assert load_shards(shards.folder.parent) == shards
    copy(shards, tmp_path / "tiny" / "1.0.0")
    copy(shards, tmp_path / "tiny" / "1.1.0")
    with pytest.raises(UserError, match=r"has versions 1\.0\.0, 1\.1\.0; name one"):
        load_shards(tmp_path / "tiny")
    assert load_shards(str(tmp_path / "tiny" / "1.1.0")).fingerprint == shards.fingerprint


def test_a_relative_folder_gives_absolute_files(shards, monkeypatch):
    monkeypatch.chdir(shards.folder.parent.parent)
    assert load_shards("tiny/1.0.0").files == shards.files


def test_a_folder_that_is_none_or_holds_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        load_shards(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no shards"):
        load_shards(tmp_path)
    (tmp_path / "1.0.0").mkdir()
    with pytest.raises(UserError, match="unfinished"):
        load_shards(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "files": []}'])
def test_a_damaged_description_is_refused(shards, tmp_path, text):
    folder = copy(shards, tmp_path / "1.0.0")
    (folder / "shards.json").write_text(text)
    with pytest.raises(UserError, match=r"shards\.json: is damaged"):
        load_shards(folder)


def test_another_format_is_refused(shards, tmp_path):
    folder = copy(shards, tmp_path / "1.0.0")
    (folder / "shards.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match="another version of tfskin"):
        load_shards(folder)


def test_a_missing_or_shortened_file_is_named(shards, tmp_path):
    folder = copy(shards, tmp_path / "1.0.0")
    file = folder / "tiny-val.tfrecord-00000-of-00001"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"tiny-val\S+: the shard file has \d+ bytes instead of"):
        load_shards(folder)
    file.unlink()
    with pytest.raises(UserError, match=r"tiny-val\S+: the shard file is missing"):
        load_shards(folder)


def test_splits_that_are_no_longer_disjoint_are_refused(shards, tmp_path):
    folder = copy(shards, tmp_path / "1.0.0")
    table = pd.read_csv(folder / "splits.csv", dtype=str)
    table.loc[0, "split"] = "val" if table.loc[0, "split"] != "val" else "test"
    table.to_csv(folder / "splits.csv", index=False)
    with pytest.raises(UserError, match="two splits"):
        load_shards(folder)


# Killed


KILLED = """
import sys, time
from pathlib import Path
import tests.datasets.test_shards as here
from tfskin.datasets import shard_files

records = here.pd.read_pickle(sys.argv[1])
encode, calls = shard_files.encode_picture, []

def slow(path, **options):
    calls.append(path)
    if len(calls) == 18:
        Path(sys.argv[2], "half").touch()
        time.sleep(60)
    return encode(path, **options)

shard_files.encode_picture = slow
here.write(records, Path(sys.argv[2]), workers=1)
"""


def test_a_killed_run_leaves_nothing_that_looks_finished_and_the_next_one_succeeds(
    records, shards, tmp_path
):
    records.to_pickle(tmp_path / "records.pkl")
    output = tmp_path / "out"
    output.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "records.pkl"), str(output)], cwd=ROOT
    )
    try:
        while not (output / "half").exists():
            assert process.poll() is None, "the run ended before it was killed"
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = list((output / "tiny").iterdir())
    assert [path.name.startswith(".writing-") for path in left] == [True]
    for folder in (output / "tiny", left[0]):
        with pytest.raises(UserError, match="unfinished"):
            load_shards(folder)
    again = write(records, output)
    assert again.fingerprint == shards.fingerprint
    assert [path.name for path in (output / "tiny").iterdir()] == ["1.0.0"]


def test_writing_says_nothing_and_the_network_is_not_asked(records, tmp_path):
    records.to_pickle(tmp_path / "records.pkl")
    code = (
        "import socket, sys, pathlib, pandas as pd\n"
        "def refuse(*args): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import tests.datasets.test_shards as here\n"
        "here.write(pd.read_pickle(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "records.pkl"), str(tmp_path / "out")]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# The README beside the shards


def test_the_snippets_of_the_readme_run(records, tmp_path, monkeypatch, capsys):
    splits, groups = split_evenly(records)
    write_shards(records, splits, groups, name="ham10000", output_dir=tmp_path / "tfrecords")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "tfrecords" / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        exec(snippet, {})
    assert capsys.readouterr().out.count("(30, 40, 3)") == 6


def test_the_readme_names_every_feature(shards):
    text = (ROOT / "tfrecords" / "README.md").read_text(encoding="utf-8")
    features = json.loads((shards.folder / "features.json").read_text())
    for name in features["featuresDict"]["features"]:
        assert f"`{name}`" in text
