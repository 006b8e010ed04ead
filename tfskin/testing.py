"""The contract of networks, losses and sources, as tests to use with one's own pytest.

    from tfskin.testing import check_loss, check_network, check_source

    def test_my_network():
        check_network("my_package.nets:build", image_size=(64, 64))

Each check raises an AssertionError that says what does not hold. tfskin's own networks,
losses and sources pass the same checks.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfskin.datasets.sources.contract import check_source as check_source
from tfskin.layers.batch_norm import BatchNorm, BatchNormMode, set_batch_norm_mode
from tfskin.models import build_model, count_flops, count_parameters, to_probabilities
from tfskin.training.losses import build_loss
from tfskin.training.precision import dtype_policy

CLASSES = 3
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
Make = Callable[..., keras.Model]
"""Builds the same network, with the same weights, at each call; takes more arguments for it."""


def check_network(name: str, *, policies: Sequence[str] = POLICIES, **arguments: Any) -> None:
    """Pass if a network keeps the whole contract.

    Args:
        name: ``package.module:function``, an entry point, or a name of ``tfskin.models.MODELS``.
        policies: the precisions in which it is checked; half precision is slow on a processor.
        **arguments: of its builder, such as ``image_size``; the smallest that show its behaviour
            make the check fast.

    Raises:
        AssertionError: says what does not hold.
        UserError: there is no such network, or it does not take the arguments.
    """
    make = maker(name, **arguments)
    for policy in policies:
        with dtype_policy(policy):
            check_output(make)
            check_probabilities(make)
            check_training(make)
            check_saving(make)
            check_batch_independence(make)
    for mode in ("update", "affine", "frozen"):
        check_batch_norm(make, mode)
    check_seed(make)
    check_costs(make)


def maker(name: str, **arguments: Any) -> Make:
    """A function that builds a network from one seed; its arguments go before those given here."""

    def make(**more: Any) -> keras.Model:
        keras.utils.set_random_seed(0)
        return build_model(name, num_classes=CLASSES, **(arguments | more))

    return make


def check_output(make: Make) -> None:
    """Pass if images in 0..255 become finite float32 logits under the present precision."""
    model = make()
    assert [tensor.name for tensor in model.inputs] == ["image"], "the input must be named 'image'"
    assert model.inputs[0].dtype == "float32", "images must be float32 in any precision"
    assert model.output_names == ["logits"], "the output layer must be named 'logits'"
    logits = model(sample_images(model))
    assert tuple(logits.shape) == (8, CLASSES)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32", "logits must be float32"
    assert np.isfinite(keras.ops.convert_to_numpy(logits)).all(), "logits must be finite"


def check_probabilities(make: Make) -> None:
    """Pass if the softmax of the logits is float32 and sums to 1."""
    model = make()
    images = sample_images(model)
    network = to_probabilities(model)
    assert network.output_names == ["probabilities"]
    probabilities = network.predict(images, verbose=0)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    logits = logits_of(model, images).astype("float64")
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # Graph and eager mode round half-precision convolutions differently.
    tolerance = 1e-5 if model.dtype_policy.name == "float32" else 2e-2
    np.testing.assert_allclose(probabilities, expected, atol=tolerance)


def check_training(make: Make, *, jit_compile: bool = False) -> None:
    """Pass if a few steps move every weight that trains, and all stay finite."""
    model = make()
    policy = model.dtype_policy.name
    weights = model.trainable_weights
    before = snapshot(weights)
    graph = jit_compile or policy == "float32"
    epochs = 4 if policy == "mixed_float16" else 1  # the first steps may overflow
    losses = fit_briefly(model, jit_compile=jit_compile, epochs=epochs, run_eagerly=not graph)
    assert np.isfinite(losses).all(), f"the loss must be finite, and is {losses}"
    assert int(model.optimizer.iterations) > 0, "no update was made"
    still = unmoved_weights(weights, before)
    assert not still, f"weights that train but were not moved: {', '.join(still)}"
    assert all(np.isfinite(weight).all() for weight in snapshot(model.weights))
    assert model.jit_compile == jit_compile


def check_saving(make: Make) -> None:
    """Pass if a saved and loaded network returns the same logits, bit for bit."""
    model = make()
    images = sample_images(model)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        loaded = keras.saving.load_model(Path(folder) / "model.keras")
    np.testing.assert_array_equal(logits_of(model, images), logits_of(loaded, images))
    assert count_parameters(loaded) == count_parameters(model)


def check_color_spaces(make: Make, spaces: Sequence[str]) -> None:
    """Pass if each colour space trains, and no two give the same logits."""
    outputs = []
    for space in spaces:
        model = make(color_space=space)
        images = sample_images(model)
        outputs.append(logits_of(model, images))
        assert np.isfinite(outputs[-1]).all()
        assert np.isfinite(logits_of(model, np.zeros_like(images))).all()
        fit_briefly(model)
        assert np.isfinite(logits_of(model, images)).all()
    for number, one in enumerate(outputs):
        assert not any(np.allclose(one, other) for other in outputs[number + 1 :])


def check_batch_norm(make: Make, mode: BatchNormMode, *, switch: bool = True) -> None:
    """Pass if a real fit moves what a mode of batch normalisation says, and nothing else.

    With ``switch`` the mode is set on a network that has been trained in another, else it is an
    argument of the builder. A network without batch normalisation passes.
    """
    model = make() if switch else make(batch_norm=mode)
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, BatchNorm)]
    if switch and norms:
        fit_briefly(model)
        set_batch_norm_mode(model, mode)
    statistics = [w for layer in norms for w in (layer.moving_mean, layer.moving_variance)]
    affine = [w for layer in norms for w in (layer.gamma, layer.beta) if w is not None]
    before = snapshot(statistics), snapshot(affine)
    fit_briefly(model)
    still = len(unmoved_weights(statistics, before[0])), len(unmoved_weights(affine, before[1]))
    expected = (
        0 if mode == "update" else len(statistics),
        len(affine) if mode == "frozen" else 0,
    )
    assert still == expected, f"mode {mode}: statistics and affine weights that stood: {still}"


def check_batch_independence(make: Make) -> None:
    """Pass if an image's logits do not depend on what else is in its batch."""
    model = make()
    fit_briefly(model)
    images = sample_images(model)
    alone = np.concatenate([logits_of(model, images[i : i + 1]) for i in range(len(images))])
    # Batches are tiled differently, so the last bits may differ; batch statistics would not pass.
    tolerances = {"float32": 1e-4, "mixed_float16": 1e-2, "mixed_bfloat16": 6e-2}
    tolerance = tolerances[model.dtype_policy.name]
    near: dict[str, Any] = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(logits_of(model, images), alone, **near)
    brighter = images.copy()
    brighter[1:] = 255
    np.testing.assert_allclose(logits_of(model, brighter)[0], alone[0], **near)


def check_seed(make: Make) -> None:
    """Pass if the same seed gives the same weights."""
    for first, second in zip(make().get_weights(), make().get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def check_costs(make: Make) -> None:
    """Pass if parameters and operations can be counted."""
    model = make()
    total, trainable = count_parameters(model)
    assert total == model.count_params()
    assert 0 < trainable <= total
    assert count_flops(model) > 0


def check_loss(name: str, **options: Any) -> None:
    """Pass if a loss keeps the contract.

    It takes integer labels (N,) and shares (N, C) with the same result, is the mean over the
    images, falls as the right class's logit rises, stays finite in float16 and for large logits,
    is saved whole, and trains a network.

    Args:
        name: ``package.module:function``, an entry point, or a name of
            ``tfskin.training.losses.LOSSES``.
        **options: of its builder.

    Raises:
        AssertionError: says what does not hold.
        UserError: there is no such loss, or it does not take the options.
    """
    counts = {"a": 10, "b": 40, "c": 950}
    loss = build_loss(name, counts=counts, options=options)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 16)
    logits = (3 * rng.normal(size=(16, CLASSES))).astype("float32")
    shares = np.eye(CLASSES, dtype="float32")[labels]
    try:
        whole = float(loss(labels, logits))
    except Exception as error:
        raise AssertionError(f"a loss takes labels (N,) and logits (N, C): {error}") from error
    near: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(
        float(loss(shares, logits)), whole, err_msg="labels and their shares must agree", **near
    )
    single = [float(loss(labels[i : i + 1], logits[i : i + 1])) for i in range(16)]
    np.testing.assert_allclose(
        np.mean(single), whole, err_msg="the loss must be the mean over the images", **near
    )
    better = float(loss(labels, logits + 2 * shares))
    assert better < whole, "the loss must fall as the right class's logit rises"
    for extreme in (np.full((2, CLASSES), 3e4, "float16"), 1e4 * shares[:2]):
        assert np.isfinite(float(loss(labels[:2], extreme))), "large logits must give a number"
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(labels, logits)) == whole, "a loss must be saved with all its options"
    model = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Dense(CLASSES)])
    model.compile(keras.optimizers.Adam(0.1), loss, jit_compile=False)
    before = snapshot(model.trainable_weights)
    history = model.fit(logits, labels, batch_size=8, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert not unmoved_weights(model.trainable_weights, before), "the loss has no gradient"


def sample_images(model: keras.Model, count: int = 8) -> np.ndarray:
    """Random float32 images in 0..255 of a network's size."""
    shape = (count, *model.input_shape[1:])
    return np.random.default_rng(0).uniform(0, 255, shape).astype("float32")


def logits_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The logits of images, in inference mode."""
    return keras.ops.convert_to_numpy(model(images, training=False))


def fit_briefly(
    model: keras.Model, *, jit_compile: bool = False, epochs: int = 1, run_eagerly: bool = True
) -> list[float]:
    """Compile and train for two steps an epoch; so few are sooner done than a graph is traced."""
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
        run_eagerly=run_eagerly,
    )
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        model.optimizer.initial_scale = 2.0**7  # from 2**15 it takes longer until it has settled
    images = sample_images(model)
    labels = np.arange(len(images)) % CLASSES
    options: dict[str, Any] = {"batch_size": 4, "epochs": epochs, "verbose": 0, "shuffle": False}
    return model.fit(images, labels, **options).history["loss"]


def snapshot(weights: Sequence[Any]) -> list[np.ndarray]:
    """Copies of the values of weights."""
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in weights]


def unmoved_weights(weights: Sequence[Any], before: Sequence[np.ndarray]) -> list[str]:
    """The paths of the weights whose values are what they were."""
    pairs = zip(weights, before, snapshot(weights), strict=True)
    return [weight.path for weight, old, new in pairs if np.array_equal(old, new)]
