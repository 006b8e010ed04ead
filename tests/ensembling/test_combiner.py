"""Members' probabilities become one, by formulas on arrays."""

import json

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from tests.ensembling.simulated import METHODS, simulate
from tfskin.ensembling import (
    Combiner,
    combine,
    fit_combiner,
    fit_temperature,
)
from tfskin.ensembling import combiner as combiner_file
from tfskin.errors import UserError


def fit(*arrays, **options):
    return fit_combiner(*arrays, **options).combiner


def nll(probabilities, labels):
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


class TestCombiner:
    @pytest.mark.parametrize("method", METHODS)
    def test_is_the_same_after_json(self, method):
        members, labels = simulate(images=60)
        combiner = fit(members, labels, method=method, temperature=True)
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
        combiner = fit(members, labels, method="mean_probabilities", temperature=False)
        np.testing.assert_allclose(combine(combiner, members), members.mean(axis=0), atol=1e-6)

    def test_mean_of_logits_is_the_normalised_geometric_mean(self):
        members, labels = simulate()
        combiner = fit(members, labels, method="mean_logits", temperature=False)
        geometric = np.prod(np.maximum(members, 1e-7), axis=0) ** (1 / 3)
        expected = geometric / geometric.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(combine(combiner, members), expected, atol=1e-6)

    @pytest.mark.parametrize("method", ["mean_probabilities", "mean_logits", "weights"])
    def test_equal_members_are_the_member(self, method):
        members, labels = simulate(noise=(1.0,))
        members = np.repeat(members, 3, axis=0)
        combiner = fit(members, labels, method=method, temperature=False)
        np.testing.assert_allclose(combine(combiner, members), members[0], atol=1e-6)

    @pytest.mark.parametrize("method", METHODS)
    def test_rows_sum_to_one_even_for_certain_members(self, method):
        members, labels = simulate(images=80, scale=50.0)
        combiner = fit(members, labels, method=method, temperature=True)
        mixed = combine(combiner, members)
        assert mixed.shape == (80, 3)
        np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-12)
        assert mixed.min() > 0

    def test_refuses_another_number_of_members_and_logits(self):
        members, labels = simulate(images=20)
        combiner = fit(members, labels, method="mean_logits")
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
        weights = np.array(fit(members, labels, method="weights", temperature=False).weights)
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
        combiner = fit(members, labels, method="weights", temperature=False)
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
        assert nll(scaled.held_out, labels) <= nll(plain.held_out, labels) + 1e-9
        before, after = (combine(one.combiner, members) for one in (plain, scaled))
        np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
        if method != "stacking":
            np.testing.assert_allclose(scaled.held_out, after, atol=1e-9)

    def test_refuses_infinite_logits(self):
        with pytest.raises(ValueError, match="finite"):
            fit_temperature([[np.inf, 0.0]], [0])


class TestStacking:
    @pytest.mark.parametrize("penalty", [1.0, 100.0])
    def test_is_scikit_learns_regression_when_the_target_is_zero(self, penalty, monkeypatch):
        # At an infinite temperature the target is 0, where scikit-learn's ridge pulls to.
        members, labels = simulate(noise=(0.5, 1.5))
        monkeypatch.setattr(combiner_file, "STACKING_PENALTIES", (penalty,))
        monkeypatch.setattr(combiner_file, "fit_temperature", lambda logits, labels: np.inf)
        combiner = fit(members, labels, method="stacking", temperature=False)
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
            fit(members[:, :images], labels[:images], method=method)
            for method in ("mean_logits", "stacking")
        ]
        mean, stacking = (nll(combine(c, members[:, images:]), labels[images:]) for c in fitted)
        assert stacking < 1.01 * mean

    def test_mends_a_member_that_mixes_two_classes_up(self):
        members, labels = simulate(images=1000, noise=(0.5,))
        swapped = members[:, :, [1, 0, 2]]
        combiner = fit(swapped[:, :500], labels[:500], method="stacking")
        mended = combine(combiner, swapped[:, 500:])
        assert nll(mended, labels[500:]) < 1.1 * nll(members[0, 500:], labels[500:])

    @pytest.mark.parametrize("absent", [0, 2])
    def test_a_class_missing_in_calibration_keeps_its_mean(self, absent):
        members, labels = simulate(classes=4)
        kept = labels != absent
        combiner = fit(members[:, kept], labels[kept], method="stacking", temperature=False)
        assert combiner.missing == (absent,)
        mixed = combine(combiner, members)
        np.testing.assert_allclose(mixed[:, absent], members.mean(axis=0)[:, absent], atol=1e-6)
        np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-9)

    def test_two_classes_present(self):
        members, labels = simulate(classes=3)
        kept = labels != 1
        combiner = fit(members[:, kept], labels[kept], method="stacking")
        mixed = combine(combiner, members[:, kept])
        chosen = np.where(mixed[:, 0] > mixed[:, 2], 0, 2)
        assert (chosen == labels[kept]).mean() > 0.7

    def test_needs_two_classes(self):
        members, _ = simulate(images=10)
        with pytest.raises(UserError, match="one class only"):
            fit(members, np.zeros(10, dtype=int), method="stacking")

    def test_a_rare_class_that_folds_miss(self):
        members, labels = simulate(images=40)
        labels[:] = np.arange(40) % 2
        labels[7] = 2
        combiner = fit(members, labels, method="stacking")
        assert combiner.missing == ()
        assert np.all(np.isfinite(combine(combiner, members)))

    def test_what_is_held_out_has_not_seen_the_labels_of_its_group(self, monkeypatch):
        monkeypatch.setattr(combiner_file, "STACKING_PENALTIES", (3.0,))
        members, labels = simulate(images=40)
        members, labels, groups = members.repeat(3, axis=1), labels.repeat(3), np.arange(120) // 3
        changed = labels.copy()
        changed[groups == 7] = (labels[groups == 7] + 1) % 3
        one, other = (
            fit_combiner(members, y, method="stacking", groups=groups, temperature=False).held_out
            for y in (labels, changed)
        )
        np.testing.assert_array_equal(one[groups == 7], other[groups == 7])
        assert np.abs(one - other).max() > 1e-3

    def test_images_of_one_lesion_do_not_weaken_the_penalty(self):
        members, labels = simulate(images=60 + 3000, classes=5)
        few, truth = members[:, :60].repeat(6, axis=1), labels[:60].repeat(6)
        alone, grouped = (
            nll(combine(fit(few, truth, method="stacking", groups=groups), members), labels)
            for groups in (None, np.arange(360) // 6)
        )
        assert grouped < 0.9 * alone

    def test_the_temperature_is_that_of_images_that_were_held_out(self):
        members, labels = simulate(images=60, classes=5)
        plain = fit_combiner(members, labels, method="stacking", temperature=False)
        expected = fit_temperature(np.log(plain.held_out), labels)
        assert fit(members, labels, method="stacking").temperature == pytest.approx(expected)
        own = fit_temperature(np.log(combine(plain.combiner, members)), labels)
        assert expected > 1.1 * own

    @pytest.mark.parametrize("groups", [np.zeros(20), np.arange(20) % 2])
    def test_folds_that_cannot_be_held_out(self, groups):
        members, _ = simulate(images=20)
        labels = np.arange(20) % 2
        fitted = fit_combiner(members, labels, method="stacking", groups=groups, temperature=False)
        own = combine(fitted.combiner, members)
        np.testing.assert_allclose(fitted.held_out, own, atol=1e-6)

    def test_same_seed_same_combiner(self):
        members, labels = simulate(images=100)
        first = fit(members, labels, method="stacking", seed=3)
        assert fit(members, labels, method="stacking", seed=3) == first
