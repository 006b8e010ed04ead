import math

import keras
import pytest

from tfskin.training.schedules import make_schedule


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


@pytest.mark.parametrize("kind", ["constant", "exponential", "cosine"])
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


def test_a_schedule_is_saved_with_its_optimizer():
    schedule = make_schedule(
        "cosine", learning_rate=0.1, steps_per_epoch=10, epochs=5, warmup_epochs=1
    )
    optimizer = keras.optimizers.SGD(schedule)
    again = keras.optimizers.SGD.from_config(optimizer.get_config())
    assert float(again.learning_rate) == pytest.approx(float(optimizer.learning_rate))
