"""The served graph decides as NumPy does."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfskin.evaluation.calibration import Calibration, Knots
from tfskin.evaluation.decision import SET_SLACK, Conformal, Decision, OperatingPoint, decide
from tfskin.serving.decisions import decide_in_graph

NAMES = ("bkl", "mel", "nv", "vasc")
IMAGES = 40


def rounding_of(logits, decision):
    """How far a float32 probability may lie beside the float64 one.

    The rounding of ``logits / temperature`` is in proportion to it, and a step of isotonic knots
    multiplies that of a probability by up to 1,000.
    """
    rounding = 5e-7 + 6e-8 * float(np.abs(logits).max()) / decision.temperature
    return rounding * (1000 if decision.calibration else 1)


def random_decision(logits, *, seed, temperature, isotonic):
    """Thresholds between scores, and quantiles that are the ``1 - p`` of images themselves."""
    random = np.random.default_rng(seed)
    values = {"class_names": NAMES, "temperature": temperature, "malignant": ("mel", "bkl")}
    if isotonic:
        values["calibration"] = Calibration(
            method="isotonic", classes={name: random_knots(random) for name in NAMES}
        )
    answer = decide(logits, Decision(**values))
    assert answer.malignancy is not None
    scores = np.sort(answer.malignancy)
    levels = (scores[1:] + scores[:-1])[[3, IMAGES // 2]] / 2
    owners = random.integers(0, IMAGES, len(NAMES))
    quantiles = 1 - answer.probabilities[owners, range(len(NAMES))]
    decision = Decision(
        **values,
        thresholds={str(n): OperatingPoint(threshold=level) for n, level in enumerate(levels)},
        conformal=Conformal(
            coverage=0.9, per_class=dict(zip(NAMES, quantiles.tolist(), strict=True))
        ),
    )
    return decision, owners


def random_knots(random):
    """Knots as they are fitted: not closer than 0.001."""
    x = np.sort(random.choice(np.arange(1, 1000), random.integers(2, 8), replace=False)) / 1000
    return Knots(x=tuple(x.tolist()), y=tuple(np.sort(random.uniform(0.01, 0.99, len(x))).tolist()))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    temperature=st.floats(0.1, 10),
    spread=st.sampled_from([0.1, 1.0, 5.0]),
    isotonic=st.booleans(),
)
def test_a_graph_answers_as_numpy_does(seed, temperature, spread, isotonic):
    logits = np.random.default_rng(seed).normal(0, spread, (IMAGES, len(NAMES))).astype(np.float32)
    decision, owners = random_decision(
        logits, seed=seed, temperature=temperature, isotonic=isotonic
    )
    expected = decide(logits, decision)
    assert expected.malignancy is not None
    assert expected.prediction_set is not None
    assert decision.conformal is not None
    probabilities = decision.to_probabilities(tf.constant(logits), ops=keras.ops)
    found = decide_in_graph(probabilities, decision, top=2)
    rounding = rounding_of(logits, decision)
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=rounding)
    np.testing.assert_allclose(found["malignancy"], expected.malignancy, atol=2 * rounding)
    levels = np.array([point.threshold for point in decision.thresholds.values()])
    clear = np.abs(expected.malignancy[:, None] - levels) > 2 * rounding
    assert (found["is_malignant"].numpy() == expected.is_malignant)[clear].all()
    quantiles = np.array(list(decision.conformal.per_class.values()))
    clear = np.abs(1 - expected.probabilities - quantiles - SET_SLACK) > rounding
    assert (found["prediction_set"].numpy() == expected.prediction_set)[clear].all()
    at_quantile = owners, range(len(NAMES))
    assert expected.prediction_set[at_quantile].all()
    assert rounding >= SET_SLACK or found["prediction_set"].numpy()[at_quantile].all()


def test_the_images_on_the_quantiles_are_inside_in_a_graph_too():
    random = np.random.default_rng(0)
    for spread in (1.0, 3.0, 6.0) * 20:
        logits = random.normal(0, spread, (IMAGES, len(NAMES))).astype(np.float32)
        decision, owners = random_decision(
            logits, seed=0, temperature=random.uniform(0.3, 3), isotonic=False
        )
        probabilities = decision.to_probabilities(tf.constant(logits), ops=keras.ops)
        found = decide_in_graph(probabilities, decision, top=1)["prediction_set"].numpy()
        assert found[owners, range(len(NAMES))].all()


@pytest.mark.parametrize("isotonic", [False, True])
def test_a_quantile_of_1_puts_a_class_into_every_set(isotonic):
    logits = np.array([[-60.0, 60.0, 0.0, 0.0]], np.float32)
    knots = Knots(x=(0.0, 1.0), y=(1e-3, 0.5))
    decision = Decision(
        class_names=NAMES,
        calibration=Calibration(
            method="isotonic" if isotonic else "temperature", classes=dict.fromkeys(NAMES, knots)
        ),
        conformal=Conformal(coverage=0.9, per_class=dict.fromkeys(NAMES, 1.0)),
    )
    assert np.all(decide(logits, decision).prediction_set)
    probabilities = decision.to_probabilities(tf.constant(logits), ops=keras.ops)
    assert decide_in_graph(probabilities, decision, top=1)["prediction_set"].numpy().all()
