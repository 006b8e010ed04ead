"""MixUp and CutMix against the formulas, and their shares against the Beta distribution."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tests.inputs.fake_shards import write_fake_shards
from tfskin.inputs import InputOptions, make_dataset
from tfskin.inputs.mixing import draw_mix, mix_batch
from tfskin.schema import AugmentConfig

IMAGES = np.random.default_rng(0).uniform(0, 255, (4, 8, 12, 3)).astype("float32")
LABELS = np.array([0, 2, 1, 2], "int32")
WHOLE = np.eye(3, dtype="float32")[LABELS]


def mix(numbers):
    images, shares = mix_batch(
        tf.constant(IMAGES), tf.constant(LABELS), tf.constant(numbers, tf.float32), num_classes=3
    )
    return images.numpy(), shares.numpy()


def draw(config, count, *, seed=0, epoch=0):
    @tf.function
    def draw_all():
        def one(index):
            return draw_mix(config, seed=seed, epoch=tf.constant(epoch), index=index)

        indices = tf.range(count, dtype=tf.int64)
        return tf.map_fn(one, indices, fn_output_signature=tf.float32)

    return draw_all().numpy()


def test_mixup_is_the_weighted_mean_of_an_image_and_the_next():
    share = np.array([0.1, 0.5, 0.9, 1.0], "float32")
    numbers = np.stack([share, 0 * share, 0 * share, 0 * share], axis=1)
    images, shares = mix(numbers)
    weight = share[:, None, None, None]
    expected = weight * IMAGES + (1 - weight) * np.roll(IMAGES, -1, axis=0)
    np.testing.assert_allclose(images, expected, rtol=1e-5, atol=1e-4)
    labels = share[:, None] * WHOLE + (1 - share[:, None]) * np.roll(WHOLE, -1, axis=0)
    np.testing.assert_allclose(shares, labels, rtol=1e-6)


def test_cutmix_pastes_a_box_and_shares_are_those_of_pixels():
    numbers = [[0.75, 0.5, 0.5, 1], [0.75, 0.0, 0.0, 1], [1.0, 0.5, 0.5, 1], [0.0, 0.5, 0.5, 1]]
    images, shares = mix(numbers)
    following = np.roll(IMAGES, -1, axis=0)
    pasted = np.zeros((4, 8, 12), bool)
    pasted[0, 2:6, 3:9] = True  # a quarter, in the middle
    pasted[1, :2, :3] = True  # the same box, most of it beyond the corner
    pasted[3] = True
    np.testing.assert_allclose(images, np.where(pasted[..., None], following, IMAGES), atol=1e-4)
    left = 1 - pasted.mean(axis=(1, 2))
    labels = left[:, None] * WHOLE + (1 - left[:, None]) * np.roll(WHOLE, -1, axis=0)
    np.testing.assert_allclose(shares, labels, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_have_the_beta_distribution(alpha):
    shares = draw(AugmentConfig(mixup=alpha), 1500)[:, 0].astype(float)
    # float32 rounds a share that is nearly 0 or 1 to it.
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_numbers_depend_on_seed_epoch_and_image_alone():
    config = AugmentConfig(mixup=0.4, cutmix=1.0)
    first = draw(config, 300)
    np.testing.assert_array_equal(first, draw(config, 300))
    assert (first[:, 0] != draw(config, 300, epoch=1)[:, 0]).mean() > 0.99
    assert (first[:, 0] != draw(config, 300, seed=1)[:, 0]).mean() > 0.99
    assert set(first[:, 3]) == {0.0, 1.0}
    assert 0.4 < first[:, 3].mean() < 0.6


def test_batches_of_the_pipeline_are_mixed_when_trained_on_only(tmp_path):
    shards = write_fake_shards(tmp_path, {"train": ["nv", "mel", "bkl"] * 5})
    plain = InputOptions(image_size=(16, 16), batch_size=4, augment=AugmentConfig())
    mixing = dataclasses.replace(plain, augment=AugmentConfig(mixup=0.4))

    def read(options, **where):
        dataset = make_dataset(shards, "train", options=options, **where)
        batches = list(dataset.as_numpy_iterator())
        assert len(batches) == len(dataset)
        return batches

    found = read(mixing, epoch=1)
    again = read(dataclasses.replace(mixing, parallel_calls=1), epoch=1)
    for (images, shares), (same, labels), (own, own_labels) in zip(
        found, again, read(plain, epoch=1), strict=True
    ):
        np.testing.assert_array_equal(images, same)
        np.testing.assert_array_equal(shares, labels)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
        share = shares[np.arange(len(own)), own_labels]
        partner = np.roll(own_labels, -1)
        other = share < 1 - 1e-6
        np.testing.assert_allclose(
            shares[np.arange(len(own)), partner][other & (partner != own_labels)],
            (1 - share)[other & (partner != own_labels)],
            atol=1e-6,
        )
        assert len(own) == 1 or (images != own).any()
    rest = read(mixing, epoch=1, skip_batches=2)
    np.testing.assert_array_equal(rest[0][0], found[2][0])
    assert read(mixing)[0][1].dtype == np.int32
