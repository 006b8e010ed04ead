"""``decision.json`` comes back as it was written, and what is wrong in it is named."""

import json

import numpy as np
import pytest
from scipy.special import softmax

from tfskin.errors import UserError
from tfskin.evaluation.decision import SET_SLACK, Decision, decide, parse_decision

NAMES = ["a", "b"]
KNOTS = {"x": [0.0, 1.0], "y": [0.1, 0.9]}
FITTED = {"temperature": 2.0, "split": "calibration"}
WHOLE = {
    **FITTED,
    "inside_the_model": {"method": "weights", "weights": [0.25, 0.75], "temperature": 1.25},
    "calibration": {"method": "isotonic", "classes": {"a": KNOTS, "b": KNOTS}},
    "malignant": ["b"],
    "thresholds": {
        "cost_10": {"score": "malignant", "threshold": 0.3, "target": {"miss_cost": 10.0}}
    },
    "conformal": {
        "coverage": 0.9,
        "method": "class_conditional",
        "per_class": {"a": 0.5, "b": 0.4},
    },
}


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 1.0, "split": None},
        FITTED,
        {**FITTED, "calibration": {"method": "temperature"}, "thresholds": {}},
        WHOLE,
    ],
)
def test_a_decision_is_written_as_it_was_read(values):
    written = parse_decision(values, NAMES).to_dict()
    assert json.dumps(written) == json.dumps(json.loads(json.dumps(values)))


def test_what_a_file_lacks_was_not_decided():
    plain = parse_decision({"temperature": 1.0, "unknown": "key", "malignant": None}, NAMES)
    assert (plain.malignant, plain.thresholds, plain.conformal) == ((), {}, None)
    answer = decide(np.zeros((1, 2)), plain)
    assert answer.probabilities.tolist() == [[0.5, 0.5]]
    assert answer.malignancy is answer.is_malignant is answer.prediction_set is None


def test_an_answer_follows_its_formulas():
    logits = np.array([[2.0, -1.0], [0.2, 0.1]])
    decision = parse_decision(WHOLE, NAMES)
    answer = decide(logits, decision)
    mapped = 0.1 + 0.8 * softmax(logits / 2, axis=1)
    probabilities = mapped / mapped.sum(axis=1, keepdims=True)
    assert answer.malignancy is not None
    assert answer.is_malignant is not None
    assert answer.prediction_set is not None
    np.testing.assert_allclose(answer.probabilities, probabilities, rtol=1e-12)
    np.testing.assert_allclose(answer.malignancy, probabilities[:, 1], rtol=1e-12)
    assert answer.is_malignant.tolist() == (probabilities[:, 1:] >= 0.3).tolist()
    assert answer.prediction_set.tolist() == (1 - probabilities <= [0.5, 0.4]).tolist()


def test_an_image_at_the_quantile_is_inside_and_one_beyond_the_slack_is_not():
    for inside, quantile in ((True, 0.5), (True, 0.5 - SET_SLACK / 2), (False, 0.5 - 2e-6)):
        conformal = {"coverage": 0.9, "per_class": {"a": quantile, "b": 1}}
        decision = parse_decision({"temperature": 1, "conformal": conformal}, NAMES)
        found = decide(np.zeros((1, 2)), decision).prediction_set
        assert found is not None
        assert found.tolist() == [[inside, True]]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("temperature", 0, "temperature.*greater than or equal to 0.01.*train the run again"),
        ("temperature", None, "temperature.*train the run again"),
        ("temperature", True, "temperature.*valid number.*train the run again"),
        ("temperature", float("inf"), "temperature.*train the run again"),
        ("temperature", float("nan"), "temperature.*train the run again"),
        ("split", 5, "split.*train the run again"),
        ("malignant", ["c"], r"'c' is no class of the model \(a, b\); evaluate the run again"),
        ("conformal", {"coverage": 0.9, "per_class": {"a": 0.5}}, "a quantile for every class"),
        ("conformal", {"coverage": 0.9, "per_class": {"a": 0.5, "c": 1}}, "'c' is no class"),
        ("conformal", {"coverage": 0.9, "per_class": {"a": 0.5, "b": float("nan")}}, "finite"),
        ("conformal", {"per_class": {"a": 0.5, "b": 1}}, "coverage.*required"),
        ("calibration", {"method": "beta"}, "calibration.method.*beta"),
        ("calibration", {"method": "isotonic", "classes": {"a": KNOTS}}, "has no class 'b'"),
        ("calibration", {"method": "isotonic", "classes": {"a": 1, "b": 2}}, "classes.a"),
        *[
            ("calibration", {"method": "isotonic", "classes": {"a": knots, "b": KNOTS}}, message)
            for knots, message in [
                ({"x": [0.5], "y": [0.5]}, "two or more"),
                ({"x": [0, 1], "y": [0.5]}, "two or more"),
                ({"x": [0.5, 0.5], "y": [0.1, 0.9]}, "must rise"),
                ({"x": [0, 1], "y": [0, 0.9]}, "above 0"),
                ({"x": [0, 1], "y": [0.1, 1.1]}, "above 0"),
            ]
        ],
        ("thresholds", {"x": {}}, "thresholds.x.threshold.*required.*evaluate the run again"),
        ("thresholds", {"x": {"threshold": "0.3"}}, "thresholds.x.threshold.*number"),
    ],
)
def test_what_is_wrong_in_a_decision_is_named(key, value, message):
    with pytest.raises(UserError, match=message) as caught:
        parse_decision({**WHOLE, key: value}, NAMES, source="run/decision.json")
    assert str(caught.value).startswith("run/decision.json: ")
    assert "\n" not in str(caught.value)
    if "train the run" not in message:
        kept = parse_decision({**WHOLE, key: value}, NAMES, before_evaluation=True)
        assert kept.to_dict() == {k: WHOLE[k] for k in ("temperature", "split", "inside_the_model")}


@pytest.mark.parametrize("values", [5, [], {}])
def test_a_file_without_a_temperature_is_refused(values):
    with pytest.raises(UserError, match="temperature"):
        parse_decision(values, NAMES)


def test_an_unknown_class_is_refused_in_code_too():
    with pytest.raises(ValueError, match="'c' is no class"):
        Decision(class_names=("a", "b"), malignant=("c",))
