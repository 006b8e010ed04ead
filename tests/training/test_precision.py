"""Half precision trains as float32 does, for every network of the table."""

import keras
import numpy as np
import pytest

from tests.models.test_contract import images_for, tiny
from tfskin.models import MODELS
from tfskin.training.fit import compile_model
from tfskin.training.optimizers import build_optimizer
from tfskin.training.precision import dtype_policy
from tfskin.training.updates import skipped_steps

QUICK = {"five_layer", "resnet10"}
STEPS = 8


def losses(name: str, policy: str) -> tuple[list[float], keras.Model]:
    """The loss of each step on one batch of random images, which a network can learn by heart."""
    with dtype_policy(policy):
        model = tiny(name)
        for layer in model._flatten_layers():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        compile_model(model, build_optimizer("sgd", learning_rate=0.01, clip_norm=1.0))
    if policy == "mixed_float16":
        model.optimizer.initial_scale = 2.0**7  # so that no step is lost while it settles
    images = images_for(model)
    labels = np.arange(len(images)) % 3
    found = []
    for _ in range(STEPS):
        found.append(float(model.train_on_batch(images, labels)[0]))
        model.reset_metrics()
    return found, model


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in sorted(MODELS)],
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
        assert apart <= tolerance * max(expected), (policy, found, expected)
