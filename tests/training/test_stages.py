"""Stages of fine-tuning: what stands still, how fast the rest moves, going on after a stop."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import tfskin
from tests.news import hear
from tests.training.test_fit import make_data, weights_of
from tfskin.errors import UserError
from tfskin.experiment.fitting.network import build_network
from tfskin.layers import BatchNorm
from tfskin.training.checkpoints import FitState, read_checkpoint
from tfskin.training.fit import FitOptions, compile_model, fit
from tfskin.training.layerwise import depth_rates
from tfskin.training.optimizers import RecipeAdamW, RecipeSGD, build_optimizer
from tfskin.training.stages import (
    Stage,
    begin_stage,
    describe_batch_norm,
    list_tasks,
    unfreeze,
)
from tfskin.training.updates import average_statistics


def make_model(dropping: float | None = None) -> keras.Model:
    """A net whose backbone drops features, if ``dropping`` is the rate."""
    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Rescaling(1 / 255, name="scale")(image)
    for block in (1, 2):
        x = keras.layers.Conv2D(4, 3, name=f"block{block}_conv")(x)
        x = BatchNorm(name=f"block{block}_bn", momentum=0.5)(x)
    if dropping is not None:
        x = keras.layers.Dropout(dropping, seed=5, name="stochastic_depth")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = BatchNorm(name="head_bn", momentum=0.5)(x)
    x = keras.layers.Dropout(0.3, seed=6, name="dropout")(x)
    return keras.Model(image, keras.layers.Dense(2, name="logits")(x))


def stage(first="all", epochs=1, decay=1.0, mode="update", data=None, few_views=False) -> Stage:
    def compile_stage(model):
        rates = depth_rates(model, decay) if decay < 1 else None
        made = build_optimizer("adamw", learning_rate=0.01, rates=rates, ema=0.9)
        average_statistics(made, model)
        compile_model(model, made)

    return Stage(
        epochs=epochs,
        compile=compile_stage,
        data=data or make_data(),
        few_views=few_views,
        unfreeze=first,
        batch_norm={"backbone": mode, "head": "update"},
    )


def fit_stages(model, stages, options) -> FitState:
    """Fit stage after stage, as ``tfskin.train`` does."""
    checkpoint = read_checkpoint(options.checkpoints)
    state = checkpoint.state if checkpoint else FitState()
    for task in list_tasks(model, stages, state, checkpoint):
        fit(task, options=options, state=state)
    return state


def moved(model, before):
    return {
        weight.path.split("/")[0]
        for weight, old in zip(model.weights, before, strict=True)
        if not np.array_equal(old, weight.numpy())
    }


def snapshot(model):
    return [weight.numpy().copy() for weight in model.weights]


@pytest.mark.parametrize(
    ("first", "mode", "expected"),
    [
        ("head", "update", {"head_bn", "logits"}),
        ("block2", "frozen", {"block2_conv", "head_bn", "logits"}),
        ("block2_bn", "affine", {"block2_bn", "head_bn", "logits"}),
    ],
)
def test_a_stage_moves_what_it_names(tmp_path, first, mode, expected):
    model = make_model()
    before = snapshot(model)
    stages = [stage(first, mode=mode)]
    fit_stages(model, stages, FitOptions(tmp_path))
    assert moved(model, before) == expected


def test_modes_of_batch_normalisations_that_are_not_there_are_refused():
    stages = "train.stages=[{epochs: 1}, {epochs: 1, batch_norm: frozen}]"
    keys = ["model.name=lenet", "model.widths=null", "model.image_size=32", stages]
    config = tfskin.read_config("five_layer_rgb.yaml", keys)
    with pytest.raises(UserError, match=r"stage 2 sets batch_norm, and lenet has none"):
        build_network(config, num_classes=2)


def test_a_frozen_backbone_drops_nothing_of_the_few_views_of_an_image(tmp_path, news):
    rows: dict[float, list[float]] = {}
    for rate in (0.0, 0.5):
        model = make_model(rate)
        stages = [stage("head", mode="frozen", few_views=True), stage("all")]
        state = fit_stages(model, stages, FitOptions(tmp_path / str(rate)))
        rows[rate] = [row["loss"] for row in state.history]
        assert model.get_layer("stochastic_depth").rate == rate
    assert rows[0.5][0] == rows[0.0][0]
    assert rows[0.5][1] != rows[0.0][1]
    says = [line for line in news if "drops nothing" in line]
    assert says == ["the frozen backbone drops nothing (1 layers, such as stochastic_depth)"]


def test_stages_follow_one_another_and_say_what_trains(tmp_path, news):
    model = make_model()
    stages = [stage("head", epochs=2, mode="frozen"), stage("all", epochs=1, decay=0.1)]
    state = fit_stages(model, stages, FitOptions(tmp_path))
    assert [row["epoch"] for row in state.history] == [1, 2, 3]
    assert (state.stage, state.stage_epoch) == (1, 1)
    assert news[0] == ("stage 1 of 2: head trains; batch norm: backbone 2 frozen; head 1 update")
    assert "epoch   1/3" in news[1]
    assert news[3] == "stage 2 of 2: all trains; batch norm: backbone 2 update; head 1 update"


def staged_fit(folder):
    stages = [stage("head", epochs=2, mode="frozen"), stage("block2", epochs=1, decay=0.1)]
    model = make_model()
    state = fit_stages(model, stages, FitOptions(folder))
    return model, state


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return weights_of(staged_fit(tmp_path_factory.mktemp("whole"))[0])


@pytest.mark.parametrize("stop", [1, 2])
def test_a_stopped_fit_goes_on_within_its_stage(tmp_path, stop, uninterrupted):
    def stop_after(line):
        if line.startswith(f"epoch   {stop}"):
            raise KeyboardInterrupt

    with hear(stop_after), pytest.raises(KeyboardInterrupt):
        staged_fit(tmp_path)
    second, state = staged_fit(tmp_path)
    assert [row["epoch"] for row in state.history] == [1, 2, 3]
    for one, other in zip(uninterrupted, weights_of(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_patience_ends_a_stage_not_the_fit(tmp_path):
    data = make_data()
    same: dict[str, float | None] = {"auc": 0.5, "loss": 1.0, "balanced_accuracy": 0.5}
    flat = replace(data, score=lambda *_: same)
    stages = [stage("head", epochs=9, data=flat), stage("all", epochs=9, data=flat)]
    state = fit_stages(make_model(), stages, FitOptions(tmp_path, patience=2))
    assert (state.epoch, state.stage, state.best_epoch) == (5, 1, 1)


def test_an_unknown_layer_is_named_with_a_hint():
    with pytest.raises(UserError, match=r"'blok2_conv' is no layer .* mean 'block2_conv'"):
        unfreeze(make_model(), "blok2_conv")


def test_modes_are_described_by_part():
    model = make_model()
    begin_stage(model, stage("all", mode="affine"), [])
    assert describe_batch_norm(model) == "batch norm: backbone 2 affine; head 1 update"
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    assert describe_batch_norm(plain) == "batch norm: none"


def test_rates_fall_geometrically_with_depth():
    rates = depth_rates(make_model(), 0.01)
    assert rates["block1_conv/kernel"] == pytest.approx(0.01)
    assert rates["block2_bn/gamma"] == pytest.approx(1.0)
    ratios = [
        rates["block1_bn/gamma"] / rates["block1_conv/kernel"],
        rates["block2_conv/kernel"] / rates["block1_bn/gamma"],
    ]
    assert ratios[0] == pytest.approx(ratios[1]) == pytest.approx(100 ** (1 / 3))
    assert "logits/kernel" not in rates


def step(optimizer, start, gradients):
    variables = [keras.Variable(value, name=f"v{i}") for i, value in enumerate(start)]
    optimizer.build(variables)
    for _ in range(3):
        optimizer.apply(gradients, variables)
    return [variable.numpy() for variable in variables]


def test_a_factor_is_that_of_the_learning_rate_decay_included():
    start = [np.array([1.0, -2.0], "float32"), np.array([3.0], "float32")]
    gradients = [np.array([0.5, 0.1], "float32"), np.array([-1.0], "float32")]
    found = step(RecipeAdamW(0.1, weight_decay=0.2, rates={"v1": 0.01}), start, gradients)
    whole = step(keras.optimizers.AdamW(0.1, weight_decay=0.2), start, gradients)
    small = step(keras.optimizers.AdamW(0.001, weight_decay=0.2), start, gradients)
    np.testing.assert_allclose(found[0], whole[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], small[1], rtol=1e-6)
    found = step(RecipeSGD(0.1, rates={"v0": 0.5}, momentum=0.9), start, gradients)
    half = step(keras.optimizers.SGD(0.05, momentum=0.9), start, gradients)
    np.testing.assert_allclose(found[0], half[0], rtol=1e-6)


def test_an_optimizer_with_rates_is_saved_with_them(tmp_path):
    model = make_model()
    optimizer = build_optimizer("sgd", learning_rate=0.01, rates=depth_rates(model, 0.1))
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(np.zeros((4, 8, 8, 3)), np.zeros(4), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.rates == model.optimizer.rates
    loaded.fit(np.zeros((4, 8, 8, 3)), np.zeros(4), verbose=0)
