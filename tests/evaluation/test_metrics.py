"""Every figure against scikit-learn, and what happens where a figure has no value."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from tfskin.evaluation.metrics import (
    CLASS_FIGURES,
    SUMMARY_FIGURES,
    compute_metrics,
    confusion_matrix,
    metrics_from_confusion,
    weighted_auc,
)

NAMES = ["akiec", "bcc", "mel", "nv"]


def predictions(*, images=300, classes=4, seed=0, decimals=None):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    probabilities = random.dirichlet(np.ones(classes), images) + 0.3 * np.eye(classes)[labels]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    if decimals is not None:
        # Whole tenths that still sum to 1: many ties.
        probabilities = np.floor(probabilities * 10**decimals) / 10**decimals
        probabilities[:, 0] += 1 - probabilities.sum(axis=1)
    return labels, probabilities


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_every_figure_equals_scikit_learns(classes, decimals):
    labels, probabilities = predictions(classes=classes, decimals=decimals)
    names = NAMES[:classes]
    figures = compute_metrics(labels, probabilities, names)
    predicted = probabilities.argmax(axis=1)
    assert figures["images"] == 300
    assert figures["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert figures["balanced_accuracy"] == pytest.approx(
        sk.balanced_accuracy_score(labels, predicted)
    )
    assert figures["macro_f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert figures["log_loss"] == pytest.approx(sk.log_loss(labels, probabilities))
    areas = [sk.roc_auc_score(labels == c, probabilities[:, c]) for c in range(classes)]
    assert figures["macro_auc"] == pytest.approx(np.mean(areas))
    if classes > 2:
        theirs = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
        assert figures["macro_auc"] == pytest.approx(theirs)
    precision, recall, f1, support = sk.precision_recall_fscore_support(labels, predicted)
    for c, name in enumerate(names):
        mine = figures["per_class"][name]
        assert mine["images"] == support[c]
        assert mine["precision"] == pytest.approx(precision[c])
        assert mine["recall"] == pytest.approx(recall[c])
        assert mine["f1"] == pytest.approx(f1[c])
        assert mine["auc"] == pytest.approx(areas[c])
        specificity = sk.recall_score(labels != c, predicted != c)
        assert mine["specificity"] == pytest.approx(specificity)
    assert figures["left_out"] == {"balanced_accuracy": [], "macro_f1": [], "macro_auc": []}


def test_a_class_without_images_has_no_recall_and_is_left_out_of_the_averages():
    labels, probabilities = predictions()
    probabilities, labels = probabilities[labels != 2], labels[labels != 2]
    probabilities[:, 2] = 0
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    figures = compute_metrics(labels, probabilities, NAMES)
    mel = figures["per_class"]["mel"]
    assert mel["images"] == 0
    assert [mel[key] for key in ("precision", "recall", "f1", "auc")] == [None] * 4
    assert mel["specificity"] == 1
    left_out = ["mel"]
    assert figures["left_out"] == dict.fromkeys(
        ("balanced_accuracy", "macro_f1", "macro_auc"), left_out
    )
    predicted = probabilities.argmax(axis=1)
    recalls = sk.recall_score(labels, predicted, labels=[0, 1, 3], average=None)
    assert figures["balanced_accuracy"] == pytest.approx(recalls.mean())
    assert figures["macro_f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    json.dumps(figures, allow_nan=False)


def test_an_absent_class_that_is_predicted_counts_in_macro_f1_as_in_scikit_learn():
    labels = np.array([0, 0, 1, 1])
    probabilities = np.eye(3)[[0, 2, 1, 1]]
    figures = compute_metrics(labels, probabilities, NAMES[:3])
    assert figures["per_class"]["mel"]["f1"] == 0
    assert figures["per_class"]["mel"]["precision"] == 0
    assert figures["macro_f1"] == pytest.approx(
        sk.f1_score(labels, probabilities.argmax(axis=1), average="macro")
    )
    assert figures["left_out"]["balanced_accuracy"] == ["mel"]


def test_constant_predictions_choose_the_first_class_and_have_an_auc_of_one_half():
    figures = compute_metrics([0, 1, 2, 3], np.full((4, 4), 0.25), NAMES)
    assert figures["accuracy"] == 0.25
    assert figures["macro_auc"] == 0.5
    assert figures["per_class"]["akiec"]["recall"] == 1
    assert figures["per_class"]["bcc"]["precision"] is None
    assert figures["log_loss"] == pytest.approx(np.log(4))


def test_images_of_one_class_only():
    figures = compute_metrics([1, 1], [[0.2, 0.8], [0.6, 0.4]], ["benign", "malignant"])
    assert figures["macro_auc"] is None
    assert figures["left_out"]["macro_auc"] == ["benign", "malignant"]
    assert figures["per_class"]["malignant"]["specificity"] is None
    assert figures["balanced_accuracy"] == 0.5


def test_a_certain_mistake_costs_a_finite_log_loss():
    figures = compute_metrics([0, 1], [[0.0, 1.0], [0.0, 1.0]], ["benign", "malignant"])
    assert figures["log_loss"] == pytest.approx(-np.log(np.finfo(float).eps) / 2)


@pytest.mark.parametrize(
    ("labels", "probabilities", "names", "message"),
    [
        ([0], [[0.5, 0.6]], NAMES[:2], "row 0 sum to 1.1, not 1"),
        ([0, 1], [[0.5, 0.5], [np.nan, 1]], NAMES[:2], "row 1 are not finite"),
        ([0], [[2.0, -1.0]], NAMES[:2], "row 0 are below 0"),
        ([0], [[0.5, 0.5]], NAMES[:3], r"expected \(N, 3\)"),
        ([0], [0.5, 0.5], NAMES[:2], "one row an image"),
        ([[0]], [[0.5, 0.5]], NAMES[:2], r"expected \(N,\)"),
        ([0.0], [[0.5, 0.5]], NAMES[:2], "expected integers"),
        ([0, 2], [[0.5, 0.5]] * 2, NAMES[:2], r"0..1, but row 1 is 2"),
        ([0, 1], [[0.5, 0.5]], NAMES[:2], "2 labels for 1 rows"),
        ([], np.empty((0, 2)), NAMES[:2], "no images"),
        ([0], [[1.0]], ["mel"], "at least two different class names"),
        ([0], [[0.5, 0.5]], ["mel", "mel"], "at least two different class names"),
    ],
)
def test_what_is_no_prediction_is_refused(labels, probabilities, names, message):
    with pytest.raises(ValueError, match=message):
        compute_metrics(labels, probabilities, names)


def test_confusion_matrix_equals_scikit_learns():
    labels, probabilities = predictions()
    predicted = probabilities.argmax(axis=1)
    mine = confusion_matrix(labels, predicted, 5)
    np.testing.assert_array_equal(mine, sk.confusion_matrix(labels, predicted, labels=range(5)))
    with pytest.raises(ValueError, match=r"predicted classes lie in 0..2"):
        confusion_matrix([0, 1], [0, 3], 3)
    with pytest.raises(ValueError, match="300 labels for 299"):
        confusion_matrix(labels, predicted[1:], 4)


def test_figures_of_a_confusion_matrix_are_those_of_its_predictions():
    labels, probabilities = predictions()
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), 4)
    expected = compute_metrics(labels, probabilities, NAMES)
    figures = metrics_from_confusion(matrix, NAMES)
    for name in ("images", "accuracy", "balanced_accuracy", "macro_f1"):
        assert figures[name] == pytest.approx(expected[name])
    for name in NAMES:
        del expected["per_class"][name]["auc"]
    assert figures["per_class"] == expected["per_class"]
    assert figures["left_out"] == {"balanced_accuracy": [], "macro_f1": []}


def test_an_empty_confusion_matrix_has_no_figures():
    figures = metrics_from_confusion(np.zeros((2, 2)), NAMES[:2])
    assert [figures[k] for k in ("accuracy", "balanced_accuracy", "macro_f1")] == [None] * 3


@pytest.mark.parametrize("bad", [np.ones((2, 3)), [[1, -1], [0, 1]], [[0.5, 1], [0, 1]]])
def test_what_is_no_confusion_matrix_is_refused(bad):
    with pytest.raises(ValueError, match="confusion matrix"):
        metrics_from_confusion(bad, NAMES[:2])


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=25
    )
)
def test_weighted_auc_equals_scikit_learns_ties_and_zero_weights_included(rows):
    positive, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    area = weighted_auc(positive, scores / 4, weights[:, None].astype(float))[0]
    if weights[positive].sum() == 0 or weights[~positive].sum() == 0:
        assert np.isnan(area)
    else:
        theirs = sk.roc_auc_score(positive, scores, sample_weight=weights)
        assert area == pytest.approx(theirs, abs=1e-12)


def test_the_figures_are_the_documented_ones():
    labels, probabilities = predictions()
    figures = compute_metrics(labels, probabilities, NAMES)
    assert set(figures) == {"images", *SUMMARY_FIGURES, "per_class", "left_out"}
    assert set(figures["per_class"]["mel"]) == {"images", *CLASS_FIGURES}
