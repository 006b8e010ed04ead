"""Grad-CAM and integrated gradients against hand-made formulas, for models within models."""

from typing import Any

import keras
import numpy as np
import pytest

from tests.models.test_contract import tiny
from tfskin.ensembling import Combiner, as_float32, build_ensemble
from tfskin.evaluation.explanations import embed, explain_images, nearest
from tfskin.evaluation.taps import find_units
from tfskin.models import MODELS, build_model

TINY: dict[str, Any] = {"image_size": (32, 32), "num_classes": 3, "widths": (4, 4, 8, 8, 8)}


def images(count=2, size=(32, 32)):
    random = np.random.default_rng(0)
    return random.uniform(0, 255, (count, *size, 3)).astype(np.float32)


def plain(size=(16, 20)):
    """A convolution, an average and a dense layer: Grad-CAM has a closed form."""
    keras.utils.set_random_seed(0)
    image = keras.Input((*size, 3), name="image")
    scaled = keras.layers.Rescaling(1 / 255)(image)
    features = keras.layers.Conv2D(5, 3, padding="same", name="features")(scaled)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    logits = keras.layers.Dense(3, name="logits")(pooled)
    return keras.Model(image, logits)


def test_grad_cam_is_its_formula():
    model, shown = plain(), images(2, (16, 20))
    found = explain_images(model, shown, [0, 2], steps=2)
    assert found.grad_cam is not None
    assert found.note == ""
    maps = keras.Model(model.input, model.get_layer("features").output).predict(shown, verbose=0)
    kernel = model.get_layer("logits").kernel.numpy()
    for n, label in enumerate([0, 2]):
        # Each place has the same share in the average, so the slopes are the class's own weights.
        cam = np.maximum((maps[n] * kernel[:, label]).sum(axis=2), 0)
        np.testing.assert_allclose(found.grad_cam[n], cam / cam.max(), atol=1e-4)


def test_integrated_gradients_are_complete():
    for model in (plain(), build_model("five_layer", color_space="rgb", **TINY)):
        size = model.input_shape[1:3]
        found = explain_images(model, images(2, size), [1, 2], steps=32)
        assert found.gradients.shape == (2, *size)
        np.testing.assert_allclose(found.completeness, 1, atol=0.1)


def test_a_model_that_sees_one_spot_is_explained_by_it():
    image = keras.Input((16, 16, 3), name="image")
    spot = keras.layers.Cropping2D(((4, 8), (4, 8)))(keras.layers.Rescaling(1 / 255)(image))
    features = keras.layers.Conv2D(2, 1, kernel_initializer="ones", name="features")(spot)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    logits = keras.layers.Dense(2, name="logits")(pooled)
    model = keras.Model(image, logits)
    shown = images(1, (16, 16))
    found = np.abs(explain_images(model, shown, [0], steps=4).gradients[0])
    outside = found.copy()
    outside[4:8, 4:8] = 0
    assert found.max() > 0
    assert outside.max() == 0


ORDINARY = ("five_layer", "lenet", "alexnet", "vgg16", "resnet10")
"""The smallest member of each family that is built in a second or two."""


def every_network() -> list[Any]:
    """Every name of the table in both precisions; what takes long is slow."""
    return [
        pytest.param(name, policy, marks=() if name in ORDINARY else (pytest.mark.slow,))
        for name in MODELS
        for policy in ("float32", "mixed_float16")
    ]


@pytest.mark.parametrize(("name", "policy"), every_network())
def test_every_network_of_the_table_is_explained(name, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = tiny(name)
    finally:
        keras.config.set_dtype_policy(before)
    if policy == "mixed_float16":
        assert any(layer.compute_dtype == "float16" for layer in model._flatten_layers())
    model = as_float32(model)
    assert not any(layer.compute_dtype == "float16" for layer in model._flatten_layers())
    size = model.input_shape[1:3]
    found = explain_images(model, images(1, size), [1], steps=2)
    assert found.note == ""
    assert found.grad_cam is not None
    assert found.grad_cam.shape == found.gradients.shape == (1, *size)
    assert np.isfinite(found.grad_cam).all()
    assert found.grad_cam.min() >= 0
    assert np.isfinite(found.gradients).all()
    assert np.abs(found.gradients).max() > 0
    (unit,) = find_units(model)
    assert unit.head is not None
    assert unit.head.name == "logits"
    keras.backend.clear_session()


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_ensembles_and_backbones_are_explained(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        members = [build_model("five_layer", color_space=s, **TINY) for s in ("rgb", "fft")]
        inner = keras.Sequential(
            [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()], name="backbone"
        )
        image = keras.Input((32, 32, 3), name="image")
        logits = keras.layers.Dense(3, dtype="float32", name="logits")(inner(image))
        members.append(keras.Model(image, logits, name="nested"))
    finally:
        keras.config.set_dtype_policy(before)
    ensemble = build_ensemble(members, Combiner("weights", weights=(0.5, 0.25, 0.25)))
    assert [unit.spectral for unit in find_units(ensemble)] == [False, True, False]
    shown = images(1)
    before = np.asarray(ensemble(shown))
    found = explain_images(ensemble, shown, [0], steps=2)
    assert found.grad_cam is not None
    assert found.grad_cam.shape == (1, 32, 32)
    assert found.grad_cam.max() == 1
    assert np.isfinite(found.gradients).all()
    assert found.note == "Grad-CAM is of 2 of 3 members; the others' maps have no places."
    np.testing.assert_array_equal(np.asarray(ensemble(shown)), before)
    alone = explain_images(as_float32(members[1]), shown, [0], steps=2)
    assert alone.grad_cam is None
    assert alone.note == "No Grad-CAM: its maps are of frequencies."
    assert np.abs(alone.gradients).max() > 0


@pytest.mark.parametrize("weights", [(0.75, 0.25), (1.0, 0.0)])
def test_an_ensembles_map_is_the_sum_of_its_members_by_their_weights(weights):
    members = [plain((32, 32)) for _ in range(2)]
    for seed, member in enumerate(members):
        random = np.random.default_rng(seed)
        member.set_weights([random.normal(size=w.shape) for w in member.get_weights()])
    shown = images(1)
    each = [explain_images(member, shown, [1], steps=1).grad_cam for member in members]
    assert all(one is not None and one.any() for one in each)
    expected = sum(weight * one for weight, one in zip(weights, each, strict=True))
    ensemble = build_ensemble(members, Combiner("weights", weights=weights))
    found = explain_images(ensemble, shown, [1], steps=1).grad_cam
    assert found is not None
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-5)


def test_tokens_of_a_transformer_are_a_map():
    image = keras.Input((32, 32, 3), name="image")
    patches = keras.layers.Conv2D(6, 8, strides=8)(image)
    tokens = keras.layers.Reshape((16, 6))(patches)
    tokens = keras.layers.LayerNormalization()(tokens)
    tokens = keras.layers.MultiHeadAttention(2, 4)(tokens, tokens)
    tokens = keras.layers.LayerNormalization(name="last")(tokens)
    pooled = keras.layers.GlobalAveragePooling1D()(tokens)
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(pooled))
    shown = images(1)
    label = int(np.asarray(model(shown)).argmax())  # a logit above 0: some place speaks for it
    (unit,) = find_units(model)
    assert unit.features is not None
    assert unit.features.name == "last"
    found = explain_images(model, shown, [label], steps=4)
    assert found.grad_cam is not None
    assert found.grad_cam.shape == (1, 32, 32)
    assert found.grad_cam.max() == 1


def test_a_model_without_a_map_says_so():
    image = keras.Input((8, 8, 3), name="image")
    flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(image))
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(flat))
    found = explain_images(model, images(1, (8, 8)), [0], steps=4)
    assert found.grad_cam is None
    assert found.note == "No Grad-CAM: it has no map of features."


def test_an_image_is_nearest_to_itself():
    model = build_model("five_layer", **TINY)
    shown = images(6)
    known = embed(model, iter([shown[:4], shown[4:]]))
    assert known.shape == (6, 8)
    np.testing.assert_allclose(np.linalg.norm(known, axis=1), 1, atol=1e-5)
    order, similarity = nearest(known[[4, 1]], known, count=2)
    assert order[:, 0].tolist() == [4, 1]
    np.testing.assert_allclose(similarity[:, 0], 1, atol=1e-5)
