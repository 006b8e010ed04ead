"""What every network of the table must do; a new network joins by being in the table."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfskin.layers import BatchNorm, set_batch_norm_mode
from tfskin.models import MODELS, build_model, count_flops, count_parameters, to_probabilities

# The smallest arguments that still show the behaviour.
TINY: dict[str, dict[str, Any]] = {
    "five_layer": {"image_size": (32, 40), "widths": (4, 4, 4, 4, 4)},
    "lenet": {"image_size": (32, 40), "use_bn": True},
    "alexnet": {"image_size": (64, 72), "widths": (8,) * 5, "head_units": (16,), "use_bn": True},
    "vgg16": {"image_size": (32, 40), "widths": (8,) * 5, "head_units": (16,), "use_bn": True},
    "googlenet": {"image_size": (32, 40), "use_bn": True},
    "resnet10": {"image_size": (32, 40), "widths": (8, 8, 8, 8)},
    "resnext50": {"image_size": (32, 40), "widths": (16, 16, 16, 16)},
    "inception_v3": {"image_size": (75, 80)},
    "efficientnet_lite0": {"image_size": (32, 40)},
    "efficientnet_v2_s": {"image_size": (32, 40)},
}
TINY["vgg19"] = TINY["vgg16"]
TINY["resnet18"] = TINY["resnet34"] = TINY["resnet10"]
# Before training a deep network's activations double in each block, beyond float16's range.
TINY["resnet50"] = {**TINY["resnet10"], "zero_init_gamma": True}
TINY["resnet101"] = TINY["resnet152"] = TINY["resnet50"]
TINY["resnext101"] = {**TINY["resnext50"], "zero_init_gamma": True}
TINY["efficientnet_lite1"] = TINY["efficientnet_lite2"] = TINY["efficientnet_lite0"]
TINY["efficientnet_v2_m"] = TINY["efficientnet_v2_l"] = TINY["efficientnet_v2_s"]
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
SPACES = ("rgb", "hsv", "fft")
CLASSES = 3


@pytest.fixture(autouse=True)
def _forget_the_network():
    """Free each test's graphs, of which a deep network has many."""
    yield
    keras.backend.clear_session()


every_model = pytest.mark.parametrize("name", sorted(MODELS))
every_policy = pytest.mark.parametrize("policy", POLICIES)


def tiny(name, **arguments):
    keras.utils.set_random_seed(0)
    return build_model(name, num_classes=CLASSES, **{**TINY[name], **arguments})


def images_for(model, count=8):
    height, width = model.input_shape[1:3]
    images = np.random.default_rng(0).uniform(0, 255, (count, height, width, 3))
    return images.astype("float32")


def logits_of(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def compile_and_fit(model, *, jit_compile=False, epochs=1, run_eagerly=True):
    """Two steps an epoch; so few are sooner done than a graph is traced."""
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
        run_eagerly=run_eagerly,
    )
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        model.optimizer.initial_scale = 2.0**7  # from 2**15 it takes longer until it has settled
    images = images_for(model)
    labels = np.arange(len(images)) % CLASSES
    return model.fit(images, labels, batch_size=4, epochs=epochs, verbose=0, shuffle=False)


def snapshot(weights):
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in weights]


def how_many_moved(weights, before):
    return sum(
        not np.array_equal(old, new) for old, new in zip(before, snapshot(weights), strict=True)
    )


@every_model
def test_a_walk_through_the_contract(name, tmp_path: Path):
    """Shapes, a real fit with fixed statistics, saving: what the tests below do one by one."""
    model = tiny(name, batch_norm="affine")
    images = images_for(model)
    assert model.output_names == ["logits"]
    assert tuple(logits_of(model, images).shape) == (8, CLASSES)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, BatchNorm)]
    statistics = [w for layer in norms for w in (layer.moving_mean, layer.moving_variance)]
    trainable = model.trainable_weights
    before = snapshot(statistics), snapshot(trainable)
    history = compile_and_fit(model)
    assert np.isfinite(history.history["loss"]).all()
    assert norms
    assert how_many_moved(statistics, before[0]) == 0
    still = [
        weight.path
        for weight, old, new in zip(trainable, before[1], snapshot(trainable), strict=True)
        if np.array_equal(old, new)
    ]
    # Untrained and without normalisation, the deepest networks saturate their last gates.
    assert [path for path in still if "_se_" not in path] == []
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    logits = logits_of(model, images)
    np.testing.assert_array_equal(logits, logits_of(loaded, images))
    np.testing.assert_allclose(logits_of(model, images[:1]), logits[:1], rtol=1e-4, atol=1e-4)


@every_model
@every_policy
def test_input_and_output(name, policy, precision):
    precision(policy)
    model = tiny(name)
    height, width = TINY[name]["image_size"]
    assert model.input_shape == (None, height, width, 3)
    assert [tensor.name for tensor in model.inputs] == ["image"]
    assert model.inputs[0].dtype == "float32"
    assert model.output_names == ["logits"]
    logits = model(images_for(model))
    assert tuple(logits.shape) == (8, CLASSES)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.isfinite(keras.ops.convert_to_numpy(logits)).all()


@every_model
@every_policy
def test_probabilities_sum_to_one_in_float32(name, policy, precision):
    precision(policy)
    model = tiny(name)
    images = images_for(model)
    network = to_probabilities(model)
    assert network.output_names == ["probabilities"]
    probabilities = network.predict(images, verbose=0)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    logits = logits_of(model, images).astype("float64")
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # Graph and eager mode round half-precision convolutions differently.
    np.testing.assert_allclose(probabilities, expected, atol=1e-5 if policy == "float32" else 2e-2)
    with pytest.raises(ValueError, match="made from logits only"):
        to_probabilities(network)


@every_model
@pytest.mark.parametrize(
    ("policy", "jit_compile"), [*((policy, False) for policy in POLICIES), ("mixed_float16", True)]
)
def test_training_updates_the_weights(name, policy, jit_compile, precision):
    precision(policy)
    model = tiny(name)
    weights = model.trainable_weights
    before = snapshot(weights)
    graph = jit_compile or policy == "float32"  # the others' graphs: tests/training/test_precision
    epochs = 4 if policy == "mixed_float16" else 1  # the first steps may overflow
    history = compile_and_fit(model, jit_compile=jit_compile, epochs=epochs, run_eagerly=not graph)
    assert np.isfinite(history.history["loss"]).all()
    assert int(model.optimizer.iterations) > 0
    assert how_many_moved(weights, before) == len(weights)
    assert all(np.isfinite(weight).all() for weight in snapshot(model.weights))
    assert model.jit_compile == jit_compile


@every_model
@every_policy
def test_saved_network_is_the_same(name, policy, precision, tmp_path: Path):
    precision(policy)
    model = tiny(name)
    images = images_for(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(logits_of(model, images), logits_of(loaded, images))
    assert count_parameters(loaded) == count_parameters(model)


@every_model
@pytest.mark.parametrize("space", SPACES)
def test_every_color_space(name, space):
    model = tiny(name, color_space=space)
    images = images_for(model)
    assert np.isfinite(logits_of(model, images)).all()
    assert np.isfinite(logits_of(model, np.zeros_like(images))).all()
    compile_and_fit(model)
    assert np.isfinite(logits_of(model, images)).all()


@every_model
def test_color_spaces_differ(name):
    outputs = []
    for space in SPACES:
        model = tiny(name, color_space=space)
        outputs.append(logits_of(model, images_for(model)))
    assert not np.allclose(outputs[0], outputs[1])
    assert not np.allclose(outputs[0], outputs[2])


@every_model
@pytest.mark.parametrize("mode", ["update", "affine", "frozen"])
@pytest.mark.parametrize("switch", [False, True])
def test_batch_norm_modes_after_a_real_fit(name, mode, switch):
    model = tiny(name) if switch else tiny(name, batch_norm=mode)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, BatchNorm)]
    if not norms:
        pytest.skip("no batch normalisation in this network")
    if switch:
        compile_and_fit(model)
        set_batch_norm_mode(model, mode)
    statistics = [w for layer in norms for w in (layer.moving_mean, layer.moving_variance)]
    affine = [w for layer in norms for w in (layer.gamma, layer.beta) if w is not None]
    before = snapshot(statistics), snapshot(affine)
    compile_and_fit(model)
    assert how_many_moved(statistics, before[0]) == (len(statistics) if mode == "update" else 0)
    assert how_many_moved(affine, before[1]) == (0 if mode == "frozen" else len(affine))


@every_model
@every_policy
def test_prediction_does_not_depend_on_the_batch(name, policy, precision):
    precision(policy)
    model = tiny(name)
    compile_and_fit(model)
    images = images_for(model)
    alone = np.concatenate([logits_of(model, images[i : i + 1]) for i in range(len(images))])
    # Batches are tiled differently, so the last bits may differ; batch statistics would not pass.
    tolerance = {"float32": 1e-4, "mixed_float16": 1e-2, "mixed_bfloat16": 6e-2}[policy]
    np.testing.assert_allclose(logits_of(model, images), alone, rtol=tolerance, atol=tolerance)
    brighter = images.copy()
    brighter[1:] = 255
    np.testing.assert_allclose(
        logits_of(model, brighter)[0], alone[0], rtol=tolerance, atol=tolerance
    )


@every_model
def test_same_seed_same_weights(name):
    for first, second in zip(tiny(name).get_weights(), tiny(name).get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@every_model
def test_costs_are_known(name):
    model = tiny(name)
    total, trainable = count_parameters(model)
    assert total == model.count_params()
    assert 0 < trainable <= total
    assert count_flops(model) > 0
