import keras
import numpy as np
import pytest

from tfskin.training.optimizers import build_optimizer
from tfskin.training.rate_range import _judge, measure_rates


class Bowl(keras.losses.Loss):
    """A parabola in the one weight: SGD diverges above rate 2 / curvature."""

    def call(self, y_true, y_pred):
        return 5.0 * keras.ops.square(y_pred[:, 0])


def make_bowl() -> keras.Model:
    image = keras.Input((1,))
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Model(image, layer(image))
    model.compile(keras.optimizers.SGD(1e-3), Bowl())
    return model


def one_batch(epoch):
    yield np.ones((2, 1), "float32"), np.zeros(2, "int32")


def test_the_loss_falls_then_blows_up_where_it_must():
    found = measure_rates(make_bowl(), one_batch, lowest=1e-5, highest=10.0, updates=60)
    steps = np.arange(len(found.rates))
    np.testing.assert_allclose(found.rates, 1e-5 * 10 ** (6 * steps / 59), rtol=1e-3)
    assert len(found.rates) < 60
    assert found.rates[-1] > 0.2  # curvature 10
    assert found.losses.min() < 0.5 * found.losses[0]
    assert 1e-3 < found.steepest < 0.2
    assert found.tenth == pytest.approx(found.rates[found.losses.argmin()] / 10)


def test_updates_of_several_batches_run_on_over_the_ends_of_epochs():
    """An epoch of one batch is no update of its own: the rate would rise twice as fast."""
    model = make_bowl()
    optimizer = build_optimizer("sgd", learning_rate=1e-3, accumulate=2, batches_per_epoch=1)
    model.compile(optimizer, Bowl())
    found = measure_rates(model, one_batch, lowest=1e-5, highest=1e-2, updates=10, accumulate=2)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-5, 1e-2, 10), rtol=1e-3)


def test_noise_of_the_first_batches_is_no_fall():
    """The smoothed loss jumps about at the start; it really falls between 1e-3 and 1e-1."""
    rates = np.geomspace(1e-6, 1.0, 200)
    losses = 0.7 - 0.1 * np.clip(np.log10(rates) + 3, 0, 2)
    losses += 0.02 * np.random.default_rng(0).normal(size=200)
    losses[:10] = [0.4, 0.95, 0.5, 0.9, 0.6, 0.8, 0.65, 0.75, 0.7, 0.7]
    found = _judge(rates, losses)
    assert 1e-3 < found.steepest < 1e-1
    assert found.tenth == pytest.approx(rates[10:][losses[10:].argmin()] / 10)
