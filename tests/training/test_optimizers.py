import keras
import numpy as np
import pytest

from tfskin.training.optimizers import build_optimizer


def test_weight_decay_spares_biases_and_batch_norm():
    model = keras.Sequential(
        [keras.layers.Dense(3), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    )
    model.build((None, 4))
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    optimizer = build_optimizer("adamw", learning_rate=0.1, weight_decay=0.5)
    zeros = [np.zeros(v.shape, "float32") for v in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    for variable in model.trainable_variables:
        expected = 0.95 if "kernel" in variable.path else 1.0
        assert variable.numpy() == pytest.approx(expected), variable.path


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_each_moves_weights_against_the_gradient(name):
    variable = keras.Variable(np.ones(3, "float32"))
    build_optimizer(name, learning_rate=0.1).apply([np.ones(3, "float32")], [variable])
    assert (variable.numpy() < 1).all()
