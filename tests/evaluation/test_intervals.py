"""Intervals: what a resample is, how often they cover the truth, and their edges."""

import json

import numpy as np
import pytest

from tfskin.evaluation import intervals
from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import (
    CLASS_FIGURES,
    SUMMARY_FIGURES,
    compute_metrics,
    weighted_figures,
)

NAMES = ["bcc", "mel", "nv"]


def predictions(*, images=120, classes=3, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    probabilities = random.dirichlet(np.ones(classes), images) + 0.5 * np.eye(classes)[labels]
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)


def test_values_are_the_metrics_and_lie_within_their_intervals():
    labels, probabilities = predictions()
    metrics = compute_metrics(labels, probabilities, NAMES)
    figures = bootstrap_intervals(labels, probabilities, np.arange(120) // 2, NAMES)
    assert (figures["images"], figures["groups"], figures["resamples"]) == (120, 60, 1000)
    for name in SUMMARY_FIGURES:
        assert figures[name]["value"] == metrics[name]
        assert figures[name]["low"] < metrics[name] < figures[name]["high"]
    for name in NAMES:
        for figure in CLASS_FIGURES:
            entry = figures["per_class"][name][figure]
            assert entry["value"] == metrics["per_class"][name][figure]
            assert entry["low"] <= entry["value"] <= entry["high"]
            assert entry["undefined"] == 0
    json.dumps(figures, allow_nan=False)


def test_a_weighted_figure_is_the_figure_of_the_repeated_images():
    labels, probabilities = predictions(images=40)
    weights = np.random.default_rng(1).integers(0, 4, (40, 20))
    figures = weighted_figures(labels, probabilities, weights.astype(float))
    for r in range(20):
        rows = np.repeat(np.arange(40), weights[:, r])
        expected = compute_metrics(labels[rows], probabilities[rows], NAMES)
        for name in SUMMARY_FIGURES:
            assert figures.summary[name][r] == pytest.approx(expected[name])
        for c, name in enumerate(NAMES):
            for figure in CLASS_FIGURES:
                value = expected["per_class"][name][figure]
                mine = figures.per_class[figure][r, c]
                assert np.isnan(mine) if value is None else mine == pytest.approx(value)


def test_same_seed_same_intervals_whatever_the_chunks(monkeypatch):
    labels, probabilities = predictions()
    groups = np.arange(120) // 3
    first = bootstrap_intervals(labels, probabilities, groups, NAMES, resamples=200, seed=5)
    other = bootstrap_intervals(labels, probabilities, groups, NAMES, resamples=200, seed=6)
    monkeypatch.setattr(intervals, "CHUNK_WEIGHTS", 120 * 7)
    again = bootstrap_intervals(labels, probabilities, groups, NAMES, resamples=200, seed=5)
    assert first["log_loss"]["low"] != other["log_loss"]["low"]
    for name in SUMMARY_FIGURES:
        assert again[name] == pytest.approx(first[name])


def test_images_of_a_group_move_together():
    labels, probabilities = predictions(images=100)
    fourfold = np.repeat(labels, 4), np.repeat(probabilities, 4, axis=0)
    once = bootstrap_intervals(labels, probabilities, np.arange(100), NAMES)
    by_group = bootstrap_intervals(*fourfold, np.repeat(np.arange(100), 4), NAMES)
    by_image = bootstrap_intervals(*fourfold, np.arange(400), NAMES)

    def width(figures):
        return figures["accuracy"]["high"] - figures["accuracy"]["low"]

    assert width(by_group) == pytest.approx(width(once))
    assert width(by_image) == pytest.approx(width(once) / 2, rel=0.25)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(0)
    covered, runs = {"by_group": 0, "by_image": 0}, 150
    for run in range(runs):
        # 60 lesions of 4 images; a lesion is easy or hard, so its images are right or wrong
        # together: the expected accuracy is 0.7.
        lesion = np.repeat(np.arange(60), 4)
        easy = (random.uniform(size=60) < 0.5)[lesion]
        right = random.uniform(size=240) < np.where(easy, 0.95, 0.45)
        labels = random.integers(0, 2, 240)
        predicted = np.where(right, labels, 1 - labels)
        probabilities = np.where(np.eye(2)[predicted] == 1, 0.8, 0.2)
        for name, groups in (("by_group", lesion), ("by_image", np.arange(240))):
            entry = bootstrap_intervals(
                labels, probabilities, groups, NAMES[:2], resamples=300, seed=run
            )["accuracy"]
            covered[name] += entry["low"] <= 0.7 <= entry["high"]
    assert 0.90 <= covered["by_group"] / runs <= 0.99
    assert covered["by_image"] < covered["by_group"]


def test_one_group_says_nothing_about_the_spread():
    labels, probabilities = predictions()
    figures = bootstrap_intervals(labels, probabilities, np.zeros(120), NAMES, resamples=50)
    assert figures["accuracy"]["value"] is not None
    assert figures["accuracy"]["low"] is None
    assert figures["accuracy"]["high"] is None


def test_constant_predictions():
    figures = bootstrap_intervals(
        [0, 1, 2] * 10, np.full((30, 3), 1 / 3), np.arange(30), NAMES, resamples=200
    )
    assert figures["macro_auc"] == {"value": 0.5, "low": 0.5, "high": 0.5, "undefined": 0}
    never = figures["per_class"]["mel"]["precision"]
    assert never == {"value": None, "low": None, "high": None, "undefined": 200}


def test_a_class_that_resamples_may_miss_is_counted():
    labels, probabilities = predictions(images=30)
    labels[:] = np.arange(30) % 2
    labels[4] = 2
    figures = bootstrap_intervals(labels, probabilities, np.arange(30), NAMES, resamples=1000)
    recall = figures["per_class"]["nv"]["recall"]
    # A group is missing from a resample with probability (1 - 1/n)^n.
    assert recall["undefined"] == pytest.approx(1000 * (29 / 30) ** 30, abs=60)
    assert recall["low"] is not None
    assert figures["macro_auc"]["undefined"] == 0


def test_an_absent_class_has_neither_value_nor_interval():
    labels, probabilities = predictions(images=30)
    labels[:] = np.arange(30) % 2
    figures = bootstrap_intervals(labels, probabilities, np.arange(30), NAMES, resamples=100)
    assert figures["per_class"]["nv"]["auc"] == {
        "value": None,
        "low": None,
        "high": None,
        "undefined": 100,
    }
    assert figures["left_out"]["macro_auc"] == ["nv"]
    assert figures["macro_auc"]["low"] is not None


def test_groups_may_be_names():
    labels, probabilities = predictions()
    numbers = np.arange(120) // 2
    names = np.array([f"IL_{number:07d}" for number in numbers])
    by_number = bootstrap_intervals(labels, probabilities, numbers, NAMES, resamples=100)
    assert bootstrap_intervals(labels, probabilities, names, NAMES, resamples=100) == by_number


@pytest.mark.parametrize(
    ("options", "message"),
    [({"resamples": 0}, "resamples=0"), ({"confidence": 1.0}, "confidence=1.0")],
)
def test_refuses_impossible_options(options, message):
    labels, probabilities = predictions()
    with pytest.raises(ValueError, match=message):
        bootstrap_intervals(labels, probabilities, np.arange(120), NAMES, **options)


def test_refuses_groups_of_another_length():
    labels, probabilities = predictions()
    with pytest.raises(ValueError, match="groups of shape"):
        bootstrap_intervals(labels, probabilities, np.arange(119), NAMES)
