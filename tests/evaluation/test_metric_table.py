"""One row is all that a new metric takes."""

import json

import numpy as np
import pytest

from tfskin.evaluation import metric_table
from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.comparison import compare_predictions
from tfskin.evaluation.intervals import metric_intervals
from tfskin.evaluation.metric_table import (
    METRICS,
    SHOWN,
    SHOWN_OF_CLASSES,
    Metric,
    class_metrics_shown,
    metrics_of,
    metrics_shown,
)
from tfskin.evaluation.metrics import compute_metrics
from tfskin.evaluation.predictions import Predictions

NAMES = ["bcc", "mel", "nv"]


def predictions():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    return Predictions.of(labels, random.dirichlet(np.ones(3), 60), NAMES, malignant=["mel"])


@pytest.mark.parametrize("of", METRICS)
def test_a_name_stands_once_in_its_part_of_the_table(of):
    names = [metric.name for metric in METRICS[of]]
    assert len(names) == len(set(names))


def test_a_row_rests_on_what_its_part_of_the_table_knows():
    assert {metric.rests_on for metric in metrics_of("summary")} <= {"images", "every class"}
    assert {metric.rests_on for metric in metrics_of("class")} <= {"images", "others", "rarer"}


def test_short_tables_name_metrics_that_there_are():
    for place, names in SHOWN.items():
        assert tuple(metric.name for metric in metrics_shown(place)) == names
    for place, names in SHOWN_OF_CLASSES.items():
        assert tuple(metric.name for metric in class_metrics_shown(place)) == names


def own_probability(labels, probabilities):
    return probabilities[np.arange(len(labels)), labels]


def test_a_row_is_enough_for_a_metric_of_images(monkeypatch):
    row = Metric("own", "Probability of the true class", "images", own_probability)
    more = {**METRICS, "summary": (*METRICS["summary"], row)}
    monkeypatch.setattr(metric_table, "METRICS", more)
    one = predictions()
    mean = one.probabilities[np.arange(60), one.labels].mean()
    assert compute_metrics(one.labels, one.probabilities, NAMES)["own"] == pytest.approx(mean)
    bootstrap = Bootstrap(resamples=50)
    entry = metric_intervals(one, bootstrap)["own"]
    assert entry["value"] == pytest.approx(mean)
    assert entry["low"] < mean < entry["high"]
    (pair,) = compare_predictions({"a": one, "b": one}, bootstrap)
    assert pair["figures"]["own"]["value"] == 0


def test_a_row_is_enough_for_a_metric_of_classes_and_one_for_its_average(monkeypatch):
    best = Metric("best", "Best true positive rate", "ranking", lambda r: r.reached[-1] * 0 + 1)
    average = Metric("macro_best", "Macro best", "average", averages="best")
    more = {
        **METRICS,
        "class": (*METRICS["class"], best),
        "summary": (*METRICS["summary"], average),
    }
    monkeypatch.setattr(metric_table, "METRICS", more)
    found = metric_intervals(predictions(), Bootstrap(resamples=50))
    assert [found["per_class"][name]["best"]["value"] for name in NAMES] == [1, 1, 1]
    assert found["macro_best"]["value"] == 1
    json.dumps(found, allow_nan=False)
