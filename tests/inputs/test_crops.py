"""Random-resized crops of whole stored images, against Pillow."""

import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.inputs.fake_shards import encode, make_shards, record, smooth_image
from tfskin.inputs import InputOptions, make_dataset
from tfskin.inputs.augment import NUMBERS, draw_numbers
from tfskin.inputs.crops import make_crop
from tfskin.schema import AugmentConfig, Resize

OFF = {"horizontal_flip": False, "vertical_flip": False, "quarter_turns": False}
SIZE = (24, 30)
POLICIES: tuple[Resize, ...] = ("squash", "crop", "imagenet", "pad")


def cropped(image, index, config, *, resize: Resize = "imagenet", size=SIZE, seed=3, epoch=2):
    crop = make_crop(config, image_size=size, resize=resize, seed=seed, epoch=epoch)
    return crop(tf.constant(image), tf.constant(index, tf.int64)).numpy()


def expected_box(shape, index, config, *, resize="imagenet", size=SIZE, seed=3, epoch=2):
    """Left, top, right and bottom as torchvision counts them: whole pixels, the last exclusive."""
    drawn = draw_numbers(seed, epoch, tf.constant(index, tf.int64)).numpy().astype(float)
    u = dict(zip(NUMBERS, drawn.tolist(), strict=True))
    height, width = shape[:2]
    low, high = config.crop
    area = (low + (high - low) * u["crop_area"]) * height * width
    low, high = np.log(config.crop_aspect)
    aspect = math.exp(low + (high - low) * u["crop_aspect"])
    aspect *= width / height if resize == "squash" else size[1] / size[0]
    across, down = math.sqrt(area * aspect), math.sqrt(area / aspect)
    fit = min(1, width / across, height / down)
    across, down = round(across * fit), round(down * fit)
    left = int(u["crop_x"] * (width - across + 1))
    top = int(u["crop_y"] * (height - down + 1))
    return left, top, left + across, top + down


@pytest.mark.parametrize("resize", POLICIES)
@pytest.mark.parametrize("shape", [(60, 80), (80, 60), (200, 210), (20, 24)])
@pytest.mark.parametrize("area", [(0.05, 0.3), (0.4, 1.0), (1.0, 1.0)])
def test_a_crop_is_pillows_crop_resized_once(shape, area, resize):
    config = AugmentConfig(**OFF, crop=area)
    image = smooth_image(7, *shape)
    for index in range(8):
        box = expected_box(shape, index, config, resize=resize)
        part = Image.fromarray(image).crop(box)
        expected = np.asarray(part.resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR), float)
        found = cropped(image, index, config, resize=resize)
        assert found.shape == (*SIZE, 3)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1.01)


@pytest.mark.parametrize("shape", [(60, 100), (100, 60), (64, 64)])
def test_boxes_stay_inside_and_keep_their_aspect(shape):
    config = AugmentConfig(**OFF, crop=(0.08, 1.0))
    lefts, areas = [], []
    for index in range(200):
        left, top, right, bottom = expected_box(shape, index, config)
        assert 0 <= left < right <= shape[1]
        assert 0 <= top < bottom <= shape[0]
        aspect = (right - left) / (bottom - top) / (SIZE[1] / SIZE[0])
        assert 0.7 < aspect < 1.43  # 3/4 to 4/3, and half a pixel on each side
        lefts.append(left / max(1, shape[1] - (right - left)))
        areas.append((right - left) * (bottom - top) / (shape[0] * shape[1]))
    assert np.ptp(lefts) > 0.9
    assert min(areas) < 0.15


def test_the_whole_image_at_its_own_size_is_the_image():
    config = AugmentConfig(**OFF, crop=(1.0, 1.0), crop_aspect=(1.0, 1.0))
    image = smooth_image(1, *SIZE)
    np.testing.assert_array_equal(cropped(image, 0, config), image)


def test_a_crop_depends_on_seed_epoch_and_index_alone():
    config, image = AugmentConfig(**OFF, crop=(0.3, 0.6)), smooth_image(1, 60, 80)
    first = cropped(image, 5, config)
    np.testing.assert_array_equal(first, cropped(image, 5, config))
    for other in (
        cropped(image, 6, config),
        cropped(image, 5, config, seed=4),
        cropped(image, 5, config, epoch=3),
    ):
        assert not np.array_equal(first, other)


@pytest.fixture(scope="module")
def framed(tmp_path_factory):
    """A wide image whose left and right quarters are red: what ``imagenet`` cuts off."""
    folder = tmp_path_factory.mktemp("framed")
    image = np.full((40, 80, 3), 100, np.uint8)
    image[:, :20] = image[:, 60:] = (255, 0, 0)
    path = str(folder / "framed.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for number in range(16):
            writer.write(record(str(number), encode(image, "PNG"), "nv", 0))
    return make_shards(folder, {"train": {"nv": 16}}, {"train": [path]})


@pytest.mark.parametrize("resize", ["crop", "imagenet"])
@pytest.mark.parametrize("crop", [None, (0.3, 0.6)])
def test_training_sees_the_border_and_evaluation_as_before(framed, resize, crop):
    augment = AugmentConfig(**OFF, crop=crop)
    options = InputOptions((16, 16), resize=resize, batch_size=16, augment=augment)
    for epoch in (None, 1):
        dataset = make_dataset(framed, "train", options=options, epoch=epoch)
        images = next(iter(dataset))[0].numpy()
        red = (images[..., 1] < 1).any(axis=(1, 2))
        assert red.any() == (crop is not None and epoch is not None)


def test_other_changes_follow_the_crop(framed):
    flipped = AugmentConfig(vertical_flip=False, quarter_turns=False, crop=(0.3, 0.6))
    plain = AugmentConfig(**OFF, crop=(0.3, 0.6))
    images = []
    for augment in (plain, flipped):
        options = InputOptions((16, 16), resize="crop", batch_size=16, augment=augment)
        images.append(
            next(iter(make_dataset(framed, "train", options=options, epoch=1)))[0].numpy()
        )
    same = [np.array_equal(a, b) for a, b in zip(*images, strict=True)]
    mirrored = [np.array_equal(a[:, ::-1], b) for a, b in zip(*images, strict=True)]
    assert all(a or b for a, b in zip(same, mirrored, strict=True))
    assert not all(same)
