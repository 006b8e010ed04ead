"""Every figure against scikit-learn, and what happens where a figure has no value."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from tfskin.evaluation.metric_table import AVERAGES
from tfskin.evaluation.metrics import (
    CLASS_METRICS,
    SUMMARY_METRICS,
    compute_metrics,
    confusion_matrix,
    metrics_from_confusion,
)
from tfskin.evaluation.sums import Ranking
from tfskin.evaluation.weighted_metrics import ranking_metrics, weighted_metrics

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
    assert figures["kappa"] == pytest.approx(sk.cohen_kappa_score(labels, predicted))
    assert figures["mcc"] == pytest.approx(sk.matthews_corrcoef(labels, predicted))
    assert figures["brier"] == pytest.approx(
        np.mean(((probabilities - np.eye(classes)[labels]) ** 2).sum(axis=1))
    )
    for k in (2, 3):
        mine = figures[f"top{k}_accuracy"]
        if classes <= k:
            assert mine is None
        elif decimals is None:  # with ties scikit-learn prefers the last class, argmax the first
            expected = sk.top_k_accuracy_score(labels, probabilities, k=k)
            assert mine == pytest.approx(expected)
    precision, recall, f1, support = sk.precision_recall_fscore_support(labels, predicted)
    for c, name in enumerate(names):
        mine = figures["per_class"][name]
        assert mine["images"] == support[c]
        assert mine["precision"] == pytest.approx(precision[c])
        assert mine["recall"] == pytest.approx(recall[c])
        assert mine["f1"] == pytest.approx(f1[c])
        assert mine["auc"] == pytest.approx(areas[c])
        expected = sk.average_precision_score(labels == c, probabilities[:, c])
        assert mine["average_precision"] == pytest.approx(expected)
        expected = partial_auc(labels == c, probabilities[:, c])
        assert mine["partial_auc"] == pytest.approx(expected, abs=1e-12)
        specificity = sk.recall_score(labels != c, predicted != c)
        assert mine["specificity"] == pytest.approx(specificity)
    assert not any(figures["left_out"].values())


def partial_auc(positive, scores):
    """The organisers' formula of ISIC 2024: labels and scores turned over, then McClish undone."""
    turned = sk.roc_auc_score(~positive, -scores, max_fpr=0.2)
    return 0.02 + (0.2 - 0.02) * (2 * turned - 1)


def test_ece_is_the_gap_between_confidence_and_accuracy_in_15_bins():
    labels, probabilities = predictions()
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected = 0.0
    for b in range(15):
        inside = (confidence >= b / 15) & (confidence < (b + 1) / 15)
        if inside.any():
            gap = abs(confidence[inside].mean() - right[inside].mean())
            expected += inside.mean() * gap
    assert compute_metrics(labels, probabilities, NAMES)["ece"] == pytest.approx(expected)


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
    assert set(figures["left_out"]) == set(AVERAGES)
    assert all(names == left_out for names in figures["left_out"].values())
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
    for name in ("images", "accuracy", "balanced_accuracy", "macro_f1", "kappa", "mcc"):
        assert figures[name] == pytest.approx(expected[name])
    for name in NAMES:
        for figure in ("auc", "average_precision", "partial_auc"):
            del expected["per_class"][name][figure]
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
def test_ranking_figures_equal_scikit_learns_ties_and_zero_weights_included(rows):
    positive, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    ranking = Ranking.of(positive, scores / 4, np.arange(len(rows)), len(rows))
    both = np.stack([weights, np.ones(len(rows))], axis=1).astype(float)
    figures = ranking_metrics(ranking, both)
    if weights[positive].sum() == 0 or weights[~positive].sum() == 0:
        assert all(np.isnan(values[0]) for values in figures.values())
    else:
        given = {"sample_weight": weights}
        area = sk.roc_auc_score(positive, scores, **given)
        average = sk.average_precision_score(positive, scores, **given)
        turned = sk.roc_auc_score(~positive, -scores, max_fpr=0.2, **given)
        assert figures["auc"][0] == pytest.approx(area, abs=1e-12)
        assert figures["average_precision"][0] == pytest.approx(average, abs=1e-12)
        assert figures["partial_auc"][0] == pytest.approx(0.02 + 0.18 * (2 * turned - 1), abs=1e-12)


def test_constant_predictions_have_no_mcc_and_no_kappa_beyond_chance():
    figures = compute_metrics([0, 1, 1], np.tile([0.6, 0.4], (3, 1)), NAMES[:2])
    assert figures["mcc"] is None
    assert figures["kappa"] == 0
    assert compute_metrics([0, 0], np.tile([0.6, 0.4], (2, 1)), NAMES[:2])["kappa"] is None


def test_weights_are_repetitions():
    labels, probabilities = predictions(images=40)
    weights = np.random.default_rng(1).integers(0, 4, (40, 20))
    figures = weighted_metrics(labels, probabilities, weights.astype(float))
    for r in range(20):
        rows = np.repeat(np.arange(40), weights[:, r])
        expected = compute_metrics(labels[rows], probabilities[rows], NAMES)
        for name in SUMMARY_METRICS:
            assert figures.summary[name][r] == pytest.approx(expected[name])
        for c, name in enumerate(NAMES):
            for figure in CLASS_METRICS:
                value = expected["per_class"][name][figure]
                mine = figures.per_class[figure][r, c]
                assert np.isnan(mine) if value is None else mine == pytest.approx(value)


def test_the_figures_are_the_documented_ones():
    labels, probabilities = predictions()
    figures = compute_metrics(labels, probabilities, NAMES)
    assert set(figures) == {"images", *SUMMARY_METRICS, "per_class", "left_out"}
    assert set(figures["per_class"]["mel"]) == {"images", *CLASS_METRICS}
