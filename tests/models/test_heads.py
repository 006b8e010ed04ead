"""Probabilities are made from logits, once."""

import keras
import numpy as np
import pytest

from tfskin.models import to_probabilities


def small_model(name="logits", activation=None):
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name=name, activation=activation)]
    )


def test_weights_are_shared():
    model = small_model()
    network = to_probabilities(model)
    model.get_layer("logits").set_weights([np.zeros((4, 3)), np.log([0.2, 0.3, 0.5])])
    result = keras.ops.convert_to_numpy(network(np.ones((2, 4), "float32")))
    np.testing.assert_allclose(result, [[0.2, 0.3, 0.5]] * 2, rtol=1e-5)


def test_large_logits_do_not_overflow(precision):
    precision("mixed_float16")
    inputs = keras.Input((3,))
    outputs = keras.layers.Identity(dtype="float32", name="logits")(inputs)
    network = to_probabilities(keras.Model(inputs, outputs))
    result = keras.ops.convert_to_numpy(network(np.array([[1e5, 0, -1e5]], "float32")))
    np.testing.assert_array_equal(result, [[1, 0, 0]])


def test_other_output_is_refused():
    with pytest.raises(ValueError, match="ends in scores and not in a layer named"):
        to_probabilities(small_model("scores"))


def test_logits_with_softmax_inside_are_refused():
    with pytest.raises(ValueError, match="has the activation 'softmax'"):
        to_probabilities(small_model(activation="softmax"))


def test_two_inputs_are_refused():
    inputs = [keras.Input((3,)), keras.Input((3,))]
    model = keras.Model(inputs, keras.layers.Add(name="logits")(inputs))
    with pytest.raises(ValueError, match="has 2 inputs"):
        to_probabilities(model)
