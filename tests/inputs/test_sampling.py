"""How often each image of each class is shown in an epoch, and that nothing else decides it."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.inputs.fake_shards import write_fake_shards
from tfskin.inputs import InputOptions, count_rows, make_dataset
from tfskin.inputs.sampling import class_quotas, sample_counts
from tfskin.schema import AugmentConfig

LABELS = np.array([0] * 50 + [-1] * 5 + [1] * 7 + [2] * 12)
MODES = ("none", "undersample", "oversample", "class_balanced")
labellings = st.lists(st.integers(-1, 4), min_size=1, max_size=60).map(np.array)


@pytest.mark.parametrize(
    ("sampling", "quotas"),
    [
        ("none", {0: 50, 1: 7, 2: 12}),
        ("undersample", {0: 7, 1: 7, 2: 7}),
        ("oversample", {0: 50, 1: 50, 2: 50}),
        ("class_balanced", {0: 23, 1: 23, 2: 23}),
    ],
)
def test_quotas_are_those_of_the_definition(sampling, quotas):
    assert class_quotas(LABELS, sampling) == quotas


def test_what_does_not_divide_goes_to_the_first_classes():
    assert class_quotas(np.array([0, 0, 0, 2, 2, 3, 3, 3]), "class_balanced") == {0: 3, 2: 3, 3: 2}


@given(labels=labellings, sampling=st.sampled_from(MODES), epoch=st.integers(0, 50))
def test_every_epoch_meets_the_quotas_as_evenly_as_can_be(labels, sampling, epoch):
    counts = sample_counts(labels, sampling, seed=3, epoch=epoch)
    assert counts[labels < 0].sum() == 0
    for name, quota in class_quotas(labels, sampling).items():
        shown = counts[labels == name]
        assert shown.sum() == quota
        assert shown.max() - shown.min() <= 1


@given(labels=labellings, sampling=st.sampled_from(MODES), seed=st.integers(0, 9))
def test_over_a_round_of_epochs_the_counts_of_a_class_differ_by_one(labels, sampling, seed):
    for name, quota in class_quotas(labels, sampling).items():
        images = int((labels == name).sum())
        length = images // (quota % images or images)
        epochs = [sample_counts(labels, sampling, seed=seed, epoch=e) for e in range(length)]
        shown = np.sum(epochs, axis=0)[labels == name]
        assert shown.max() - shown.min() <= 1


def test_choices_are_a_function_of_seed_and_epoch():
    def choose(seed: int, epoch: int) -> bytes:
        return sample_counts(LABELS, "undersample", seed=seed, epoch=epoch).tobytes()

    assert choose(1, 4) == choose(1, 4)
    assert len({choose(seed, epoch) for seed in range(3) for epoch in range(8)}) == 24


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    diagnoses = ["nv"] * 20 + [""] + ["mel"] * 4 + ["df"] * 3 + ["bkl"]
    return write_fake_shards(tmp_path_factory.mktemp("shards"), {"train": diagnoses})


def read(shards, epoch, **changes):
    """Pixels and labels of a pass."""
    options = InputOptions(
        image_size=(8, 8),
        batch_size=4,
        classes={"melanoma": ["mel"], "nevus": ["nv"], "df": ["df"]},
        **changes,
    )
    dataset = make_dataset(shards, "train", options=options, epoch=epoch)
    batches = list(dataset.as_numpy_iterator())
    assert len(batches) == len(dataset)
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    assert len(labels) == count_rows(shards, "train", options=options, epoch=epoch)
    return images, labels


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ("undersample", {0: 3, 1: 3, 2: 3}),
        ("oversample", {0: 20, 1: 20, 2: 20}),
        ("class_balanced", {0: 9, 1: 9, 2: 9}),
    ],
)
def test_batches_hold_the_quotas_mixed(shards, sampling, expected):
    images, labels = read(shards, 0, sampling=sampling)
    assert Counter(labels.tolist()) == expected
    assert (np.diff(labels) != 0).sum() > 3
    copies = Counter(image.tobytes() for image in images[labels == 2])
    assert sorted(copies.values()) == sorted(
        {"undersample": [1, 1, 1], "oversample": [6, 7, 7], "class_balanced": [3, 3, 3]}[sampling]
    )


def test_sampling_is_for_training_passes_alone(shards):
    assert Counter(read(shards, None, sampling="oversample")[1].tolist()) == {0: 4, 1: 20, 2: 3}


def test_copies_of_an_image_differ_in_their_random_changes(shards):
    augment = AugmentConfig(rotation=180, hue=0.2)
    images, labels = read(shards, 0, sampling="oversample", augment=augment)
    rare = {image.tobytes() for image in images[labels == 2]}
    assert len(rare) == 20


def test_a_pass_can_go_on_where_it_was_stopped(shards):
    options = InputOptions(
        image_size=(8, 8), batch_size=4, sampling="class_balanced", augment=AugmentConfig(), seed=2
    )
    whole = list(make_dataset(shards, "train", options=options, epoch=5).as_numpy_iterator())
    rest = make_dataset(shards, "train", options=options, epoch=5, skip_batches=3)
    rest = list(rest.as_numpy_iterator())
    assert len(rest) == len(whole) - 3
    for (images, labels), (other, others) in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(images, other)
        np.testing.assert_array_equal(labels, others)
    other = dataclasses.replace(options, seed=3)
    first = next(make_dataset(shards, "train", options=other, epoch=5).as_numpy_iterator())
    assert not np.array_equal(first[0], whole[0][0])


def test_files_of_the_same_names_that_were_written_anew_are_read_again(tmp_path):
    options = InputOptions(image_size=(16, 16), sampling="undersample")
    first = write_fake_shards(tmp_path, {"train": ["nv"] * 6 + ["mel"] * 2})
    assert count_rows(first, "train", options=options, epoch=0) == 4
    again = write_fake_shards(tmp_path, {"train": ["nv"] * 5 + ["mel"] * 4})
    assert first.files == again.files
    assert count_rows(again, "train", options=options, epoch=0) == 8
