import re
from pathlib import Path

import pytest
import tensorflow as tf

from tests.inputs.fake_shards import encode, record, smooth_image, write_fake_shards
from tfskin.datasets.artefacts import DETECTORS
from tfskin.datasets.shards import Shards
from tfskin.errors import UserError
from tfskin.inputs import InputOptions, find_damage, make_dataset, read_labels, read_samples

OPTIONS = InputOptions(image_size=(16, 16))


@pytest.fixture
def shards(tmp_path) -> Shards:
    return write_fake_shards(tmp_path, {"train": ["nv", "mel", "df"] * 4, "test": ["mel"] * 2})


def test_labels_hold_what_the_records_say(shards):
    table = read_labels(shards, "train", {"b": ["mel"], "a": ["nv"]})
    assert list(table.columns) == [
        *("image_id", "lesion_id", "patient_id", "group", "diagnosis", "label", "age", "sex"),
        *("site", "image_type", "fitzpatrick", "skin_tone", "clinic", "source", "license"),
        *("width", "height"),
        *DETECTORS,
    ]
    assert set(table["hair"]) == {-1}  # nobody has looked
    assert len(table) == 8
    assert set(zip(table["diagnosis"], table["label"], strict=True)) == {("mel", 0), ("nv", 1)}
    row = table[table["image_id"] == "train-4"].iloc[0]
    assert (row["diagnosis"], row["sex"], row["age"], row["group"]) == (
        *("mel", "sex of train-4", 4.0, 7),
    )


@pytest.mark.parametrize(
    ("source", "fitzpatrick", "skin_tone"), [("isic_archive", "2", ""), ("milk10k", "", "2")]
)
def test_former_shards_held_both_scales_of_skin_in_one_feature(
    shards, source, fitzpatrick, skin_tone
):
    (file,) = shards.files["test"][:1]
    example = tf.train.Example.FromString(next(iter(tf.data.TFRecordDataset(file))).numpy())
    for name in ("fitzpatrick", "skin_tone", "clinic"):
        del example.features.feature[name]
    example.features.feature["skin_type"].bytes_list.value[:] = [b"2"]
    example.features.feature["source"].bytes_list.value[:] = [source.encode()]
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(example.SerializeToString())
    row = read_labels(shards, "test", None).iloc[0]
    assert (row["fitzpatrick"], row["skin_tone"], row["clinic"]) == (fitzpatrick, skin_tone, "")


def test_each_scale_of_skin_and_the_clinic_have_a_column(shards):
    row = read_labels(shards, "test", None).iloc[0]
    for name in ("fitzpatrick", "skin_tone", "clinic"):
        assert row[name] == f"{name} of {row['image_id']}"


def test_missing_split_gives_an_empty_table(shards):
    table = read_labels(shards, "val", None)
    assert table.empty
    assert list(table.columns) == list(read_labels(shards, "test", None).columns)


def test_images_come_from_the_training_split_first(shards):
    assert len(read_samples(shards, limit=5)) == 5
    images = [sample.data for sample in read_samples(shards, limit=99)]
    assert len(images) == 14
    assert set(images[-2:]) == {encode(smooth_image(n), quality=95) for n in (0, 1)}


def damage_image(shards: Shards) -> None:
    with tf.io.TFRecordWriter(shards.files["train"][1]) as writer:
        writer.write(record("fine", encode(smooth_image(0)), "nv", 1))
        writer.write(record("ISIC_7", encode(smooth_image(0))[:400], "nv", 1))


def flip_a_byte(shards: Shards) -> None:
    file = Path(shards.files["train"][1])
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def cut(shards: Shards) -> None:
    file = Path(shards.files["train"][1])
    file.write_bytes(file.read_bytes()[:-20])


def remove(shards: Shards) -> None:
    Path(shards.files["train"][1]).unlink()


def write_nonsense(shards: Shards) -> None:
    with tf.io.TFRecordWriter(shards.files["train"][1]) as writer:
        writer.write(b"nonsense")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_image, "the image of image 'ISIC_7' cannot be decoded"),
        (flip_a_byte, r"record \d is damaged"),
        (cut, "record 4 is damaged"),
        (remove, "no such file"),
        (write_nonsense, "record 1 is damaged"),
    ],
)
def test_damage_stops_the_pass_and_is_named(shards, damage, message):
    assert find_damage(shards, "train") is None
    damage(shards)
    with pytest.raises(tf.errors.OpError):
        list(make_dataset(shards, "train", options=OPTIONS))
    found = str(find_damage(shards, "train"))
    assert "fake-train.tfrecord-00001-of-00003: " in found
    assert re.search(message, found)
    if damage is not damage_image:
        with pytest.raises(UserError, match=message):
            read_labels(shards, "train", None)
