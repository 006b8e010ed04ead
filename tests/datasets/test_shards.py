"""What is in a folder of shards, and that TFDS and plain TensorFlow read it."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.datasets.tiny import (
    make_image,
    make_records,
    read_examples,
    split_evenly,
    write_tiny,
)
from tfskin.datasets.options import ShardOptions
from tfskin.datasets.shard_files import make_features, serialize_record
from tfskin.datasets.shard_writing import write_shards
from tfskin.datasets.shards import load_shards
from tfskin.datasets.splits_file import SPLITS, apply_splits_csv
from tfskin.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = "bce2540b16efbf55738bd195660c73e67de3055a5e0ddd52155815a4827b608e"


def test_the_folder_holds_what_the_readme_says_and_nothing_else(tiny_shards):
    assert tiny_shards.folder.parts[-2:] == ("tiny", "1.0.0")
    names = {path.name for path in tiny_shards.folder.iterdir()}
    files = {f"tiny-{split}.tfrecord-00000-of-00001" for split in SPLITS}
    described = {"features.json", "dataset_info.json", "label.labels.txt", "LICENSE"}
    assert names == files | described | {"splits.csv", "shards.json"}
    assert [path.name for path in tiny_shards.folder.parent.iterdir()] == ["1.0.0"]
    assert {Path(file).name for part in tiny_shards.files.values() for file in part} == files


def test_what_comes_back_describes_the_records(tiny_records, tiny_shards):
    splits, groups = split_evenly(tiny_records)
    for split in SPLITS:
        expected = tiny_records["diagnosis"][splits == split].value_counts().to_dict()
        assert tiny_shards.counts[split] == expected
    about = json.loads((tiny_shards.folder / "shards.json").read_text())
    assert about["licenses"] == {"CC-0": 24}
    assert about["source"] == "tiny"
    assert about["groups"] == len(set(groups))
    assert apply_splits_csv(tiny_shards.folder / "splits.csv", tiny_records).equals(splits)


def test_tfds_reads_back_every_record_bit_for_bit(tiny_records, tiny_shards):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(tiny_shards.folder)
    assert builder.name == "tiny"
    assert str(builder.version) == "1.0.0"
    label = builder.info.features["label"]
    assert label.names == ["bcc", "mel", "nv"]
    splits, groups = split_evenly(tiny_records)
    by_id = tiny_records.assign(split=splits, group=groups).set_index("image_id")
    seen = []
    decoders = {"image": tfds.decode.SkipDecoding()}
    for split in SPLITS:
        assert builder.info.splits[split].num_examples == sum(tiny_shards.counts[split].values())
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
    assert sorted(seen) == sorted(tiny_records["image_id"])
    decoded = next(iter(builder.as_dataset(split="train").as_numpy_iterator()))
    assert decoded["image"].shape == (30, 40, 3)


def test_no_group_is_in_the_files_of_two_splits(tiny_shards):
    groups = [
        {example["group"] for file in files for example in read_examples(file)}
        for files in tiny_shards.files.values()
    ]
    assert sum(len(part) for part in groups) == len(set.union(*groups))


def test_the_order_is_shuffled_by_the_seed_and_not_by_the_order_of_the_records(
    tiny_records, tiny_shards, tmp_path
):
    def order(which) -> list[bytes]:
        return [example["image_id"] for example in read_examples(which.files["train"][0])]

    assert order(tiny_shards) != sorted(order(tiny_shards))
    splits, groups = split_evenly(tiny_records)
    backwards = np.arange(len(tiny_records))[::-1]
    again = write_shards(
        tiny_records.iloc[backwards],
        splits.iloc[backwards],
        groups[backwards],
        name="tiny",
        output_dir=tmp_path,
    )
    assert order(again) == order(tiny_shards)
    assert again.fingerprint == tiny_shards.fingerprint


def test_the_fingerprint_names_the_content_and_not_its_layout(tiny_records, tiny_shards, tmp_path):
    other = write_tiny(tiny_records, tmp_path / "a", seed=1, max_shard_bytes=5000, workers=1)
    assert len(other.files["train"]) > 1
    assert other.fingerprint == tiny_shards.fingerprint
    assert re.fullmatch("[0-9a-f]{64}", other.fingerprint)


def test_the_fingerprint_changes_with_a_byte_a_split_and_a_label(
    tiny_records, tiny_shards, tmp_path
):
    splits, groups = split_evenly(tiny_records)
    fingerprints = {tiny_shards.fingerprint}

    def add(folder: str, changed: pd.DataFrame, split: pd.Series) -> None:
        made = write_shards(changed, split, groups, name="tiny", output_dir=tmp_path / folder)
        fingerprints.add(made.fingerprint)

    image = tmp_path / "other.png"
    make_image(999).save(image)
    byte = tiny_records.copy()
    byte.loc[3, "path"] = str(image)
    add("byte", byte, splits)
    label = tiny_records.copy()
    label.loc[3, "diagnosis"] = "mel" if label.loc[3, "diagnosis"] != "mel" else "nv"
    add("label", label, splits)
    add(
        "split",
        tiny_records,
        splits.where(groups != groups[0], "test" if splits[0] != "test" else "val"),
    )
    assert len(fingerprints) == 4


def test_the_fingerprint_of_known_records_is_a_known_one(tmp_path):
    # Uncompressed pixels, stored as they are: no encoder's version changes these bytes.
    records = make_records(tmp_path / "images", 8)
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

    rows = bytes([0, *[level] * 24]) * 8
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(rows), 0xFFFF - len(rows)) + rows
    pixels = stored + struct.pack(">I", zlib.adler32(rows))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_large_images_are_shrunk_and_their_size_is_kept(tmp_path):
    import tensorflow as tf

    records = make_records(tmp_path / "images", 8)
    for index, path in enumerate(records["path"]):
        make_image(index, size=(300, 200)).save(path)
    made = write_tiny(records, tmp_path / "shards", max_side=60)
    assert made.max_side == 60
    examples = [x for files in made.files.values() for file in files for x in read_examples(file)]
    assert len(examples) == 8
    for example in examples:
        assert (example["width"], example["height"]) == (300, 200)
        assert tf.io.decode_image(example["image"]).shape == (40, 60, 3)


def test_shards_that_a_killed_overwrite_moved_away_are_put_back(tiny_records, tmp_path):
    whole = write_tiny(tiny_records, tmp_path)
    whole.folder.rename(whole.folder.parent / ".old-1.0.0-ab_c1234")
    (whole.folder.parent / ".writing-1.0.0-ab_c1234").mkdir()
    with pytest.raises(UserError, match=r"1\.0\.0: is there already"):
        write_tiny(tiny_records, tmp_path)
    assert load_shards(tmp_path / "tiny").fingerprint == whole.fingerprint
    assert [path.name for path in whole.folder.parent.iterdir()] == ["1.0.0"]


def test_many_records_are_spread_over_four_files_that_stay_below_the_limit(tmp_path):
    image = tmp_path / "one.jpg"
    make_image(0).save(image)
    records = make_records(tmp_path / "images", 2)
    many = pd.concat([records.iloc[:1]] * 520, ignore_index=True)
    many["image_id"] = [f"i{index}" for index in range(520)]
    many["lesion_id"] = ""
    many["path"] = str(image)
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
    records = make_records(tmp_path / "images", 8)
    records.loc[0, "diagnosis"] = ""
    made = write_tiny(records, tmp_path / "shards")
    examples = [x for files in made.files.values() for file in files for x in read_examples(file)]
    labels = {example["image_id"]: example["label"] for example in examples}
    assert labels[b"image_000"] == -1
    assert min(label for name, label in labels.items() if name != b"image_000") == 0


def test_a_missing_split_has_no_files(tmp_path):
    records = make_records(tmp_path / "images", 4)
    splits = pd.Series(["train", "train", "test", "test"])
    made = write_shards(
        records, splits, np.array([0, 0, 1, 1]), name="tiny", output_dir=tmp_path / "shards"
    )
    assert sorted(made.files) == sorted(made.counts) == ["test", "train"]


def test_a_record_has_the_content_that_tfds_would_give_it(tiny_shards):
    import tensorflow as tf

    for value in read_examples(tiny_shards.files["train"][0])[:3]:
        text = {
            name: item.decode() if isinstance(item, bytes) and name != "image" else item
            for name, item in value.items()
        }
        theirs = make_features(["bcc", "mel", "nv"]).serialize_example(text)
        ours = tf.train.Example.FromString(serialize_record(text))
        assert ours == tf.train.Example.FromString(theirs)


# The README beside the shards


def test_the_snippets_of_the_readme_run(tiny_records, tmp_path, monkeypatch, capsys):
    splits, groups = split_evenly(tiny_records)
    write_shards(tiny_records, splits, groups, name="ham10000", output_dir=tmp_path / "tfrecords")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "tfrecords" / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        exec(snippet, {})
    assert capsys.readouterr().out.count("(30, 40, 3)") == 6


def test_the_readme_names_every_feature(tiny_shards):
    text = (ROOT / "tfrecords" / "README.md").read_text(encoding="utf-8")
    features = json.loads((tiny_shards.folder / "features.json").read_text())
    for name in features["featuresDict"]["features"]:
        assert f"`{name}`" in text


def test_the_fingerprint_counts_a_clinic_and_a_skin_tone(tmp_path):
    """Where they are known: shards without them keep the fingerprint that they had."""
    records = make_records(tmp_path / "images", 8)
    splits = pd.Series(np.repeat(SPLITS, 2))
    found = set()
    for name, changes in {"a": {}, "b": {"clinic": "x"}, "c": {"skin_tone": "4"}}.items():
        made = write_shards(
            records.assign(**changes),
            splits,
            np.arange(8) // 2,
            name=name,
            output_dir=tmp_path / "shards",
        )
        found.add(made.fingerprint)
    assert len(found) == 3
