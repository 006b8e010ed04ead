"""Auxiliary heads count in the training loss and are absent otherwise."""

import keras
import numpy as np
import pytest

from tfskin.ensembling import as_float32
from tfskin.layers import BatchNorm
from tfskin.models import WithAuxiliaries, to_probabilities

IMAGES = np.random.default_rng(0).uniform(0, 255, (6, 8, 8, 3)).astype("float32")
LABELS = np.arange(6) % 3


def small_model(weight=0.3):
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, kernel_regularizer=keras.regularizers.L2(0.1))(x)
    x = BatchNorm(name="bn")(x)
    pooled = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    logits = keras.layers.Dense(3, name="logits")(pooled)
    side = keras.layers.Dense(3, name="aux1_logits")(keras.layers.Flatten(name="aux1_flat")(x))
    return WithAuxiliaries(keras.Model(image, [logits, side]), weight=weight, name="small")


def loss_of(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, jit_compile=False)
    return model.fit(IMAGES, LABELS, batch_size=6, verbose=0).history["loss"][0]


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_the_training_loss_is_the_weighted_sum(weight):
    model = small_model(weight)
    logits, side = (np.asarray(x, "float64") for x in model.network(IMAGES, training=True))

    def cross_entropy(values):
        return np.mean(np.log(np.exp(values).sum(axis=1)) - values[np.arange(len(LABELS)), LABELS])

    (kernel,) = (x.kernel for x in model.layers if isinstance(x, keras.layers.Conv2D))
    penalty = 0.1 * float(np.square(kernel).sum())
    expected = cross_entropy(logits) + weight * cross_entropy(side) + penalty
    assert loss_of(model) == pytest.approx(expected, rel=1e-4)


def test_auxiliary_heads_train_and_are_absent_at_inference(tmp_path):
    model = small_model()
    side = model.network.get_layer("aux1_logits")
    before = np.array(side.kernel)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(IMAGES, LABELS, verbose=0)
    assert not np.array_equal(before, side.kernel)
    assert model.output_names == ["logits"]
    assert model.predict(IMAGES, verbose=0).shape == (6, 3)
    assert isinstance(model.evaluate(IMAGES, LABELS, verbose=0), float)
    assert to_probabilities(model).predict(IMAGES, verbose=0).shape == (6, 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for first, second in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(first, second)
    loaded.fit(IMAGES, LABELS, verbose=0)
    copy = as_float32(model, name="copy")
    np.testing.assert_allclose(
        copy.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), rtol=1e-6
    )
