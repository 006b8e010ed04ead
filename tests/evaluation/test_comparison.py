"""DeLong against its definition, and pairs of models that do or do not differ."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.comparison import compare_predictions, delong
from tfskin.evaluation.predictions import Predictions


def by_definition(positive, first, second):
    """DeLong's variance from all pairs of a positive and a negative."""
    parts = []
    for scores in (first, second):
        pairs = (scores[positive][:, None] > scores[~positive]) + 0.5 * (
            scores[positive][:, None] == scores[~positive]
        )
        parts.append((pairs.mean(axis=1), pairs.mean(axis=0)))
    high, low = (np.cov([parts[0][k], parts[1][k]]) for k in range(2))
    m, n = positive.sum(), (~positive).sum()
    covariance = high / m + low / n
    return covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]


@pytest.mark.parametrize("decimals", [None, 1])
def test_delong_is_its_definition(decimals):
    random = np.random.default_rng(0)
    positive = random.random(80) < 0.3
    first = random.normal(positive, 1.0)
    second = random.normal(0.5 * positive, 1.0)
    if decimals is not None:
        first, second = first.round(decimals), second.round(decimals)
    found = delong(positive, first, second)
    assert found["auc_first"] == pytest.approx(roc_auc_score(positive, first))
    assert found["auc_second"] == pytest.approx(roc_auc_score(positive, second))
    expected = by_definition(positive, first, second)
    assert found["standard_error"] ** 2 == pytest.approx(expected)


def test_images_of_a_lesion_make_the_error_larger():
    random = np.random.default_rng(1)
    positive = random.random(60) < 0.4
    first, second = random.normal(positive, 1.0), random.normal(positive, 1.0)
    once = delong(positive, first, second)
    p, a, b = np.repeat(positive, 3), np.repeat(first, 3), np.repeat(second, 3)
    naive = delong(p, a, b)
    grouped = delong(p, a, b, np.repeat(np.arange(60), 3))
    assert grouped["standard_error"] == pytest.approx(once["standard_error"], rel=0.02)
    assert naive["standard_error"] < 0.7 * grouped["standard_error"]


def test_a_model_does_not_differ_from_itself():
    random = np.random.default_rng(2)
    positive, scores = np.arange(40) % 2 == 0, random.random(40)
    assert delong(positive, scores, scores)["p"] == 1
    assert delong(positive, scores, scores, positive)["p"] is None  # one group of each kind
    with pytest.raises(ValueError, match="both kinds"):
        delong(np.ones(3, bool), np.ones(3), np.ones(3))


def model(labels, skill, seed):
    random = np.random.default_rng(seed)
    values = random.dirichlet(np.ones(3), len(labels)) + skill * np.eye(3)[labels]
    return values / values.sum(axis=1, keepdims=True)


def compare(labels, runs, groups=None, *, malignant=(), resamples):
    models = {
        name: Predictions.of(labels, values, ["a", "b", "c"], groups, malignant=malignant)
        for name, values in runs.items()
    }
    return compare_predictions(models, Bootstrap(resamples=resamples))


def test_averages_over_a_class_of_one_group_are_not_called_real():
    labels = np.array([0, 1] * 40 + [2])
    runs = {"good": model(labels, 0.8, 1), "poor": model(labels, 0.1, 2)}
    (pair,) = compare(labels, runs, resamples=200)
    for name in ("macro_auc", "balanced_accuracy", "macro_f1", "kappa"):
        assert pair["figures"][name]["real"] is None, name
        assert pair["figures"][name]["low"] is None, name
    assert pair["figures"]["accuracy"]["real"] is True


def test_real_differences_are_told_from_none():
    labels = np.random.default_rng(0).integers(0, 3, 300)
    runs = {"good": model(labels, 0.8, 1), "good too": model(labels, 0.8, 2)}
    runs["poor"] = model(labels, 0.1, 3)
    pairs = compare(labels, runs, np.arange(300) // 2, malignant=["b"], resamples=400)
    assert [(pair["first"], pair["second"]) for pair in pairs] == [
        ("good", "good too"),
        ("good", "poor"),
        ("good too", "poor"),
    ]
    for name in ("macro_auc", "accuracy", "malignant_auc", "log_loss"):
        same, *others = (pair["figures"][name] for pair in pairs)
        assert same["real"] is False
        assert same["low"] <= 0 <= same["high"]
        assert all(entry["real"] is True for entry in others)
        assert same["p_holm"] >= same["p"]
    assert pairs[0]["delong"]["p"] > 0.05
    assert pairs[1]["delong"]["p"] < 0.001
    gap = pairs[1]["figures"]["accuracy"]["value"]
    hits = [(values.argmax(axis=1) == labels).mean() for values in runs.values()]
    assert gap == pytest.approx(hits[0] - hits[2])


def test_chance_is_called_real_about_one_time_in_twenty():
    found = 0
    for run in range(60):
        labels = np.random.default_rng(run).integers(0, 3, 90)
        runs = {"a": model(labels, 0.4, 2 * run), "b": model(labels, 0.4, 2 * run + 1)}
        pair = compare(labels, runs, resamples=100)[0]
        found += pair["figures"]["accuracy"]["real"]
    assert found <= 9


def test_figures_without_a_value_have_no_difference():
    labels = np.zeros(20, int)
    runs = {"a": model(labels, 0.4, 0), "b": model(labels, 0.4, 1)}
    pair = compare(labels, runs, malignant=["b"], resamples=100)[0]
    assert pair["figures"]["macro_auc"] == {
        "value": None, "low": None, "high": None, "undefined": 100,
        "p": None, "p_holm": None, "real": None,
    }  # fmt: skip
    assert pair["delong"] is None
