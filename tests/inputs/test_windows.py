"""Windows that slide over images: where they lie, that they cover, and whose they are."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from tests.inputs.fake_shards import encode, make_shards, record, smooth_image
from tfskin.inputs import (
    InputOptions,
    average_window_logits,
    average_windows,
    count_windows,
    make_dataset,
    read_labels,
)
from tfskin.inputs.windows import count_along, cut_window
from tfskin.schema import WindowConfig

WINDOWS = WindowConfig(size=16, stride=12)


def cut_all(pixels: np.ndarray, windows: WindowConfig) -> np.ndarray:
    """By the words of the definition: every start until the border is reached, zeros beyond."""
    size, cuts = windows.size, []
    for top in range(0, max(pixels.shape[0] - size, 0) + windows.stride, windows.stride):
        for left in range(0, max(pixels.shape[1] - size, 0) + windows.stride, windows.stride):
            part = np.zeros((size, size, 3), pixels.dtype)
            inside = pixels[top : top + size, left : left + size]
            part[: inside.shape[0], : inside.shape[1]] = inside
            cuts.append(part)
            if left + size >= pixels.shape[1]:
                break
        if top + size >= pixels.shape[0]:
            break
    return np.array(cuts)


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    size=st.integers(8, 32),
    share=st.floats(0, 1),
)
def test_windows_lie_where_the_definition_says(height, width, size, share):
    windows = WindowConfig(size=size, stride=max(1, round(share * size)))
    pixels = np.random.default_rng(0).integers(1, 256, (height, width, 3), dtype=np.uint8)
    expected = cut_all(pixels, windows)
    assert count_along(np.array([height, width]), windows).prod() == len(expected)
    for number in {0, len(expected) // 2, len(expected) - 1}:
        part = cut_window(tf.constant(pixels), tf.constant(number), windows)
        np.testing.assert_array_equal(part, expected[number])


def test_every_pixel_is_in_a_window_when_windows_touch():
    pixels = np.arange(1, 1 + 37 * 29 * 3).reshape(37, 29, 3)
    count = int(count_along(np.array([37, 29]), WINDOWS).prod())
    parts = [cut_window(tf.constant(pixels), tf.constant(n), WINDOWS) for n in range(count)]
    assert set(np.unique(parts)) == {0, *range(1, 1 + 37 * 29 * 3)}


def test_the_mean_is_each_images_own():
    logits = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32) * 30
    powers = np.exp(logits.astype(np.float64))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    expected = [probabilities[:1].mean(0), probabilities[1:5].mean(0), probabilities[5:].mean(0)]
    counts = np.array([1, 4, 2])
    np.testing.assert_allclose(average_windows(probabilities, counts), expected)
    averaged = np.exp(average_window_logits(logits, counts).astype(np.float64))
    np.testing.assert_allclose(averaged / averaged.sum(axis=1, keepdims=True), expected, rtol=1e-5)
    assert np.isfinite(average_window_logits(logits * 1e4, counts)).all()


SIZES = [(40, 30), (16, 16), (10, 50), (28, 29), (41, 16)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Images of several sizes, one a diagnosis that is in no class."""
    folder, files = tmp_path_factory.mktemp("shards"), {}
    for split in ("train", "val"):
        files[split] = [str(folder / split)]
        with tf.io.TFRecordWriter(files[split][0]) as writer:
            for number, (width, height) in enumerate(SIZES):
                seed = number + 100 * (split == "val")
                image = encode(smooth_image(seed, height, width), "PNG")
                label = number % 3
                name = f"{split}-{number}"
                size = (width, height)
                writer.write(record(name, image, "abc"[label], label, size=size))
    counts = {split: {"a": 2, "b": 2, "c": 1} for split in files}
    return make_shards(folder, counts, files)


def read(shards, split, *, epoch=None, **changes):
    changes = {"classes": {"a": ["a"], "b": ["b"]}} | changes
    options = InputOptions(image_size=(16, 16), batch_size=4, windows=WINDOWS, **changes)
    batches = list(make_dataset(shards, split, options=options, epoch=epoch).as_numpy_iterator())
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    return images, labels, count_windows(shards, split, options=options)


def test_judged_windows_come_row_by_row_image_by_image(shards):
    images, labels, counts = read(shards, "val")
    kept = [number for number in range(len(SIZES)) if number % 3 < 2]
    cuts = [cut_all(smooth_image(n + 100, SIZES[n][1], SIZES[n][0]), WINDOWS) for n in kept]
    assert counts.tolist() == [len(part) for part in cuts]
    np.testing.assert_allclose(images, np.concatenate(cuts), atol=0.01)
    facts = read_labels(shards, "val", {"a": ["a"], "b": ["b"]})
    assert facts["image_id"].tolist() == [f"val-{number}" for number in kept]
    np.testing.assert_array_equal(labels, np.repeat(facts["label"], counts))


def test_training_sees_every_window_once_and_none_of_another_split(shards):
    seen = {split: {image.tobytes() for image in read(shards, split)[0]} for split in shards.files}
    assert not seen["train"] & seen["val"]
    for epoch in (0, 1):
        images, _, counts = read(shards, "train", epoch=epoch)
        assert len(images) == counts.sum()
        assert {image.tobytes() for image in images} == seen["train"]


def test_sampling_counts_images_and_shows_all_their_windows(shards):
    classes = {"a": ["a"], "c": ["c"]}
    once = read(shards, "train", classes=classes)
    _, labels, counts = read(shards, "train", epoch=0, classes=classes, sampling="oversample")
    assert counts.sum() == len(once[0])
    of_a, of_c = (once[1] == 0).sum(), (once[1] == 1).sum()
    assert [(labels == label).sum() for label in (0, 1)] == [of_a, 2 * of_c]
