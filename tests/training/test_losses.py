import keras
import numpy as np
import pytest

from tfskin.training.losses import CrossEntropy


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_it_is_the_formula(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(16, 5)) * 3, rng.integers(0, 5, 16)
    target = np.eye(5)[labels] * (1 - smoothing) + smoothing / 5
    expected = -(target * np.log(softmax(logits))).sum(axis=1).mean()
    assert float(CrossEntropy(smoothing)(labels, logits)) == pytest.approx(expected, rel=1e-5)


def test_without_smoothing_it_is_keras_own():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(8, 3)).astype("float32"), rng.integers(0, 3, 8)
    keras_own = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert float(CrossEntropy()(labels, logits)) == pytest.approx(
        float(keras_own(labels, logits)), rel=1e-6
    )


def test_large_logits_stay_finite_and_float16_is_summed_in_float32():
    logits = np.array([[60000.0, -60000.0]], dtype="float16")
    assert np.isfinite(float(CrossEntropy()([1], logits)))


def test_it_is_saved_with_its_smoothing():
    loss = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(CrossEntropy(0.2))
    )
    assert loss.label_smoothing == 0.2
