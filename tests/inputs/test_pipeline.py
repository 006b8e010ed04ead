import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.inputs.fake_shards import (
    encode,
    make_shards,
    record,
    smooth_image,
    write_fake_shards,
)
from tfskin.datasets.shards import Shards
from tfskin.inputs import InputOptions, make_dataset, read_labels, resize_image
from tfskin.schema import AugmentConfig

DIAGNOSES = ["nv", "nv", "mel", "bkl", "nv", "df"] * 12
CLASSES = {"melanoma": ["mel"], "other": ["nv", "bkl"]}
OPTIONS = InputOptions(
    image_size=(16, 16), batch_size=8, seed=5, augment=AugmentConfig(rotation=180, hue=0.1)
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Shards:
    folder = tmp_path_factory.mktemp("shards")
    return write_fake_shards(folder, {"train": DIAGNOSES, "val": ["nv", "mel", "mel"]})


def read(shards, split="train", *, epoch=None, skip_batches=0, **changes):
    """All images and labels of a pass, and the sizes of its batches."""
    options = dataclasses.replace(OPTIONS, **changes)
    dataset = make_dataset(shards, split, options=options, epoch=epoch, skip_batches=skip_batches)
    batches = list(dataset.as_numpy_iterator())
    assert len(batches) == len(dataset)
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    return images, labels, [len(labels) for _, labels in batches]


def test_batches_are_what_models_take(shards):
    images, labels, sizes = read(shards, epoch=0)
    assert (images.dtype, images.shape) == (np.float32, (72, 16, 16, 3))
    assert labels.dtype == np.int32
    assert sizes == [8] * 9
    assert 0 <= images.min() < 50
    assert 200 < images.max() <= 255
    spec = make_dataset(shards, "train", options=OPTIONS).element_spec
    assert spec[0].shape == (None, 16, 16, 3)


def test_last_batch_holds_what_is_left(shards):
    assert read(shards, batch_size=7)[2] == [7] * 10 + [2]


@pytest.mark.parametrize("epoch", [None, 1])
def test_same_images_at_any_parallelism_and_batch_size(shards, epoch):
    images, labels, _ = read(shards, epoch=epoch, parallel_calls=1)
    for changes in ({"parallel_calls": 2}, {"parallel_calls": 8}, {"batch_size": 5}, {}):
        other_images, other_labels, _ = read(shards, epoch=epoch, **changes)
        np.testing.assert_array_equal(other_images, images)
        np.testing.assert_array_equal(other_labels, labels)


def test_tensorflows_global_seed_does_not_matter(shards):
    images, _, _ = read(shards, epoch=0)
    tf.random.set_seed(123)
    np.testing.assert_array_equal(read(shards, epoch=0)[0], images)


def test_two_passes_over_one_dataset_are_equal(shards):
    dataset = make_dataset(shards, "train", options=OPTIONS, epoch=3)
    first, second = (np.concatenate([i for i, _ in dataset.as_numpy_iterator()]) for _ in "ab")
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("changes", [{"epoch": 1}, {"seed": 6}])
def test_another_epoch_or_seed_gives_another_order_and_other_pixels(shards, changes):
    images, labels, _ = read(shards, epoch=0)
    other_images, other_labels, _ = read(shards, **({"epoch": 0} | changes))
    assert not np.array_equal(labels, other_labels)
    assert sorted(labels) == sorted(other_labels)
    distances = np.abs(images[:, None] - other_images[None]).mean(axis=(2, 3, 4))
    assert distances.min() > 0.1


@pytest.mark.parametrize("epoch", [None, 1])
@pytest.mark.parametrize("skipped", [1, 4, 9])
def test_skipped_batches_leave_the_rest_as_it_was(shards, epoch, skipped):
    images, labels, _ = read(shards, epoch=epoch, batch_size=7)
    rest_images, rest_labels, _ = read(shards, epoch=epoch, batch_size=7, skip_batches=skipped)
    np.testing.assert_array_equal(rest_images, images[7 * skipped :])
    np.testing.assert_array_equal(rest_labels, labels[7 * skipped :])


def test_skipping_everything_gives_nothing(shards):
    assert list(make_dataset(shards, "train", options=OPTIONS, epoch=0, skip_batches=9)) == []
    assert list(make_dataset(shards, "train", options=OPTIONS, epoch=0, skip_batches=99)) == []


def test_random_changes_follow_the_image_not_its_place_in_the_batch(shards):
    """With and without shuffling far, an image gets the same changes."""
    near, _, _ = read(shards, epoch=0, shuffle_buffer=1)
    far, _, _ = read(shards, epoch=0)
    assert not np.array_equal(near, far)
    assert {image.tobytes() for image in near} == {image.tobytes() for image in far}


def test_order_without_an_epoch_is_that_of_the_labels(shards):
    images, labels, _ = read(shards)
    table = read_labels(shards, "train", None)
    np.testing.assert_array_equal(labels, table["label"])
    plain, _, _ = read(shards, epoch=0, augment=None)
    assert {image.tobytes() for image in images} == {image.tobytes() for image in plain}


@pytest.mark.parametrize("epoch", [None, 2])
def test_classes_map_and_drop(shards, epoch):
    _, labels, sizes = read(shards, epoch=epoch, classes=CLASSES)
    assert sizes == [8] * 7 + [4]
    assert np.bincount(labels).tolist() == [12, 48]
    if epoch is None:
        np.testing.assert_array_equal(labels, read_labels(shards, "train", CLASSES)["label"])


def test_dropping_others_does_not_change_the_changes_of_an_image(shards):
    everything, _, _ = read(shards, epoch=0)
    some, _, _ = read(shards, epoch=0, classes=CLASSES)
    assert {image.tobytes() for image in some} < {image.tobytes() for image in everything}


def test_missing_split_gives_no_batches(shards):
    dataset = make_dataset(shards, "calibration", options=OPTIONS)
    assert len(dataset) == 0
    assert list(dataset) == []


def test_images_without_diagnosis_are_left_out(tmp_path):
    shards = write_fake_shards(tmp_path, {"train": ["", "nv", "", "mel", "nv"]})
    assert sorted(read(shards)[1]) == [0, 1, 1]
    assert sorted(read_labels(shards, "train", None)["image_id"]) == [
        "train-1",
        "train-3",
        "train-4",
    ]


def test_images_of_several_sizes_are_read(tmp_path):
    sizes = [(40, 48), (48, 40), (40, 48), (9, 70)]
    path = str(tmp_path / "mixed.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for number, size in enumerate(sizes):
            image = encode(smooth_image(number, *size), "PNG")
            writer.write(record(str(number), image, "nv", 0))
    shards = make_shards(tmp_path, {"train": {"nv": 4}}, {"train": [path]})
    for image, number in zip(read(shards)[0], range(4), strict=True):
        pixels = tf.constant(smooth_image(number, *sizes[number]))
        np.testing.assert_allclose(image, resize_image(pixels, (16, 16), "squash"), atol=0.01)
