"""Once an update: accumulation equals the large batch, in the right order with everything else."""

from typing import Any

import keras
import numpy as np
import pytest

from tfskin.layers import BatchNorm
from tfskin.training.fit import compile_model
from tfskin.training.optimizers import build_optimizer
from tfskin.training.schedules import make_schedule
from tfskin.training.updates import (
    OncePerUpdate,
    average_statistics,
    averaged_weights,
    inner_optimizer,
    skipped_steps,
)

IMAGES = np.random.default_rng(0).uniform(0, 1, (22, 6, 6, 3)).astype("float32")
LABELS = np.arange(22) % 2


def make_model(norm: bool = False) -> keras.Model:
    keras.utils.set_random_seed(3)
    image = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(3, 3, kernel_regularizer=keras.regularizers.L2(0.1))(image)
    x = BatchNorm(momentum=0.5)(x) if norm else x
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    return keras.Model(image, keras.layers.Dense(2)(x))


def train(model, optimizer, batch_size, *, epochs=2):
    compile_model(model, optimizer)
    data = (IMAGES, LABELS)
    model.fit(*data, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0)
    return [variable.numpy() for variable in model.trainable_variables]


def optimizer_of(name, *, updates_per_epoch, **options):
    # A rate that changes at every update: a schedule that counted batches would be seen.
    rate = make_schedule(
        "cosine", learning_rate=0.05, steps_per_epoch=updates_per_epoch, epochs=2, warmup_epochs=1
    )
    return build_optimizer(name, learning_rate=rate, weight_decay=0.1, **options)


@pytest.mark.parametrize(("name", "batch"), [("adamw", 2), ("sgd", 4)])
def test_four_batches_are_one_of_four_times_the_size(name, batch):
    """With what is left of the epoch: 22 images are updates of 8, 8, 6 and of 16, 6."""
    updates = -(-22 // (4 * batch))
    common = {"clip_norm": 0.3, "ema": 0.9, "updates_per_epoch": updates}
    large, parts = make_model(), make_model()
    one = optimizer_of(name, **common)
    expected = train(large, one, 4 * batch)
    steps = -(-22 // batch)
    last = (22 - (steps - 1) * batch) / batch
    grouped = {"accumulate": 4, "batches_per_epoch": steps, "last_batch": last}
    four = optimizer_of(name, **common, **grouped)
    found = train(parts, four, batch)
    assert int(one.iterations) == int(four.iterations) == 2 * updates
    assert float(one.learning_rate) == pytest.approx(float(four.learning_rate))
    for first, second in zip(expected, found, strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-5)
    with averaged_weights(large), averaged_weights(parts):
        for first, second in zip(large.weights, parts.weights, strict=True):
            np.testing.assert_allclose(first.numpy(), second.numpy(), rtol=0, atol=1e-5)


def test_with_batch_norm_each_batch_is_normalised_by_itself():
    """The update is the mean of the batches' gradients, and not that of the large batch."""
    model = make_model(norm=True)
    compile_model(model, build_optimizer("sgd", learning_rate=1.0, momentum=0.0, accumulate=2))
    model.fit(IMAGES[:16], LABELS[:16], batch_size=8, shuffle=False, verbose=0)
    found = [variable.numpy() for variable in model.trainable_variables]
    other = make_model(norm=True)
    compile_model(other, keras.optimizers.SGD(1.0))
    start = other.get_weights()
    moved = []
    for part in (slice(0, 8), slice(8, 16), slice(0, 16)):
        other.set_weights(start)
        other.train_on_batch(IMAGES[part], LABELS[part])
        moved.append([variable.numpy() for variable in other.trainable_variables])
    for first, second, new in zip(moved[0], moved[1], found, strict=True):
        np.testing.assert_allclose(new, (first + second) / 2, atol=1e-5)
    gaps = [np.abs(a - b).max() for a, b in zip(moved[2], found, strict=True)]
    assert max(gaps) > 1e-3


def test_the_long_gradient_is_that_of_the_group():
    """Two gradients that cancel: clipped one by one, their difference would be lost."""
    weight = keras.Variable(np.zeros(1, "float32"))
    optimizer = build_optimizer(
        "sgd", learning_rate=1.0, momentum=0.0, nesterov=False, accumulate=2, clip_norm=1.0
    )
    for gradient in (100.0, -99.0):
        optimizer.apply([np.array([gradient], "float32")], [weight])
    assert weight.numpy()[0] == pytest.approx(-0.5)


def test_the_average_is_the_formula_once_an_update():
    weight = keras.Variable(np.zeros(1, "float32"))
    optimizer = build_optimizer(
        "sgd", learning_rate=1.0, momentum=0.0, nesterov=False, accumulate=2, ema=0.2
    )
    value, average = 0.0, None
    for step in range(10):
        optimizer.apply([np.array([step], "float32")], [weight])
        if step % 2:
            value -= step - 0.5
            done = step // 2
            decay = min(0.2, (1 + done) / (10 + done))
            average = value if average is None else decay * average + (1 - decay) * value
    assert weight.numpy()[0] == pytest.approx(value)
    [(_, found)] = optimizer.averages()
    assert found.numpy()[0] == pytest.approx(average)


def test_averages_are_in_the_model_for_a_while_statistics_too():
    model = make_model(norm=True)
    optimizer = build_optimizer("sgd", learning_rate=0.1, ema=0.9)
    average_statistics(optimizer, model)
    compile_model(model, optimizer)
    for _ in range(2):
        for variable in model.variables:
            variable.assign(variable + 1.0)
        gradients = [np.ones(v.shape, "float32") for v in model.trainable_variables]
        optimizer.apply(gradients, model.trainable_variables)
    before = [variable.numpy() for variable in model.variables]
    with averaged_weights(model):
        inside = [variable.numpy() for variable in model.variables]
    after = [variable.numpy() for variable in model.variables]
    names = [variable.path.split("/")[-1] for variable in model.variables]
    changed = {n for n, a, b in zip(names, before, inside, strict=True) if (a != b).any()}
    assert {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"} <= changed
    for first, second in zip(before, after, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_batch_that_overflows_is_left_out_and_counted():
    """Loss scaling stands outside: what is added up is unscaled and finite."""
    weight = keras.Variable(np.zeros(1, "float32"))
    model = make_model()
    model.dtype_policy = keras.DTypePolicy("mixed_float16")
    compile_model(
        model,
        build_optimizer("sgd", learning_rate=1.0, momentum=0.0, nesterov=False, accumulate=2),
    )
    optimizer = model.optimizer
    assert isinstance(inner_optimizer(optimizer), OncePerUpdate)
    assert skipped_steps(optimizer) == 0
    for gradient in (np.inf, 1.0, 3.0, np.inf, 5.0, 7.0):
        scale = float(optimizer.dynamic_scale) if optimizer.built else optimizer.initial_scale
        optimizer.apply([np.array([gradient * scale], "float32")], [weight])
    # Groups are (inf, 1), (3, inf) and, with the 3 that waited for it, (5, 7).
    assert weight.numpy()[0] == pytest.approx(-1.0 - (3 + 5 + 7) / 3)
    assert skipped_steps(optimizer) == 2
    assert float(optimizer.dynamic_scale) == optimizer.initial_scale / 4
    assert int(optimizer.iterations) == 2


def test_groups_keep_their_places_in_the_epoch_after_an_overflow():
    """Epochs of three batches, the last half as large: an overflow in one moves no other."""
    weight = keras.Variable(np.zeros(1, "float32"))
    model = make_model()
    model.dtype_policy = keras.DTypePolicy("mixed_float16")
    groups: dict[str, Any] = {"accumulate": 2, "batches_per_epoch": 3, "last_batch": 0.5}
    plain = build_optimizer("sgd", learning_rate=1.0, momentum=0.0, nesterov=False, **groups)
    compile_model(model, plain)
    for gradient in (np.inf, 1.0, 2.0, 3.0, 5.0, 7.0):
        optimizer = model.optimizer
        scale = float(optimizer.dynamic_scale) if optimizer.built else optimizer.initial_scale
        optimizer.apply([np.array([gradient * scale], "float32")], [weight])
    assert weight.numpy()[0] == pytest.approx(-(1 + 2 + (3 + 5) / 2 + 7))
    assert int(optimizer.iterations) == 4


def test_no_loss_is_scaled_in_float32():
    model = make_model()
    compile_model(model, build_optimizer("sgd", learning_rate=1.0))
    assert skipped_steps(model.optimizer) is None


def test_an_optimizer_is_saved_with_its_groups():
    made = build_optimizer("adam", learning_rate=0.01, accumulate=3, ema=0.5, clip_norm=2.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert again.get_config() == made.get_config()
    assert (again.accumulate, again.ema, again.global_clipnorm) == (3, 0.5, 2.0)
