"""Thresholds reach what they were chosen for; prediction sets cover as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfskin.evaluation.decision import Conformal, Decision, malignant_score, prediction_sets
from tfskin.evaluation.decision_fit import (
    ABOVE_ALL,
    conformal_quantiles,
    threshold_for_cost,
    threshold_for_sensitivity,
    threshold_for_specificity,
)
from tfskin.evaluation.diagnoses import is_malignant, malignant_classes


def sets_of(probabilities, quantiles):
    names = [str(c) for c in range(len(quantiles))]
    per_class = dict(zip(names, quantiles.tolist(), strict=True))
    conformal = Conformal(coverage=0.9, per_class=per_class)
    return prediction_sets(probabilities, Decision(class_names=tuple(names), conformal=conformal))


def shares(positive, scores, threshold):
    called = scores >= threshold
    return called[positive].mean(), (~called)[~positive].mean()


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=30),
    st.sampled_from([0.0, 0.5, 0.8, 0.9, 0.95, 1.0]),
)
def test_thresholds_reach_their_target_and_no_better_one_does(rows, target):
    positive, scores = (np.array(column) for column in zip(*rows, strict=True))
    scores = scores / 6
    if not positive.any() or positive.all():
        assert threshold_for_cost(positive, scores, 3.0) is None
        return
    others = [*np.unique(scores), ABOVE_ALL]
    found = shares(positive, scores, threshold_for_sensitivity(positive, scores, target))
    assert found[0] >= target - 1e-9
    if target > 0:
        reached = [shares(positive, scores, t) for t in others]
        assert found[1] == max(spec for sens, spec in reached if sens >= target - 1e-9)
    found = shares(positive, scores, threshold_for_specificity(positive, scores, target))
    assert found[1] >= target - 1e-9
    reached = [shares(positive, scores, t) for t in others]
    assert found[0] == max(sens for sens, spec in reached if spec >= target - 1e-9)

    def cost(threshold):
        called = scores >= threshold
        return 3 * (positive & ~called).sum() + (~positive & called).sum()

    best = threshold_for_cost(positive, scores, 3.0)
    assert cost(best) == min(map(cost, others))


def test_a_threshold_lies_between_scores():
    positive, scores = np.array([True, False, True]), np.array([0.9, 0.3, 0.5])
    assert threshold_for_sensitivity(positive, scores, 1.0) == pytest.approx(0.4)
    assert threshold_for_sensitivity(positive, scores, 0.5) == pytest.approx(0.7)
    assert threshold_for_sensitivity(~positive, scores, 1.0) == 0
    assert threshold_for_sensitivity(np.zeros(3, bool), scores, 0.9) is None


def test_the_malignant_score_is_a_sum():
    scores = malignant_score(np.array([[0.2, 0.5, 0.3]]), ["mel", "nv", "bcc"], ["mel", "bcc"])
    assert scores.tolist() == pytest.approx([0.5])


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_cover_each_class_of_held_out_data(coverage):
    random = np.random.default_rng(0)
    found = []
    for _ in range(40):
        labels = random.choice(3, 900, p=[0.7, 0.2, 0.1])
        probabilities = random.dirichlet(np.ones(3), 900) + 0.4 * np.eye(3)[labels]
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        quantiles = conformal_quantiles(labels[:400], probabilities[:400], coverage=coverage)
        sets = sets_of(probabilities[400:], quantiles)
        inside = sets[np.arange(500), labels[400:]]
        found.append([inside[labels[400:] == c].mean() for c in range(3)])
        assert 1 <= sets.sum(axis=1).mean() < 3
    for mean in np.mean(found, axis=0):
        assert coverage - 0.01 <= mean <= coverage + 0.03


def test_a_class_with_too_few_images_is_in_every_set():
    labels = np.array([0] * 30 + [1] * 3)
    probabilities = np.tile([0.9, 0.1], (33, 1))
    quantiles = conformal_quantiles(labels, probabilities, coverage=0.9)
    assert quantiles[1] == 1
    assert quantiles[0] == pytest.approx(0.1)
    assert sets_of(np.array([[1.0, 0.0]]), quantiles)[0].tolist() == [True, True]


@pytest.mark.parametrize(
    ("name", "malignant"),
    [
        ("mel", True),
        ("akiec", True),
        ("Melanoma, NOS", True),
        ("Basal cell carcinoma, Nodular", True),
        ("Malignant melanocytic proliferations (Melanoma)", True),
        ("Lentigo maligna", True),
        ("Solar or actinic keratosis", True),
        ("Non-malignant", False),
        ("nv", False),
        ("Nevus, NOS, Compound", False),
        ("Nevus, Spitz", False),
        ("Atypical Spitz tumor", None),
        ("Merkel cell carcinoma", True),
        ("Seborrheic keratosis", False),
        ("Solar lentigo", False),
        ("Dermatofibroma", False),
        ("Hemangioma", False),
        ("unknown", None),
        ("Benign melanocytic proliferations", False),
    ],
)
def test_diagnoses_are_malignant_or_not(name, malignant):
    assert is_malignant(name) is malignant


def test_classes_are_what_their_diagnoses_are():
    classes = {"bad": ["mel", "bcc"], "good": ["nv"], "mixed": ["mel", "nv"], "odd": ["x"]}
    assert malignant_classes(classes) == (["bad"], ["mixed", "odd"])
    assert malignant_classes({"melanoma": ["x"], "nevus": []}) == (["melanoma"], [])
