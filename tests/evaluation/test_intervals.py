"""Intervals: what a resample is, how often they cover the truth, and their edges."""

import json

import numpy as np
import pytest
from scipy import stats

from tests.scripts import load_script
from tfskin.evaluation import weighted_metrics
from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import CLASS_METRICS, SUMMARY_METRICS, compute_metrics
from tfskin.evaluation.sums import Confusions

check_intervals = load_script("check_intervals")

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
    for name in SUMMARY_METRICS:
        assert figures[name]["value"] == metrics[name]
        if metrics[name] is not None:  # three classes have no top 3
            assert figures[name]["low"] <= metrics[name] <= figures[name]["high"]
            assert figures[name]["low"] < figures[name]["high"]
    for name in NAMES:
        for figure in CLASS_METRICS:
            entry = figures["per_class"][name][figure]
            assert entry["value"] == metrics["per_class"][name][figure]
            assert entry["low"] <= entry["value"] <= entry["high"]
            assert entry["undefined"] == 0
    json.dumps(figures, allow_nan=False)


def test_same_seed_same_intervals():
    labels, probabilities = predictions()
    groups = np.arange(120) // 3
    first = bootstrap_intervals(labels, probabilities, groups, NAMES, resamples=200, seed=5)
    other = bootstrap_intervals(labels, probabilities, groups, NAMES, resamples=200, seed=6)
    again = bootstrap_intervals(labels, probabilities, groups, NAMES, resamples=200, seed=5)
    assert first["log_loss"]["low"] != other["log_loss"]["low"]
    assert again == first


def test_a_resample_keeps_the_number_of_groups_of_each_class():
    labels = np.repeat([0, 1, 2], [30, 12, 3])
    groups = np.arange(45) // 2  # two groups mix classes: they belong to the rarer one
    resampling = Bootstrap(resamples=100).plan(labels, groups)
    assert np.bincount(resampling.strata).tolist() == [2, 6, 15]
    weights = np.concatenate(list(resampling.blocks()), axis=1)
    assert weights.shape == (23, 100)
    for stratum, size in enumerate([2, 6, 15]):
        assert set(weights[resampling.strata == stratum].sum(axis=0)) == {size}
    assert len(set(weights[:, 0])) > 1


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
    # 120 data sets see a coverage of 94 % as 90 to 98 %; the script runs as many as one likes.
    found = check_intervals.coverage(
        data_sets=120, lesions=250, resamples=100, seed=1, truth_lesions=100_000
    )
    assert len(found) == len(SUMMARY_METRICS) - 1 + 3 * len(CLASS_METRICS)
    short = {name: share for name, share in found.items() if not 0.89 <= share <= 1}
    assert not short


def test_intervals_that_ignore_the_lesions_are_too_short():
    random = np.random.default_rng(0)
    covered, runs = {"by_group": 0, "by_image": 0}, 60
    for run in range(runs):
        # 60 lesions of 4 images; a lesion is easy or hard, so its images are right or wrong
        # together: the expected accuracy is 0.7.
        lesion = np.repeat(np.arange(60), 4)
        easy = (random.uniform(size=60) < 0.5)[lesion]
        right = random.uniform(size=240) < np.where(easy, 0.95, 0.45)
        labels = np.repeat(np.arange(60) % 2, 4)
        predicted = np.where(right, labels, 1 - labels)
        probabilities = np.where(np.eye(2)[predicted] == 1, 0.8, 0.2)
        for name, groups in (("by_group", lesion), ("by_image", np.arange(240))):
            entry = bootstrap_intervals(
                labels, probabilities, groups, NAMES[:2], resamples=120, seed=run
            )["accuracy"]
            covered[name] += entry["low"] <= 0.7 <= entry["high"]
    assert 0.90 <= covered["by_group"] / runs <= 0.99
    assert covered["by_image"] < 0.9 * covered["by_group"]


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
    # No resample differs from another, which is no reason to be sure of one third or one half.
    assert figures["macro_auc"] == {"value": 0.5, "low": None, "high": None, "undefined": 0}
    assert figures["accuracy"]["low"] is None
    assert figures["per_class"]["bcc"]["recall"]["low"] < 1  # of 10 groups, by the exact bound
    json.dumps(figures, allow_nan=False)
    never = figures["per_class"]["mel"]["precision"]
    assert never == {"value": None, "low": None, "high": None, "undefined": 200}


@pytest.mark.parametrize("sharp", [1.0, 50.0])
def test_the_auc_of_two_classes_has_one_interval(sharp):
    """It rests on the rarer class, whichever of both is called positive."""
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [400, 8])
    score = 1 / (1 + np.exp(-(labels * sharp + random.normal(size=408))))
    probabilities = np.stack([1 - score, score], axis=1)
    found = bootstrap_intervals(labels, probabilities, np.arange(408), NAMES[:2], resamples=200)
    common, rare = (found["per_class"][name] for name in NAMES[:2])
    for bound in ("low", "high"):
        assert common["auc"][bound] == pytest.approx(rare["auc"][bound])
        assert found["macro_auc"][bound] == pytest.approx(rare["auc"][bound])


def test_a_class_of_one_group_has_no_interval():
    labels, probabilities = predictions(images=30)
    labels[:] = np.arange(30) % 2
    labels[4] = 2
    figures = bootstrap_intervals(labels, probabilities, np.arange(30), NAMES, resamples=100)
    rare = figures["per_class"]["nv"]
    assert (rare["images"], rare["groups"]) == (1, 1)
    assert rare["recall"]["value"] is not None
    assert rare["recall"]["low"] is None
    assert rare["specificity"]["low"] is not None
    assert figures["accuracy"]["low"] is not None
    assert figures["balanced_accuracy"]["low"] is None  # a third of it never varies
    alone = bootstrap_intervals(labels[:6], probabilities[:6], labels[:6], NAMES, resamples=50)
    assert alone["accuracy"]["low"] is None  # each class has one group


def test_a_fault_in_a_class_of_one_group_may_be_left_out_of_a_resample():
    labels = np.array([0] * 20 + [1] * 17 + [2])
    probabilities = np.full((38, 3), 0.1)
    probabilities[np.arange(38), np.where(labels == 2, 0, labels)] = 0.8  # 17 of 18 are not nv
    figures = bootstrap_intervals(
        labels, probabilities, np.arange(38), ["nv", "mel", "df"], resamples=1000
    )
    found = figures["per_class"]["nv"]["specificity"]
    assert found["value"] == pytest.approx(17 / 18)
    assert found["low"] < 0.8  # Clopper and Pearson's bound for 17 of 18 is 0.73
    assert found["high"] > 0.98


def test_resamples_without_a_value_are_counted():
    labels = np.arange(30) % 2
    probabilities = np.tile([0.6, 0.4], (30, 1))
    probabilities[1] = [0.3, 0.7]  # the only one that is ever called mel
    figures = bootstrap_intervals(
        labels, probabilities, np.arange(30), ["nv", "mel"], resamples=1000
    )
    precision = figures["per_class"]["mel"]["precision"]
    # A group is missing from a resample of the n groups of its class with (1 - 1/n)^n.
    assert precision["undefined"] == pytest.approx(1000 * (14 / 15) ** 15, abs=60)


def test_a_share_of_1_has_the_exact_bound_for_its_groups():
    labels = np.arange(40) % 2
    figures = bootstrap_intervals(
        labels, np.eye(2)[labels], np.arange(40), ["nv", "mel"], resamples=100
    )
    recall = figures["per_class"]["mel"]["recall"]
    assert recall["low"] == pytest.approx(stats.binomtest(20, 20).proportion_ci().low)
    assert recall["high"] == 1
    assert figures["ece"]["value"] == 0


def test_the_interval_of_the_calibration_error_holds_it():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), 200)
    labels = (random.uniform(size=(200, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    entry = bootstrap_intervals(labels, probabilities, np.arange(200), NAMES)["ece"]
    # Calibrated as made: what 200 images show is bias, and the interval says so.
    assert 0 <= entry["low"] < 0.03
    assert entry["low"] <= entry["value"] <= entry["high"]


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
    assert figures["macro_auc"]["low"] is not None  # of the two classes that are there


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


def test_many_classes_are_counted_a_few_matrices_at_a_time(monkeypatch):
    """The figures are those of all matrices at once, to the last digit."""
    random = np.random.default_rng(0)
    labels, probabilities = random.integers(0, 9, 80), random.dirichlet(np.ones(9), 80)
    statistics = weighted_metrics.Statistics.of(labels, probabilities, np.arange(80), 80)
    weights = random.integers(0, 3, (80, 64)).astype(float)
    together = statistics.metrics(weights)
    sizes = []

    class Watched(Confusions):
        def __init__(self, matrices):
            sizes.append(len(matrices))
            super().__init__(matrices)

    monkeypatch.setattr(weighted_metrics, "Confusions", Watched)
    monkeypatch.setattr(weighted_metrics, "_MOST_CELLS", 81 * 5)
    in_parts = statistics.metrics(weights)
    assert sizes == [5] * 12 + [4]
    for kind in ("summary", "per_class"):
        for name, values in getattr(together, kind).items():
            np.testing.assert_array_equal(values, getattr(in_parts, kind)[name], err_msg=name)
