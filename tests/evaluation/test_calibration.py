"""Isotonic maps: scikit-learn's, the same formula in a graph, and no worse on held-out data."""

import keras
import numpy as np
from sklearn.isotonic import IsotonicRegression

from tfskin.evaluation.calibration import (
    Calibration,
    calibrate,
    cross_calibrate,
    fit_isotonic,
    reliability,
    softmax,
)
from tfskin.evaluation.metrics import compute_metrics

NAMES = ["bcc", "mel", "nv"]


def overconfident(images, seed):
    """Labels drawn from probabilities, and those probabilities made far too sure."""
    random = np.random.default_rng(seed)
    true = random.dirichlet([0.5, 1, 2], images)
    labels = (random.random((images, 1)) > true.cumsum(axis=1)).sum(axis=1)
    sure = true**3
    return labels, sure / sure.sum(axis=1, keepdims=True)


def test_knots_are_the_levels_of_scikit_learn_at_their_mean_score():
    labels, probabilities = overconfident(400, 0)
    fitted = fit_isotonic(labels, probabilities, NAMES)
    for c, name in enumerate(NAMES):
        x, y = (np.array(getattr(fitted.classes[name], key)) for key in "xy")
        assert np.all(np.diff(x) >= 1e-3)
        assert np.all(np.diff(y) >= 0)
        levels = IsotonicRegression().fit_transform(probabilities[:, c], labels == c)
        blocks = {level: probabilities[levels == level, c].mean() for level in np.unique(levels)}
        apart = [
            (centre, level)
            for level, centre in blocks.items()
            if min(abs(centre - other) for other in blocks.values() if other != centre) > 2e-3
        ]
        assert len(apart) >= 3
        expected = np.clip([level for _, level in apart], 1 / 402, 401 / 402)
        np.testing.assert_allclose(np.interp([c for c, _ in apart], x, y), expected, atol=1e-12)


def test_calibration_helps_on_images_that_it_has_not_seen():
    labels, probabilities = overconfident(600, 0)
    fitted = fit_isotonic(labels, probabilities, NAMES)
    labels, probabilities = overconfident(2000, 1)
    before = compute_metrics(labels, probabilities, NAMES)
    after = compute_metrics(labels, calibrate(probabilities, fitted, NAMES), NAMES)
    assert after["ece"] < before["ece"] / 2
    assert after["log_loss"] < before["log_loss"]


def test_a_graph_gives_the_same_numbers():
    labels, probabilities = overconfident(300, 0)
    fitted = fit_isotonic(labels, probabilities, NAMES)
    given = keras.ops.convert_to_tensor(probabilities.astype("float32"))
    found = keras.ops.convert_to_numpy(calibrate(given, fitted, NAMES, ops=keras.ops))
    np.testing.assert_allclose(found, calibrate(probabilities, fitted, NAMES), atol=1e-4)


def test_a_class_without_images_and_constant_scores_stay_probabilities():
    labels = np.array([0, 1] * 10)
    for probabilities in (np.full((20, 3), 1 / 3), np.tile([0.5, 0.5, 0.0], (20, 1))):
        fitted = fit_isotonic(labels, probabilities, NAMES)
        found = calibrate(np.eye(3), fitted, NAMES)
        assert np.all(np.isfinite(found))
        np.testing.assert_allclose(found.sum(axis=1), 1)


def test_scores_that_differ_in_the_last_digit_only():
    """What a sure network gives: several probabilities within 1e-15 of 1."""
    sure = [1.0, 1 - 2e-16, 1 - 4e-16, 0.7, 0.4, 0.1, 0.6, 0.2]
    probabilities = np.array([[p, 1 - p] for p in sure])
    fitted = fit_isotonic([0, 1, 0, 0, 1, 1, 0, 1], probabilities, ["mel", "nv"])
    found = calibrate(probabilities, fitted, ["mel", "nv"])
    assert np.all(np.isfinite(found))
    assert found[:3, 0].min() >= found[3:, 0].max()


def test_cross_fitting_never_uses_an_images_own_group():
    labels, probabilities = overconfident(200, 0)
    groups = np.arange(200) // 4
    found = cross_calibrate(labels, probabilities, groups, NAMES)
    changed = labels.copy()
    changed[:4] = (changed[:4] + 1) % 3  # all of the first group
    again = cross_calibrate(changed, probabilities, groups, NAMES)
    np.testing.assert_allclose(again[:4], found[:4])
    assert not np.allclose(again[4:], found[4:])


def test_without_isotonic_maps_probabilities_stay():
    probabilities = np.full((1, 2), 0.5)
    assert calibrate(probabilities, None, NAMES) is probabilities
    assert calibrate(probabilities, Calibration(method="temperature"), NAMES) is probabilities


def test_reliability_bins_hold_equally_many_images():
    scores = np.linspace(0, 1, 100)
    bins = reliability(scores > 0.5, scores)
    assert [entry["images"] for entry in bins] == [10] * 10
    assert [entry["observed"] for entry in bins] == [0] * 5 + [1] * 5
    assert len(reliability(np.array([True]), np.array([0.5]))) == 1


def test_softmax_is_a_softmax():
    logits = np.array([[1000.0, 1001.0], [0.0, 0.0]])
    found = softmax(logits, temperature=2.0)
    np.testing.assert_allclose(found[0], [1 / (1 + np.exp(0.5)), 1 / (1 + np.exp(-0.5))])
    np.testing.assert_array_equal(found[1], [0.5, 0.5])
