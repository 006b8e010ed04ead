"""What every network of the table must do; a new network joins by being in the table."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfskin import testing
from tfskin.layers import BatchNorm
from tfskin.models import MODELS, to_probabilities
from tfskin.testing import fit_briefly, logits_of, sample_images, snapshot, unmoved_weights

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
SPACES = ("rgb", "hsv", "fft")


@pytest.fixture(autouse=True)
def _forget_the_network():
    """Free each test's graphs, of which a deep network has many."""
    yield
    keras.backend.clear_session()


every_model = pytest.mark.parametrize("name", sorted(MODELS))
every_policy = pytest.mark.parametrize("policy", testing.POLICIES)


def tiny(name, **arguments):
    return testing.maker(name, **{**TINY[name], **arguments})()


@every_model
def test_a_walk_through_the_contract(name, tmp_path: Path):
    """Shapes, a real fit with fixed statistics, saving: what the tests below do one by one."""
    model = tiny(name, batch_norm="affine")
    images = sample_images(model)
    assert model.output_names == ["logits"]
    assert tuple(logits_of(model, images).shape) == (8, testing.CLASSES)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, BatchNorm)]
    statistics = [w for layer in norms for w in (layer.moving_mean, layer.moving_variance)]
    trainable = model.trainable_weights
    before = snapshot(statistics), snapshot(trainable)
    losses = fit_briefly(model)
    assert np.isfinite(losses).all()
    assert norms
    assert len(unmoved_weights(statistics, before[0])) == len(statistics)
    still = unmoved_weights(trainable, before[1])
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
    height, width = TINY[name]["image_size"]
    assert tiny(name).input_shape == (None, height, width, 3)
    testing.check_output(testing.maker(name, **TINY[name]))


@every_model
@every_policy
def test_probabilities_sum_to_one_in_float32(name, policy, precision):
    precision(policy)
    testing.check_probabilities(testing.maker(name, **TINY[name]))


@every_model
def test_probabilities_are_made_once(name):
    with pytest.raises(ValueError, match="made from logits only"):
        to_probabilities(to_probabilities(tiny(name)))


@every_model
@pytest.mark.parametrize(
    ("policy", "jit_compile"),
    [*((policy, False) for policy in testing.POLICIES), ("mixed_float16", True)],
)
def test_training_updates_the_weights(name, policy, jit_compile, precision):
    precision(policy)
    testing.check_training(testing.maker(name, **TINY[name]), jit_compile=jit_compile)


@every_model
@every_policy
def test_saved_network_is_the_same(name, policy, precision):
    precision(policy)
    testing.check_saving(testing.maker(name, **TINY[name]))


@every_model
def test_every_color_space_trains_and_differs(name):
    testing.check_color_spaces(testing.maker(name, **TINY[name]), SPACES)


@every_model
@pytest.mark.parametrize("mode", ["update", "affine", "frozen"])
@pytest.mark.parametrize("switch", [False, True])
def test_batch_norm_modes_after_a_real_fit(name, mode, switch):
    if not any(isinstance(layer, BatchNorm) for layer in tiny(name)._flatten_layers()):
        pytest.skip("no batch normalisation in this network")
    testing.check_batch_norm(testing.maker(name, **TINY[name]), mode, switch=switch)


@every_model
@every_policy
def test_prediction_does_not_depend_on_the_batch(name, policy, precision):
    precision(policy)
    testing.check_batch_independence(testing.maker(name, **TINY[name]))


@every_model
def test_same_seed_same_weights(name):
    testing.check_seed(testing.maker(name, **TINY[name]))


@every_model
def test_costs_are_known(name):
    testing.check_costs(testing.maker(name, **TINY[name]))
