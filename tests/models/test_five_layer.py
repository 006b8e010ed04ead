"""The five-layer network."""

from itertools import pairwise

import keras
import numpy as np
import pytest

from tfskin.errors import UserError
from tfskin.models import build_model, count_parameters
from tfskin.models.arguments import ArgumentError
from tfskin.models.five_layer import build_five_layer


def test_default_has_about_a_million_parameters():
    widths = [3, 24, 48, 96, 192, 384]
    kernels = sum(9 * a * b for a, b in pairwise(widths))
    norms = 4 * sum(widths[1:])
    model = build_five_layer(num_classes=7)
    assert count_parameters(model)[0] == kernels + norms + 384 * 7 + 7 == 887_599


def test_size_of_the_input_does_not_change_the_weights():
    small = build_five_layer(image_size=(32, 32), num_classes=2, widths=(2,) * 5)
    large = build_five_layer(image_size=(64, 100), num_classes=2, widths=(2,) * 5)
    assert count_parameters(small) == count_parameters(large)


def test_arguments_reach_their_layers():
    model = build_five_layer(
        num_classes=2,
        widths=(1, 2, 3, 4, 5),
        activation="silu",
        initializer="glorot_uniform",
        dropout=0.25,
        l2=0.01,
        batch_norm="affine",
        bn_momentum=0.8,
        bn_epsilon=0.02,
    )
    for number in range(1, 6):
        convolution = model.get_layer(f"block{number}_conv")
        assert convolution.filters == number
        assert type(convolution.kernel_initializer).__name__ == "GlorotUniform"
        assert float(convolution.kernel_regularizer.l2) == pytest.approx(0.01)
        norm = model.get_layer(f"block{number}_bn")
        assert (norm.mode, norm.momentum, norm.epsilon) == ("affine", 0.8, 0.02)
        assert model.get_layer(f"block{number}_activation").activation is keras.activations.silu
    assert model.get_layer("dropout").rate == 0.25
    kernels = [model.get_layer(f"block{number}_conv").kernel for number in range(1, 6)]
    penalty = 0.01 * sum(float((keras.ops.convert_to_numpy(k) ** 2).sum()) for k in kernels)
    assert sum(float(loss) for loss in model.losses) == pytest.approx(penalty, rel=1e-5)


def test_learns_two_colors():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    labels = np.arange(32) % 2
    images = rng.uniform(0, 120, (32, 32, 32, 3)).astype("float32")
    images[labels == 1, ..., 0] += 120
    model = build_five_layer(image_size=(32, 32), num_classes=2, widths=(8,) * 5, dropout=0.0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    model.fit(images, labels, batch_size=8, epochs=10, verbose=0)
    assert (model.predict(images, verbose=0).argmax(axis=1) == labels).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": (8, 8, 8)}, "model.widths: five numbers are needed, one a block, got 3"),
        ({"image_size": (31, 96)}, "31 x 96 px is too small, each side needs at least 32 px"),
        ({"activation": "rellu"}, "model.activation: 'rellu' is no activation of Keras .*'relu'"),
        ({"initializer": "he_norml"}, "model.initializer: 'he_norml' is no .*'he_normal'"),
    ],
)
def test_wrong_values_name_the_key(arguments, message):
    with pytest.raises(ArgumentError):
        build_five_layer(num_classes=2, **arguments)
    with pytest.raises(UserError, match=message):
        build_model("five_layer", num_classes=2, **arguments)
