"""Members become one Keras model."""

from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import softmax

from tests.ensembling.simulated import METHODS, simulate
from tfskin.ensembling import (
    as_float32,
    build_ensemble,
    combine,
    fit_combiner,
)


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


def fit_some_combiner(method, *, count=2, missing=None):
    members, labels = simulate(noise=(0.5, 1.5, 2.0)[:count], images=200)
    kept = labels != missing
    return fit_combiner(members[:, kept], labels[kept], method=method).combiner


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
