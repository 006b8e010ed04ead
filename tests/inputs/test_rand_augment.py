"""RandAugment: how many changes, how strong, and that they are those of the pipeline."""

import numpy as np
import pytest
import tensorflow as tf

from tests.inputs.fake_shards import smooth_image
from tests.inputs.test_augment import OFF, numbers_of
from tfskin.errors import UserError
from tfskin.inputs.augment import NUMBERS, make_augment
from tfskin.inputs.rand_augment import LIMITS, RAND_NUMBERS, choose_changes, with_limits
from tfskin.schema import RANDOM_CHANGES, AugmentConfig

NUMBER_OF = {name: name for name in RANDOM_CHANGES} | {"shift": "shift_x"}


def chosen(config, index):
    """Change -> its signed strength, as a fraction of its limit."""
    numbers = choose_changes(config, {k: tf.constant(v) for k, v in numbers_of(index).items()})
    return {name: 2 * float(numbers[key]) - 1 for name, key in NUMBER_OF.items()}


def test_each_image_gets_so_many_changes_at_the_magnitude_and_all_are_chosen_alike():
    config = AugmentConfig(rand_augment=3, rand_magnitude=0.4, **OFF)
    counts = dict.fromkeys(RANDOM_CHANGES, 0)
    signs = set()
    for index in range(120):
        changes = {name: s for name, s in chosen(config, index).items() if abs(s) > 1e-6}
        assert len(changes) == 3
        for name, strength in changes.items():
            assert abs(strength) == pytest.approx(0.4, abs=1e-6)
            signs.add((name, strength > 0))
            counts[name] += 1
    assert len(signs) == 16
    assert all(20 < count < 70 for count in counts.values())  # 45 on average


def test_it_is_the_pipelines_own_change_at_that_strength():
    config = AugmentConfig(rand_augment=1, rand_magnitude=0.5, **OFF)
    image = smooth_image(0, 24, 24)
    for index in range(5):  # each is compiled
        [(name, strength)] = [(n, s) for n, s in chosen(config, index).items() if abs(s) > 1e-6]
        if name == "shift":
            continue  # down and across have signs of their own
        # The same change on its own, whose random number is then its sign and size.
        drawn = numbers_of(index)[NUMBER_OF[name]]
        alone = LIMITS[name] * abs(strength / (2 * drawn - 1))
        if name == "zoom":
            alone = (1 + LIMITS[name]) ** abs(strength / (2 * drawn - 1)) - 1
        single = AugmentConfig.model_construct(**{**AugmentConfig(**OFF).model_dump(), name: alone})
        places = [tf.constant(image), tf.constant(index, tf.int64)]
        found, expected = (
            make_augment(one, image_size=(24, 24), seed=3, epoch=2)(*places).numpy()
            for one in (config, single)
        )
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_a_change_that_is_set_on_its_own_stays_and_is_not_chosen():
    config = AugmentConfig(rand_augment=2, rotation=180, hue=0.02, **OFF)
    assert with_limits(config).rotation == 180
    before = numbers_of(5)
    after = chosen(config, 5)
    assert after["rotation"] == pytest.approx(2 * before["rotation"] - 1, abs=1e-6)
    assert after["hue"] == pytest.approx(2 * before["hue"] - 1, abs=1e-6)
    others = [abs(s) for name, s in after.items() if name not in ("rotation", "hue")]
    assert sum(s > 1e-6 for s in others) == 2


def test_too_many_changes_are_refused():
    from tfskin.config import read_config

    with pytest.raises(UserError, match="rand_augment chooses 8 changes, but only 7"):
        read_config(None, ["data.augment.rand_augment=8", "data.augment.rotation=10"])


def test_the_numbers_of_other_changes_stay_as_they_were():
    """Those of RandAugment come last: earlier runs are repeated exactly."""
    assert NUMBERS[-len(RAND_NUMBERS) :] == RAND_NUMBERS
    seeds = tf.constant([3, 7 + 2 * 2**40], tf.int64)
    first = tf.random.stateless_uniform([len(NUMBERS) - len(RAND_NUMBERS)], seeds, alg="philox")
    found = list(numbers_of(7).values())[: len(first)]
    np.testing.assert_array_equal(np.array(found, "float32"), first.numpy())
