import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from tfskin.training.metrics import ConfusionMatrix, MacroAUC


def batches(seed):
    rng = np.random.default_rng(seed)
    for size in (7, 16, 1):
        labels = rng.integers(0, 3, size)
        yield labels, rng.normal(size=(size, 3)).astype("float32") + 2 * np.eye(3)[labels]


def test_confusion_matrix_over_batches_is_scikit_learns():
    metric = ConfusionMatrix(3)
    labels, logits = [], []
    for truth, out in batches(0):
        metric.update_state(truth, out)
        labels.append(truth)
        logits.append(out)
    truth, found = np.concatenate(labels), np.concatenate(logits).argmax(axis=1)
    assert (metric.matrix() == confusion_matrix(truth, found)).all()
    assert float(metric.result()) == pytest.approx((truth == found).mean())
    metric.reset_state()
    assert metric.matrix().sum() == 0


def test_macro_auc_is_close_to_the_exact_one():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 600)
    logits = rng.normal(size=(600, 3)).astype("float32") + 1.5 * np.eye(3)[labels]
    metric = MacroAUC(3)
    metric.update_state(labels[:300], logits[:300])
    metric.update_state(labels[300:], logits[300:])
    powers = np.exp(logits)
    exact = roc_auc_score(labels, powers / powers.sum(axis=1, keepdims=True), multi_class="ovr")
    assert float(metric.result()) == pytest.approx(exact, abs=0.005)


def test_a_class_without_images_is_left_out_of_the_mean():
    metric = MacroAUC(3)
    metric.update_state(np.array([0, 1]), 20 * np.eye(3)[[0, 1]].astype("float32"))
    assert float(metric.result()) == pytest.approx(1.0)
    metric.reset_state()
    metric.update_state(np.array([2, 2]), np.eye(3)[[0, 1]].astype("float32"))
    assert float(metric.result()) == 0.0


@pytest.mark.parametrize("metric", [ConfusionMatrix(3), MacroAUC(3)])
def test_a_mixed_image_counts_for_the_class_with_most_of_it(metric):
    for labels, logits in batches(2):
        metric.update_state(labels, logits)
    expected = np.array(metric.result())
    metric.reset_state()
    for labels, logits in batches(2):
        metric.update_state(0.7 * np.eye(3)[labels] + 0.1, logits)
    assert np.array(metric.result()) == expected
