import math

import keras
import pytest

from tfskin.training.schedules import find_plateau, make_schedule, plateau_factor


def rates(kind, **arguments):
    schedule = make_schedule(kind, learning_rate=0.1, steps_per_epoch=10, epochs=5, **arguments)
    return [float(schedule(step)) for step in range(50)]


def test_constant():
    assert rates("constant") == pytest.approx([0.1] * 50)


def test_exponential_falls_by_the_rate_each_epoch():
    found = rates("exponential", decay_rate=0.5)
    assert found[::10] == pytest.approx([0.1 * 0.5**epoch for epoch in range(5)], rel=1e-5)


def test_cosine_is_half_a_cosine_to_the_final_fraction():
    expected = [0.1 * (0.2 + 0.8 * (1 + math.cos(math.pi * step / 50)) / 2) for step in range(50)]
    assert rates("cosine", final_fraction=0.2) == pytest.approx(expected, rel=1e-5)


def test_step_falls_at_every_second_epoch():
    found = rates("step", step_epochs=2, step_factor=0.5)
    assert found == pytest.approx([0.1] * 20 + [0.05] * 20 + [0.025] * 10)


def test_one_cycle_rises_and_falls_on_cosines():
    expected = []
    for step in range(50):
        if step < 15:
            share, first, last = step / 15, 0.1 / 25, 0.1
        else:
            share, first, last = (step - 15) / 35, 0.1, 0.001
        expected.append(last + (first - last) * (1 + math.cos(math.pi * share)) / 2)
    found = rates("one_cycle", rise=0.3, final_fraction=0.01, warmup_epochs=2)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("scores", "falls"),
    [
        ([], 0),
        ([0.5, 0.6, 0.7], 0),
        ([0.5, 0.5], 0),
        ([0.5, 0.5, 0.5], 1),
        ([0.5, 0.4, 0.4, 0.4], 1),
        ([0.5, 0.4, 0.4, 0.4, 0.4], 2),
        ([0.5, 0.4, 0.4, 0.6, 0.5, 0.55], 2),
        ([float("-inf")] * 2, 1),
    ],
)
def test_plateau_falls_when_patience_is_over_and_then_waits_anew(scores, falls):
    assert plateau_factor(scores, patience=2, factor=0.1) == pytest.approx(0.1**falls)


def test_plateau_is_found_behind_warm_up_and_followed():
    schedule = make_schedule(
        "plateau", learning_rate=0.1, steps_per_epoch=10, epochs=5, warmup_epochs=1
    )
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(schedule))
    plateau = find_plateau(optimizer)
    assert plateau is not None
    plateau.factor.assign(0.01)
    assert float(schedule(30)) == pytest.approx(0.001)
    assert find_plateau(keras.optimizers.SGD(0.1)) is None


@pytest.mark.parametrize("kind", ["constant", "step", "exponential", "cosine", "plateau"])
def test_warm_up_rises_in_a_line_then_the_decay_begins(kind):
    found = rates(kind, warmup_epochs=1)
    assert found[:10] == pytest.approx([0.1 * (step + 1) / 11 for step in range(10)], rel=1e-5)
    assert found[10] == pytest.approx(0.1, rel=1e-5)
    assert max(found) <= 0.1 * (1 + 1e-6)


def test_cosine_with_warm_up_ends_at_the_last_update():
    schedule = make_schedule(
        "cosine", learning_rate=0.1, steps_per_epoch=10, epochs=5, warmup_epochs=1
    )
    assert float(schedule(50)) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("kind", ["cosine", "one_cycle", "plateau"])
def test_a_schedule_is_saved_with_its_optimizer(kind):
    schedule = make_schedule(kind, learning_rate=0.1, steps_per_epoch=10, epochs=5, warmup_epochs=1)
    optimizer = keras.optimizers.SGD(schedule)
    again = keras.optimizers.SGD.from_config(optimizer.get_config())
    assert float(again.learning_rate) == pytest.approx(float(optimizer.learning_rate))
