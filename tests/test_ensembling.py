"""Members become one: by formulas on arrays, and as one Keras model."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from tfskin import ensembling
from tfskin.ensembling import (
    Combiner,
    as_float32,
    build_ensemble,
    combine,
    fit_combiner,
    fit_temperature,
)
from tfskin.errors import UserError

# TensorFlow 2.21's variables under NumPy 2.4, seen when Keras saves them.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

METHODS = ("mean_probabilities", "mean_logits", "weights", "stacking")


def simulate(*, images=400, classes=3, noise=(0.5, 1.5, 3.0), scale=1.0, seed=0):
    """Members that see the true logits through noise, and labels drawn from those logits."""
    random = np.random.default_rng(seed)
    truth = 2 * random.normal(size=(images, classes))
    labels = np.array([random.choice(classes, p=p) for p in softmax(truth, axis=1)])
    members = [truth + n * random.normal(size=truth.shape) for n in noise]
    return softmax(scale * np.array(members), axis=2), labels


def nll(probabilities, labels):
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def build_member(*, name, seed, size=16, classes=3, dtype="float32"):
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, dtype=dtype)(image)
    x = keras.layers.Conv2D(4, 3, dtype=dtype)(x)
    x = keras.layers.BatchNormalization(dtype=dtype)(x)
    block = [keras.Input(x.shape[1:]), keras.layers.Conv2D(4, 3, activation="relu", dtype=dtype)]
    x = keras.Sequential(block, name="block")(x)
    x = keras.layers.GlobalAveragePooling2D(dtype=dtype)(x)
    logits = keras.layers.Dense(classes, name="logits", dtype="float32")(x)
    model = keras.Model(image, logits, name=name)
    random = np.random.default_rng(seed)
    model.set_weights([w + 0.3 * abs(random.normal(size=w.shape)) for w in model.get_weights()])
    return model


def images(count=5, size=16, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (count, size, size, 3)).astype("float32")


def probabilities_of(model, batch):
    return softmax(np.asarray(model.predict(batch, verbose=0), dtype=np.float64), axis=1)


class TestCombiner:
    @pytest.mark.parametrize("method", METHODS)
    def test_is_the_same_after_json(self, method):
        members, labels = simulate(images=60)
        combiner = fit_combiner(members, labels, method=method, temperature=True)
        assert Combiner.from_dict(json.loads(json.dumps(combiner.to_dict()))) == combiner
        assert combiner.num_members == 3

    @pytest.mark.parametrize(
        "bad",
        [
            {"method": "median", "weights": (1.0,)},
            {"method": "weights", "weights": (0.7, 0.7)},
            {"method": "weights", "weights": (1.5, -0.5)},
            {"method": "weights"},
            {"method": "stacking"},
            {"method": "weights", "weights": (1.0,), "temperature": 0.0},
        ],
    )
    def test_refuses_what_is_no_combiner(self, bad):
        with pytest.raises(ValueError, match=r"unknown method|weights|stacking|temperature"):
            Combiner(**bad)


class TestCombine:
    def test_mean_of_probabilities(self):
        members, labels = simulate()
        combiner = fit_combiner(members, labels, method="mean_probabilities", temperature=False)
        np.testing.assert_allclose(combine(combiner, members), members.mean(axis=0), atol=1e-6)

    def test_mean_of_logits_is_the_normalised_geometric_mean(self):
        members, labels = simulate()
        combiner = fit_combiner(members, labels, method="mean_logits", temperature=False)
        geometric = np.prod(np.maximum(members, 1e-7), axis=0) ** (1 / 3)
        expected = geometric / geometric.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(combine(combiner, members), expected, atol=1e-6)

    @pytest.mark.parametrize("method", ["mean_probabilities", "mean_logits", "weights"])
    def test_equal_members_are_the_member(self, method):
        members, labels = simulate(noise=(1.0,))
        members = np.repeat(members, 3, axis=0)
        combiner = fit_combiner(members, labels, method=method, temperature=False)
        np.testing.assert_allclose(combine(combiner, members), members[0], atol=1e-6)

    @pytest.mark.parametrize("method", METHODS)
    def test_rows_sum_to_one_even_for_certain_members(self, method):
        members, labels = simulate(images=80, scale=50.0)
        combiner = fit_combiner(members, labels, method=method, temperature=True)
        mixed = combine(combiner, members)
        assert mixed.shape == (80, 3)
        np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-12)
        assert mixed.min() > 0

    def test_refuses_another_number_of_members_and_logits(self):
        members, labels = simulate(images=20)
        combiner = fit_combiner(members, labels, method="mean_logits")
        with pytest.raises(ValueError, match="2 members for a combiner of 3"):
            combine(combiner, members[:2])
        with pytest.raises(ValueError, match="logits\\?"):
            combine(combiner, np.log(members))
        with pytest.raises(ValueError, match=r"expected \(M, N, C\)"):
            combine(combiner, members[0])


class TestWeights:
    @pytest.mark.parametrize("seed", range(5))
    def test_are_the_optimum_on_the_simplex(self, seed):
        members, labels = simulate(seed=seed)
        weights = np.array(
            fit_combiner(members, labels, method="weights", temperature=False).weights
        )
        assert weights.min() >= 0
        assert weights.sum() == pytest.approx(1, abs=1e-12)
        right = members[:, np.arange(len(labels)), labels]
        loss = -np.log(weights @ right).mean()
        assert loss <= -np.log(right).mean(axis=1).min()
        assert loss <= -np.log(right.mean(axis=0)).mean()
        others = np.random.default_rng(seed).dirichlet(np.ones(3), 5000)
        assert loss <= -np.log(others @ right).mean(axis=1).min() + 1e-9

    def test_give_everything_to_a_member_that_is_always_better(self):
        labels = np.array([0, 1, 2, 0])
        good = np.full((4, 3), 0.05)
        good[np.arange(4), labels] = 0.9
        members = np.stack([np.full((4, 3), 1 / 3), good])
        combiner = fit_combiner(members, labels, method="weights", temperature=False)
        assert combiner.weights == (0.0, 1.0)


class TestTemperature:
    def test_is_one_for_calibrated_logits(self):
        random = np.random.default_rng(0)
        logits = 2 * random.normal(size=(5000, 4))
        labels = np.array([random.choice(4, p=p) for p in softmax(logits, axis=1)])
        assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.05)
        assert fit_temperature(3 * logits, labels) == pytest.approx(3, abs=0.15)

    def test_is_where_the_loss_is_flat(self):
        members, labels = simulate(noise=(1.0,))
        logits = np.log(members[0])
        best = fit_temperature(logits, labels)

        def loss(temperature):
            return -log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean()

        assert loss(best) <= min(loss(best * 1.01), loss(best / 1.01), loss(1.0))

    def test_of_perfect_logits_is_the_bound(self):
        assert fit_temperature([[5.0, 0.0], [0.0, 5.0]], [0, 1]) == pytest.approx(0.1)

    def test_of_logits_that_say_nothing_is_one(self):
        assert fit_temperature(np.zeros((4, 2)), [0, 1, 0, 1]) == 1.0

    @pytest.mark.parametrize("method", METHODS)
    def test_never_raises_the_loss_and_keeps_the_order(self, method):
        members, labels = simulate(scale=3.0)
        plain = fit_combiner(members, labels, method=method, temperature=False)
        scaled = fit_combiner(members, labels, method=method, temperature=True)
        before, after = combine(plain, members), combine(scaled, members)
        assert nll(after, labels) <= nll(before, labels) + 1e-9
        np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))

    def test_refuses_infinite_logits(self):
        with pytest.raises(ValueError, match="finite"):
            fit_temperature([[np.inf, 0.0]], [0])


class TestStacking:
    @pytest.mark.parametrize("penalty", [1.0, 100.0])
    def test_is_scikit_learns_regression_when_the_target_is_zero(self, penalty, monkeypatch):
        # At an infinite temperature the target is 0, where scikit-learn's ridge pulls to.
        members, labels = simulate(noise=(0.5, 1.5))
        monkeypatch.setattr(ensembling, "STACKING_PENALTIES", (penalty,))
        monkeypatch.setattr(ensembling, "fit_temperature", lambda logits, labels: np.inf)
        combiner = fit_combiner(members, labels, method="stacking", temperature=False)
        logs = np.log(members)
        centred = np.concatenate(list(logs - logs.mean(axis=2, keepdims=True)), axis=1)
        features = np.column_stack([centred, np.ones(len(labels))])
        theirs = LogisticRegression(C=1 / penalty, fit_intercept=False, tol=1e-8, max_iter=5000)
        expected = theirs.fit(features, labels).predict_proba(features)
        np.testing.assert_allclose(combine(combiner, members), expected, atol=1e-4)

    @pytest.mark.parametrize("images", [60, 400])
    def test_is_no_worse_than_the_mean_of_logits_where_it_was_not_fitted(self, images):
        members, labels = simulate(images=images + 2000, classes=5)
        fitted = [
            fit_combiner(members[:, :images], labels[:images], method=method)
            for method in ("mean_logits", "stacking")
        ]
        mean, stacking = (nll(combine(c, members[:, images:]), labels[images:]) for c in fitted)
        assert stacking < 1.01 * mean

    def test_mends_a_member_that_mixes_two_classes_up(self):
        members, labels = simulate(images=1000, noise=(0.5,))
        swapped = members[:, :, [1, 0, 2]]
        combiner = fit_combiner(swapped[:, :500], labels[:500], method="stacking")
        mended = combine(combiner, swapped[:, 500:])
        assert nll(mended, labels[500:]) < 1.1 * nll(members[0, 500:], labels[500:])

    @pytest.mark.parametrize("absent", [0, 2])
    def test_a_class_missing_in_calibration_keeps_its_mean(self, absent):
        members, labels = simulate(classes=4)
        kept = labels != absent
        combiner = fit_combiner(
            members[:, kept], labels[kept], method="stacking", temperature=False
        )
        assert combiner.missing == (absent,)
        mixed = combine(combiner, members)
        np.testing.assert_allclose(mixed[:, absent], members.mean(axis=0)[:, absent], atol=1e-6)
        np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-9)

    def test_two_classes_present(self):
        members, labels = simulate(classes=3)
        kept = labels != 1
        combiner = fit_combiner(members[:, kept], labels[kept], method="stacking")
        mixed = combine(combiner, members[:, kept])
        chosen = np.where(mixed[:, 0] > mixed[:, 2], 0, 2)
        assert (chosen == labels[kept]).mean() > 0.7

    def test_needs_two_classes(self):
        members, _ = simulate(images=10)
        with pytest.raises(UserError, match="one class only"):
            fit_combiner(members, np.zeros(10, dtype=int), method="stacking")

    def test_a_rare_class_that_folds_miss(self):
        members, labels = simulate(images=40)
        labels[:] = np.arange(40) % 2
        labels[7] = 2
        combiner = fit_combiner(members, labels, method="stacking")
        assert combiner.missing == ()
        assert np.all(np.isfinite(combine(combiner, members)))

    def test_same_seed_same_combiner(self):
        members, labels = simulate(images=100)
        first = fit_combiner(members, labels, method="stacking", seed=3)
        assert fit_combiner(members, labels, method="stacking", seed=3) == first


def fit_some_combiner(method, *, count=2, missing=None):
    members, labels = simulate(noise=(0.5, 1.5, 2.0)[:count], images=200)
    kept = labels != missing
    return fit_combiner(members[:, kept], labels[kept], method=method)


class TestBuildEnsemble:
    @pytest.mark.parametrize("missing", [None, 1])
    @pytest.mark.parametrize("method", METHODS)
    def test_equals_numpy_and_survives_saving(self, method, missing, tmp_path: Path):
        members = [build_member(name="net", seed=seed) for seed in range(2)]
        combiner = fit_some_combiner(method, missing=missing)
        ensemble = build_ensemble(members, combiner)
        batch = images()
        expected = combine(combiner, np.stack([probabilities_of(m, batch) for m in members]))
        logits = ensemble.predict(batch, verbose=0)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(softmax(logits, axis=1), expected, atol=1e-6)
        ensemble.save(tmp_path / "ensemble.keras")
        again = keras.models.load_model(tmp_path / "ensemble.keras")
        np.testing.assert_array_equal(again.predict(batch, verbose=0), logits)

    def test_has_the_contracts_input_and_output(self):
        ensemble = build_ensemble(
            [build_member(name="net", seed=seed) for seed in range(2)],
            fit_some_combiner("mean_logits"),
        )
        assert ensemble.output_names == ["logits"]
        assert [tensor.name for tensor in ensemble.inputs] == ["image"]
        assert ensemble.input_shape == (None, 16, 16, 3)
        assert ensemble.output_shape == (None, 3)

    def test_an_image_alone_gets_what_it_gets_in_a_batch(self):
        ensemble = build_ensemble(
            [build_member(name="net", seed=seed) for seed in range(2)],
            fit_some_combiner("stacking"),
        )
        batch = images()
        alone = np.concatenate([ensemble.predict(batch[i : i + 1], verbose=0) for i in range(5)])
        np.testing.assert_allclose(alone, ensemble.predict(batch, verbose=0), atol=1e-5)

    def test_members_of_mixed_precision_compute_in_float32(self, tmp_path: Path):
        mixed = [build_member(name="net", seed=seed, dtype="mixed_float16") for seed in range(2)]
        plain = [build_member(name="net", seed=seed) for seed in range(2)]
        combiner = fit_some_combiner("mean_probabilities")
        batch = images()
        ensemble = build_ensemble(mixed, combiner)
        expected = build_ensemble(plain, combiner).predict(batch, verbose=0)
        np.testing.assert_array_equal(ensemble.predict(batch, verbose=0), expected)
        ensemble.save(tmp_path / "ensemble.keras")
        again = keras.models.load_model(tmp_path / "ensemble.keras")
        np.testing.assert_array_equal(again.predict(batch, verbose=0), expected)

    def test_members_of_different_sizes_share_the_largest_input(self, tmp_path: Path):
        members = [
            build_member(name="small", seed=0, size=16),
            build_member(name="large", seed=1, size=32),
        ]
        combiner = fit_some_combiner("mean_probabilities")
        ensemble = build_ensemble(members, combiner)
        assert ensemble.input_shape == (None, 32, 32, 3)
        batch = images(size=32)
        # Twofold antialiased shrinking is a weighted mean; of a flat image, the image itself.
        batch[0] = 100.0
        shrunk = np.asarray(
            keras.ops.image.resize(batch, (16, 16), interpolation="bilinear", antialias=True)
        )
        np.testing.assert_allclose(shrunk[0], 100, atol=1e-3)
        member_probabilities = [
            probabilities_of(members[0], shrunk),
            probabilities_of(members[1], batch),
        ]
        logits = ensemble.predict(batch, verbose=0)
        np.testing.assert_allclose(
            softmax(logits, axis=1), combine(combiner, np.stack(member_probabilities)), atol=1e-6
        )
        ensemble.save(tmp_path / "ensemble.keras")
        again = keras.models.load_model(tmp_path / "ensemble.keras")
        np.testing.assert_array_equal(again.predict(batch, verbose=0), logits)

    def test_leaves_the_members_as_they_were(self):
        members = [build_member(name="net", seed=seed) for seed in range(2)]
        ensemble = build_ensemble(members, fit_some_combiner("mean_logits"))
        before = members[0].get_weights()
        ensemble.set_weights([np.zeros_like(w) for w in ensemble.get_weights()])
        assert [m.name for m in members] == ["net", "net"]
        for was, now in zip(before, members[0].get_weights(), strict=True):
            np.testing.assert_array_equal(was, now)

    def test_refuses_members_that_break_the_contract(self):
        good = build_member(name="net", seed=0)
        combiner = fit_some_combiner("mean_logits")
        named = keras.Model(good.input, keras.layers.Softmax(name="probabilities")(good.output))
        with pytest.raises(ValueError, match="must be named 'logits'"):
            build_ensemble([good, named], combiner)
        with pytest.raises(ValueError, match="the numbers must agree"):
            build_ensemble([good], combiner)
        with pytest.raises(ValueError, match="the numbers must agree"):
            build_ensemble([good, build_member(name="net", seed=1, classes=4)], combiner)
        four = [build_member(name="net", seed=seed, classes=4) for seed in range(2)]
        with pytest.raises(ValueError, match="stacking of 3 classes"):
            build_ensemble(four, fit_some_combiner("stacking"))
        image = keras.Input((None, None, 3), name="image")
        pooled = keras.layers.GlobalAveragePooling2D()(image)
        free = keras.Model(image, keras.layers.Dense(3, name="logits")(pooled))
        with pytest.raises(ValueError, match=r"expected \(None, H, W, 3\)"):
            build_ensemble([good, free], combiner)


class TestAsFloat32:
    def test_every_layer_computes_in_float32_with_the_same_weights(self):
        model = build_member(name="net", seed=0, dtype="mixed_float16")
        rebuilt = as_float32(model)
        assert rebuilt.name == "net"
        inner = rebuilt.get_layer("block").layers
        assert {layer.compute_dtype for layer in [*rebuilt.layers, *inner]} == {"float32"}
        for was, now in zip(model.get_weights(), rebuilt.get_weights(), strict=True):
            np.testing.assert_array_equal(was, now)
        batch = images()
        np.testing.assert_allclose(
            rebuilt.predict(batch, verbose=0), model.predict(batch, verbose=0), rtol=2e-2, atol=2e-2
        )

    def test_of_a_float32_model_gives_equal_outputs(self):
        model = build_member(name="net", seed=0)
        batch = images()
        np.testing.assert_array_equal(
            as_float32(model).predict(batch, verbose=0), model.predict(batch, verbose=0)
        )
