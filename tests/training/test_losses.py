import keras
import numpy as np
import pytest

from tfskin.config import read_config
from tfskin.errors import UserError
from tfskin.schema import LOSS_NAMES
from tfskin.testing import check_loss
from tfskin.training.losses import (
    LOSSES,
    CrossEntropy,
    balanced_weights,
    build_loss,
    effective_weights,
    sqrt_balanced_weights,
)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_it_is_the_formula(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(16, 5)) * 3, rng.integers(0, 5, 16)
    target = np.eye(5)[labels] * (1 - smoothing) + smoothing / 5
    expected = -(target * np.log(softmax(logits))).sum(axis=1).mean()
    assert float(CrossEntropy(smoothing)(labels, logits)) == pytest.approx(expected, rel=1e-5)


def test_without_smoothing_it_is_keras_own():
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(8, 3)).astype("float32"), rng.integers(0, 3, 8)
    keras_own = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert float(CrossEntropy()(labels, logits)) == pytest.approx(
        float(keras_own(labels, logits)), rel=1e-6
    )


def test_large_logits_stay_finite_and_float16_is_summed_in_float32():
    logits = np.array([[60000.0, -60000.0]], dtype="float16")
    assert np.isfinite(float(CrossEntropy()([1], logits)))


def test_it_is_saved_with_its_smoothing():
    loss = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(CrossEntropy(0.2))
    )
    assert loss.label_smoothing == 0.2


COUNTS = {"a": 10, "b": 40, "c": 950}


def random_batch(seed: int = 2, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, size), (rng.normal(size=(size, 3)) * 3).astype("float32")


def value(name, labels, logits, **options) -> float:
    return float(build_loss(name, counts=COUNTS, **options)(labels, logits))


def test_focal_is_the_formula_and_with_gamma_0_the_cross_entropy():
    labels, logits = random_batch()
    right = softmax(logits)[np.arange(16), labels]
    expected = -((1 - right) ** 1.5 * np.log(right)).mean()
    assert value("focal", labels, logits, focal_gamma=1.5) == pytest.approx(expected, rel=1e-4)
    plain = value("cross_entropy", labels, logits)
    assert value("focal", labels, logits, focal_gamma=0.0) == pytest.approx(plain, rel=1e-6)


def test_the_gradient_of_the_focal_loss_stays_finite_where_an_image_is_surely_right():
    logits = keras.Variable(np.array([[200.0, 0.0, 0.0]], "float32"))
    tensorflow = pytest.importorskip("tensorflow")
    with tensorflow.GradientTape() as tape:
        loss = build_loss("focal", counts=COUNTS, focal_gamma=0.5)(np.array([0]), logits)
    assert np.isfinite(tape.gradient(loss, logits.value).numpy()).all()


def test_logit_adjustment_is_the_formula_and_with_tau_0_the_cross_entropy():
    labels, logits = random_batch()
    prior = np.array([10, 40, 950]) / 1000
    shifted = softmax(logits + 0.5 * np.log(prior))
    expected = -np.log(shifted[np.arange(16), labels]).mean()
    found = value("logit_adjusted", labels, logits, logit_tau=0.5)
    assert found == pytest.approx(expected, rel=1e-5)
    plain = value("cross_entropy", labels, logits)
    assert value("logit_adjusted", labels, logits, logit_tau=0.0) == pytest.approx(plain, rel=1e-6)


def test_class_balanced_weighs_by_the_effective_number():
    labels, logits = random_batch()
    weights = np.array([(1 - 0.99) / (1 - 0.99**n) for n in COUNTS.values()])
    weights *= 3 / weights.sum()
    right = softmax(logits)[np.arange(16), labels]
    expected = -(weights[labels] * np.log(right)).mean()
    found = value("class_balanced", labels, logits, effective_beta=0.99)
    assert found == pytest.approx(expected, rel=1e-5)
    plain = value("cross_entropy", labels, logits)
    assert value("class_balanced", labels, logits, effective_beta=0.0) == pytest.approx(plain)
    inverse = 1 / np.array(list(COUNTS.values()))
    limit = effective_weights(list(COUNTS.values()), 1 - 1e-9)
    assert limit == pytest.approx(3 * inverse / inverse.sum(), rel=1e-4)


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat([0, 1, 2], list(COUNTS.values()))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights(list(COUNTS.values())) == pytest.approx(expected.tolist())
    assert np.mean(expected[labels]) == pytest.approx(1)


def test_square_root_weights_lie_between_none_and_balanced_ones():
    counts = np.array(list(COUNTS.values()))
    found = np.array(sqrt_balanced_weights(counts.tolist()))
    assert (found * counts).sum() / counts.sum() == pytest.approx(1)
    ratios = np.array(balanced_weights(counts.tolist())) / found**2
    assert ratios == pytest.approx(np.full(3, ratios[0]))  # n / (C n_c) to the power 1/2
    assert found / found.min() == pytest.approx(np.sqrt(counts.max() / counts))
    labels, logits = random_batch()
    named = dict(zip(COUNTS, found.tolist(), strict=True))
    assert value("cross_entropy", labels, logits, class_weights="sqrt_balanced") == pytest.approx(
        value("cross_entropy", labels, logits, class_weights=named)
    )


@pytest.mark.parametrize(
    "weigh", [balanced_weights, sqrt_balanced_weights, lambda n: effective_weights(n, 0.999)]
)
def test_a_class_without_images_changes_no_other_weight(weigh):
    first, second = weigh([6000, 500])
    assert weigh([6000, 0, 500]) == pytest.approx([first, 0, second])


def test_weights_of_mixed_images_are_those_of_their_classes_by_share():
    _, logits = random_batch()
    shares = np.random.default_rng(4).dirichlet([1, 1, 1], 16).astype("float32")
    weights = np.array([3.0, 1.0, 0.25])
    for name in ("cross_entropy", "focal", "logit_adjusted"):
        single = [value(name, shares[i : i + 1], logits[i : i + 1]) for i in range(16)]
        found = value(name, shares, logits, class_weights={"a": 3.0, "c": 0.25})
        assert found == pytest.approx((shares @ weights * single).mean(), rel=1e-5)


def test_mixed_images_have_the_formulas_of_their_shares():
    _, logits = random_batch()
    shares = np.random.default_rng(4).dirichlet([1, 1, 1], 16).astype("float32")
    found = softmax(logits)
    expected = -(shares * (1 - found) ** 2 * np.log(found)).sum(axis=1).mean()
    assert value("focal", shares, logits, focal_gamma=2.0) == pytest.approx(expected, rel=1e-4)
    shifted = softmax(logits + np.log(np.array([10, 40, 950]) / 1000))
    expected = -(shares * np.log(shifted)).sum(axis=1).mean()
    assert value("logit_adjusted", shares, logits) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "class_balanced"])
def test_class_weights_multiply_the_loss_of_their_images(name):
    labels, logits = random_batch()
    weights = np.array([3.0, 1.0, 0.25])
    single = [value(name, labels[i : i + 1], logits[i : i + 1]) for i in range(16)]
    found = value(name, labels, logits, class_weights={"a": 3.0, "c": 0.25})
    assert found == pytest.approx((weights[labels] * single).mean(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_shares_of_one_class_are_its_label_and_mixed_ones_lie_between(name, smoothing):
    labels, logits = random_batch()
    options = {"label_smoothing": smoothing}
    whole = value(name, labels, logits, **options)
    shares = np.eye(3, dtype="float32")[labels]
    assert value(name, shares, logits, **options) == pytest.approx(whole, rel=1e-6)
    if name == "cross_entropy":
        others = np.roll(shares, 1, axis=0)
        mixed = value(name, 0.7 * shares + 0.3 * others, logits, **options)
        other = value(name, others, logits, **options)
        assert mixed == pytest.approx(0.7 * whole + 0.3 * other, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_keeps_the_contract(name):
    check_loss(name)


def test_the_config_knows_every_loss():
    assert tuple(LOSSES) == LOSS_NAMES, "write LOSS_NAMES in tfskin/schema.py as LOSSES stands"
    with pytest.raises(UserError, match=r"train.loss: no loss 'focall' .did you mean 'focal'"):
        read_config(None, ["train.loss=focall"])
    assert read_config(None, ["train.loss='mine:build'"]).train.loss == "mine:build"


def test_an_option_that_a_loss_does_not_take_is_named():
    with pytest.raises(UserError, match=r"^train.loss_options: loss 'focal' takes no 'gama'"):
        build_loss("focal", counts=COUNTS, options={"gama": 1})
    with pytest.raises(UserError, match=r"takes no 'x'; it takes: .*focal_gamma"):
        build_loss("focal", counts=COUNTS, options={"x": 1})
    with pytest.raises(UserError, match=r"did you mean 'focal_gamma'"):
        build_loss("focal", counts=COUNTS, options={"focal_gama": 1})
    with pytest.raises(UserError, match=r"a space after the colon"):
        build_loss("focal", counts=COUNTS, options={"focal_gamma:2": None})
    assert build_loss("focal", counts=COUNTS, options={"focal_gamma": 1.0}).gamma == 1.0


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_saved_whole(name):
    labels, logits = random_batch()
    loss = build_loss(name, counts=COUNTS, label_smoothing=0.1, focal_gamma=3.0, logit_tau=0.3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(labels, logits)) == float(loss(labels, logits))
