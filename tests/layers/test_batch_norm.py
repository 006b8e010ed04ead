"""BatchNorm's three modes, proven after a real fit."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tfskin.layers import BatchNorm, replace_batch_norm, set_batch_norm_mode
from tfskin.training.fit import compile_model
from tfskin.training.optimizers import build_optimizer
from tfskin.training.updates import inner_optimizer

MODES = ("update", "affine", "frozen")
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(3.0, 2.0, (16, 6, 6, 3)).astype("float32")
TARGETS = RNG.normal(size=(16, 2)).astype("float32")


def small_model(mode="update", **kwargs):
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = BatchNorm(mode=mode, momentum=0.5, name="bn", **kwargs)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="dense")(x))


def compile_and_fit(model, *, optimizer="adam", epochs=1):
    if optimizer is not None:
        model.compile(optimizer, "mse")
    model.fit(IMAGES, TARGETS, batch_size=8, epochs=epochs, verbose=0, shuffle=False)


def values(layer):
    return {
        name: keras.ops.convert_to_numpy(getattr(layer, name))
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    }


def moved(layer, before):
    after = values(layer)
    return {name for name in after if not np.array_equal(before[name], after[name])}


STATISTICS = {"moving_mean", "moving_variance"}
AFFINE = {"gamma", "beta"}
EXPECTED = {"update": STATISTICS | AFFINE, "affine": AFFINE, "frozen": set()}


@pytest.mark.parametrize("mode", MODES)
def test_what_a_real_fit_moves(mode):
    model = small_model(mode)
    before = values(model.get_layer("bn"))
    kernel = keras.ops.convert_to_numpy(model.get_layer("conv").kernel)
    compile_and_fit(model)
    assert moved(model.get_layer("bn"), before) == EXPECTED[mode]
    assert not np.array_equal(kernel, keras.ops.convert_to_numpy(model.get_layer("conv").kernel))


@pytest.mark.parametrize("mode", MODES)
def test_weight_decay_does_not_move_what_stands_still(mode):
    model = small_model(mode)
    before = values(model.get_layer("bn"))
    compile_and_fit(model, optimizer=keras.optimizers.AdamW(0.01, weight_decay=0.1))
    assert moved(model.get_layer("bn"), before) == EXPECTED[mode]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("mode", MODES)
def test_outputs_equal_the_formula(mode, policy):
    layer = BatchNorm(mode=mode, momentum=0.9, epsilon=0.01, dtype=policy)
    layer.build((None, 6, 6, 3))
    gamma, beta = np.array([0.5, 1.0, 2.0]), np.array([-1.0, 0.0, 1.0])
    mean, variance = np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0])
    layer.set_weights([gamma, beta, mean, variance])
    tolerance = {"float32": 1e-5, "mixed_float16": 1e-2, "mixed_bfloat16": 5e-2}[policy]
    compute_dtype = keras.dtype_policies.get(policy).compute_dtype
    images = keras.ops.cast(IMAGES, compute_dtype)  # the layer rounds its input to this first
    x = keras.ops.convert_to_numpy(keras.ops.cast(images, "float32")).astype("float64")

    def formula(m, v):
        return gamma * (x - m) / np.sqrt(v + 0.01) + beta

    inference = layer(images, training=False)
    assert keras.backend.standardize_dtype(inference.dtype) == compute_dtype
    got = keras.ops.convert_to_numpy(keras.ops.cast(inference, "float32"))
    np.testing.assert_allclose(got, formula(mean, variance), atol=tolerance, rtol=tolerance)

    batch_mean, batch_variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    used = (batch_mean, batch_variance) if mode == "update" else (mean, variance)
    training = layer(images, training=True)
    got = keras.ops.convert_to_numpy(keras.ops.cast(training, "float32"))
    np.testing.assert_allclose(got, formula(*used), atol=tolerance, rtol=tolerance)
    after = values(layer)
    share = 0.1 if mode == "update" else 0.0
    np.testing.assert_allclose(
        after["moving_mean"], (1 - share) * mean + share * batch_mean, rtol=1e-4
    )
    np.testing.assert_allclose(
        after["moving_variance"], (1 - share) * variance + share * batch_variance, rtol=1e-4
    )


@pytest.mark.parametrize("mode", MODES)
def test_saved_model_keeps_mode_outputs_and_behaviour(mode, tmp_path: Path):
    model = small_model(mode)
    compile_and_fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_layer("bn").mode == mode
    np.testing.assert_array_equal(
        model.predict(IMAGES, verbose=0), loaded.predict(IMAGES, verbose=0)
    )
    before = values(loaded.get_layer("bn"))
    compile_and_fit(loaded, optimizer=None)
    assert moved(loaded.get_layer("bn"), before) == EXPECTED[mode]


@pytest.mark.parametrize("first", MODES)
@pytest.mark.parametrize("second", MODES)
def test_switch_between_fits_takes_effect_without_compiling(first, second):
    model = small_model(first)
    compile_and_fit(model)
    set_batch_norm_mode(model, second)
    before = values(model.get_layer("bn"))
    compile_and_fit(model, optimizer=None)
    assert moved(model.get_layer("bn"), before) == EXPECTED[second]


def optimizer_state(model):
    """Every variable of the optimizer and of one inside it, by (level, name)."""
    state = {}
    level, optimizer = 0, model.optimizer
    while optimizer is not None:
        for variable in optimizer._variables:
            state[level, variable.name] = keras.ops.convert_to_numpy(variable)
        level, optimizer = level + 1, getattr(optimizer, "inner_optimizer", None)
    return state


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize(
    ("first", "second"), [("update", "affine"), ("update", "frozen"), ("frozen", "update")]
)
def test_switch_keeps_the_optimizers_state(first, second, policy, precision):
    precision(policy)
    model = small_model(first)
    compile_and_fit(model, optimizer=keras.optimizers.Adam(0.01), epochs=8 if "16" in policy else 1)
    state = optimizer_state(model)
    assert any("kernel" in key[1] and value.any() for key, value in state.items())
    optimizer = model.optimizer
    set_batch_norm_mode(model, second)
    assert model.optimizer is optimizer
    kept = optimizer_state(model)
    common = set(state) & set(kept)
    assert {key for key in state if "bn_" not in key[1]} <= common
    assert ("bn_gamma_momentum" in {name for _, name in kept}) == (second != "frozen")
    for key in common:
        np.testing.assert_array_equal(state[key], kept[key], err_msg=str(key))
    iterations = int(model.optimizer.iterations)
    assert iterations > 0
    compile_and_fit(model, optimizer=None, epochs=2)
    assert int(model.optimizer.iterations) > iterations  # loss scaling may skip some steps


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_switch_keeps_what_has_no_weight_decay(policy, precision):
    precision(policy)
    model = small_model("frozen")
    optimizer = keras.optimizers.AdamW(1e-9, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    compile_and_fit(model, optimizer=optimizer)
    set_batch_norm_mode(model, "update")
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    decayed = {w.path for w in model.trainable_variables if inner._use_weight_decay(w)}
    assert decayed == {"conv/kernel", "dense/kernel"}


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("recipe", [{}, {"accumulate": 2}, {"ema": 0.5}, {"rates": {"x": 0.5}}])
def test_switch_keeps_what_a_recipe_lets_decay(recipe, policy, precision):
    precision(policy)
    model = small_model("frozen")
    optimizer = build_optimizer("adamw", learning_rate=0.5, weight_decay=0.5, **recipe)
    compile_model(model, optimizer, loss=keras.losses.MeanSquaredError())
    model.optimizer.build(model.trainable_variables)
    set_batch_norm_mode(model, "update")
    inner = inner_optimizer(model.optimizer)
    weights = model.trainable_variables
    names = [weight.name for weight in weights]
    assert "gamma" in names
    decayed = {w.name for w in weights if inner._use_weight_decay(w)}
    if recipe:
        decayed = {w.name for w, decay in zip(weights, inner._decays, strict=True) if decay}
    assert decayed == {"kernel"}


def test_switch_keeps_weights_that_were_named_one_by_one():
    model = small_model("frozen")
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[model.get_layer("conv").kernel])
    compile_and_fit(model, optimizer=optimizer)
    set_batch_norm_mode(model, "update")
    decayed = {w.path for w in model.trainable_variables if optimizer._use_weight_decay(w)}
    assert "conv/kernel" not in decayed
    assert "dense/kernel" in decayed


def test_switch_keeps_the_schedule_and_its_state():
    class Halved(keras.optimizers.schedules.LearningRateSchedule):
        """Of a class that nobody registered, with a state that no config holds."""

        factor = 1.0

        def __call__(self, step):
            return 0.1 * self.factor

        def get_config(self):
            return {}

    model = small_model("frozen")
    schedule = Halved()
    compile_and_fit(model, optimizer=keras.optimizers.SGD(schedule))
    schedule.factor = 0.5
    set_batch_norm_mode(model, "update")
    assert model.optimizer._learning_rate is schedule
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)


def test_switched_model_resumes_from_disk_as_in_memory(tmp_path: Path):
    model = small_model("frozen")
    compile_and_fit(model)
    set_batch_norm_mode(model, "update")
    compile_and_fit(model, optimizer=None)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        compile_and_fit(each, optimizer=None)
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("mode", MODES)
def test_trainable_true_on_the_model_leaves_the_mode_alone(mode):
    model = small_model(mode)
    model.trainable = False
    model.trainable = True
    before = values(model.get_layer("bn"))
    compile_and_fit(model)
    assert moved(model.get_layer("bn"), before) == EXPECTED[mode]


@pytest.mark.parametrize("mode", MODES)
def test_trainable_false_freezes_in_every_mode(mode):
    model = small_model(mode)
    model.get_layer("bn").trainable = False
    set_batch_norm_mode(model, mode)
    before = values(model.get_layer("bn"))
    compile_and_fit(model)
    assert moved(model.get_layer("bn"), before) == set()
    clone = keras.models.clone_model(model)
    assert not clone.get_layer("bn").trainable_weights


def test_layer_without_gamma_and_beta_has_modes_too():
    model = small_model("frozen", scale=False, center=False)
    mean = keras.ops.convert_to_numpy(model.get_layer("bn").moving_mean)
    compile_and_fit(model)
    np.testing.assert_array_equal(mean, model.get_layer("bn").moving_mean)


def nested_model(norm):
    inner_inputs = keras.Input((6, 6, 3))
    inner = keras.Model(
        inner_inputs, norm(name="bn")(keras.layers.Conv2D(4, 3)(inner_inputs)), name="inner"
    )
    inputs = keras.Input((6, 6, 3))
    x = norm(name="bn")(inner(inputs))
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)), name="outer")


def test_mode_reaches_nested_models():
    model = nested_model(BatchNorm)
    set_batch_norm_mode(model, "frozen")
    layers = (model.get_layer("bn"), model.get_layer("inner").get_layer("bn"))
    before = [values(layer) for layer in layers]
    compile_and_fit(model)
    for layer, old in zip(layers, before, strict=True):
        assert layer.mode == "frozen"
        assert moved(layer, old) == set()


def test_state_that_cannot_be_told_apart_is_refused():
    model = nested_model(BatchNorm)  # both layers are named bn: their slots have equal paths
    compile_and_fit(model)
    with pytest.raises(ValueError, match="compile the model again"):
        set_batch_norm_mode(model, "frozen")
    model.compile("adam", "mse")
    set_batch_norm_mode(model, "frozen")
    assert model.get_layer("bn").mode == "frozen"


def test_plain_batch_normalization_is_refused():
    model = nested_model(keras.layers.BatchNormalization)
    with pytest.raises(ValueError, match="use replace_batch_norm"):
        set_batch_norm_mode(model, "affine")


def test_model_without_batch_norm_is_left_as_it_is():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    set_batch_norm_mode(model, "affine")
    assert len(model.trainable_variables) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: BatchNorm(mode="batch"),  # type: ignore[arg-type]
        lambda: set_batch_norm_mode(small_model(), "batch"),  # type: ignore[arg-type]
        lambda: replace_batch_norm(small_model(), "batch"),  # type: ignore[arg-type]
        lambda: setattr(BatchNorm(), "mode", "batch"),
    ],
)
def test_unknown_mode_names_the_known_ones(call):
    with pytest.raises(ValueError, match="update, affine, frozen, got 'batch'"):
        call()


@pytest.mark.parametrize("mode", MODES)
def test_replaced_layers_change_no_bit(mode):
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), alpha=0.35, classes=3
    )
    images = RNG.normal(size=(4, 32, 32, 3)).astype("float32")
    for weight in model.weights:  # moving statistics away from 0 and 1
        weight.assign(RNG.uniform(0.5, 1.5, weight.shape))
    replaced = replace_batch_norm(model, mode)
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), replaced.predict(images, verbose=0)
    )
    assert [layer.name for layer in model.layers] == [layer.name for layer in replaced.layers]
    norms = [
        layer for layer in replaced.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(norms) > 20
    assert all(isinstance(layer, BatchNorm) and layer.mode == mode for layer in norms)


def test_replace_reaches_nested_models():
    model = nested_model(keras.layers.BatchNormalization)
    replaced = replace_batch_norm(model, "frozen")
    np.testing.assert_array_equal(
        model.predict(IMAGES, verbose=0), replaced.predict(IMAGES, verbose=0)
    )
    set_batch_norm_mode(replaced, "affine")
    assert replaced.get_layer("inner").get_layer("bn").mode == "affine"


class Block(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.BatchNormalization(name="hidden")

    def call(self, inputs):
        return self.norm(inputs)


def test_replace_refuses_what_it_cannot_reach():
    inputs = keras.Input((6, 6, 3))
    model = keras.Model(inputs, Block()(inputs))
    with pytest.raises(ValueError, match="'hidden' is inside a composite layer"):
        replace_batch_norm(model, "frozen")
    with pytest.raises(ValueError, match="use replace_batch_norm"):
        set_batch_norm_mode(model, "frozen")
