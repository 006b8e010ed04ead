"""Half precision trains as float32 does, for every network of the table."""

import keras
import numpy as np
import pytest

from tests.models.test_contract import tiny
from tfskin.models import MODELS
from tfskin.testing import sample_images
from tfskin.training.fit import compile_model
from tfskin.training.optimizers import build_optimizer
from tfskin.training.precision import dtype_policy
from tfskin.training.updates import skipped_steps

QUICK = {"five_layer", "resnet10"}
STEPS = 8
LAST_BITS = {"mixed_float16": 2.0**-11, "mixed_bfloat16": 2.0**-8}


# Deep, each layer normalised, no shortcuts: with random weights, rounding errors grow from layer to
# layer until the gradient is another one, in keras.applications' InceptionV3 too.
CHAOTIC = {"inception_v3"}


def losses(
    name: str, policy: str, *, learning_rate: float = 0.01, noise: float = 0.0
) -> tuple[list[float], keras.Model]:
    """The loss of each step on one batch of random images, which a network can learn by heart.

    With ``noise``, each step changes the images' values by up to that fraction.
    """
    with dtype_policy(policy):
        model = tiny(name)
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        compile_model(model, build_optimizer("sgd", learning_rate=learning_rate, clip_norm=1.0))
    if policy == "mixed_float16":
        model.optimizer.initial_scale = 2.0**7  # so that no step is lost while it settles
    images = sample_images(model)
    labels = np.arange(len(images)) % 3
    random, found = np.random.default_rng(1), []
    for _ in range(STEPS):
        changed = images * (1 + noise * random.uniform(-1, 1, images.shape)).astype("float32")
        found.append(float(model.train_on_batch(changed, labels)[0]))
        model.reset_metrics()
    return found, model


@pytest.mark.parametrize(
    "name",
    [
        n if n in QUICK else pytest.param(n, marks=pytest.mark.slow)
        for n in sorted(set(MODELS) - CHAOTIC)
    ],
)
def test_losses_fall_as_in_float32(name):
    expected, _ = losses(name, "float32")
    assert expected[-1] < expected[0]
    for policy, tolerance in (("mixed_float16", 0.02), ("mixed_bfloat16", 0.06)):
        found, model = losses(name, policy)
        assert not skipped_steps(model.optimizer)
        assert all(variable.dtype == "float32" for variable in model.trainable_variables)
        # In the mean: after a few updates rounding has made other weights, and single steps part.
        apart = np.abs(np.subtract(found, expected)).mean()
        bound = tolerance * max(expected)
        if apart > bound:  # but not by more than twice what rounding the images alone does
            rounded, _ = losses(name, "float32", noise=LAST_BITS[policy])
            bound = 2 * np.abs(np.subtract(rounded, expected)).mean()
        assert apart <= bound, (policy, found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CHAOTIC))
def test_losses_fall_as_in_float32_on_images_rounded_as_much(name):
    for policy, last_bit in LAST_BITS.items():
        expected, _ = losses(name, "float32", learning_rate=0.001, noise=last_bit)
        found, model = losses(name, policy, learning_rate=0.001)
        assert not skipped_steps(model.optimizer)
        assert expected[-1] < expected[0] / 2
        assert found[-1] < found[0] / 2
        apart = abs(np.mean(found) - np.mean(expected))
        assert apart <= 0.1 * max(expected), (policy, found, expected)
