"""Statistics of batch normalisation: measured, re-estimated, checked."""

import keras
import numpy as np
import pytest

from tfskin.layers import BatchNorm
from tfskin.training.batch_norm_check import check_companions, check_layers, mode_gap
from tfskin.training.recalibration import measure_statistics, recalibrate

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(3, 2, (40, 6, 6, 3)).astype("float32")
LABELS = np.arange(40) % 3


def make_model(mode="update", bn=BatchNorm) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3), name="image")
    options = {"mode": mode} if bn is BatchNorm else {}
    x = bn(name="first", **options)(image)
    x = keras.layers.Dropout(0.5, name="drop")(x)
    x = keras.layers.Conv2D(5, 3, name="conv")(x)
    x = bn(name="second", **options)(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(3, name="logits")(x))


def state(model):
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.weights]


def batches(size):
    return [IMAGES[i : i + size] for i in range(0, len(IMAGES), size)]


@pytest.mark.parametrize("size", [40, 16, 7])
def test_the_first_layer_gets_the_statistics_of_all_images(size):
    model = make_model()
    before = state(model)
    found = measure_statistics(model, batches(size))
    np.testing.assert_allclose(found["first"].mean, IMAGES.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(found["first"].variance, IMAGES.var((0, 1, 2)), rtol=1e-3)
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.get_layer("drop").rate == 0.5
    assert model.get_layer("first").momentum == 0.99


def test_recalibrated_inference_equals_training_mode_on_one_batch():
    model = make_model()
    assert recalibrate(model, [IMAGES]) == 2
    model.get_layer("drop").rate = 0.0
    np.testing.assert_allclose(
        model(IMAGES, training=False), model(IMAGES, training=True), atol=1e-4
    )
    once = state(model)
    recalibrate(model, [IMAGES])
    for old, new in zip(once, state(model), strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-5)


@pytest.mark.parametrize("mode", ["affine", "frozen"])
def test_layers_that_shall_stand_still_do(mode):
    model = make_model(mode)
    before = state(model)
    assert recalibrate(model, [IMAGES]) == 0
    for old, new in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_no_images_are_an_error():
    with pytest.raises(ValueError, match="no batch"):
        measure_statistics(make_model(), [])


@pytest.mark.parametrize("mode", ["update", "frozen"])
def test_initial_stale_and_fresh_statistics_are_told_apart(mode):
    model = make_model(mode)
    assert [row["state"] for row in check_layers(model, [IMAGES])] == ["initial", "initial"]
    assert {row["mode"] for row in check_layers(model, [IMAGES])} == {mode}
    right = make_model()
    recalibrate(right, [IMAGES])
    rows = check_layers(right, [IMAGES])
    assert [row["state"] for row in rows] == ["fresh", "fresh"]
    assert rows[0]["mean_shift"] == pytest.approx(0, abs=1e-3)
    assert rows[0]["variance_ratio"] == pytest.approx(1, abs=1e-3)
    assert mode_gap(right, IMAGES)["mean_difference"] < 1e-4
    right.get_layer("first").moving_mean.assign_add([3.0, 3.0, 3.0])
    rows = check_layers(right, [IMAGES])
    assert [row["state"] for row in rows] == ["stale", "fresh"]
    assert rows[0]["mean_shift"] == pytest.approx(3 / 2, rel=0.1)  # the deviation is 2
    assert mode_gap(right, IMAGES)["mean_difference"] > 1e-3


class BatchDependent(keras.layers.BatchNormalization):
    """The classic fault: statistics of the batch at inference."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=True, mask=mask)


def test_a_prediction_that_depends_on_its_batch_is_found():
    sound = check_companions(make_model(), IMAGES, LABELS)
    assert sound["passed"]
    assert max(sound["shuffled"], sound["single_class"], sound["one"]) < 1e-4
    broken = check_companions(make_model(bn=BatchDependent), IMAGES, LABELS)
    assert not broken["passed"]
    assert min(broken["shuffled"], broken["single_class"], broken["one"]) > 1e-3
