"""Signatures, members, heat maps and decisions, without writing a SavedModel."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.serving.conftest import MEMBERS, NAMES, build_members
from tests.serving.images import encode, make_image
from tfskin.ensembling import Combiner, build_ensemble
from tfskin.evaluation.decision import Decision
from tfskin.evaluation.taps import find_units, run_tapped
from tfskin.inputs.decode import decode_and_resize, decode_image
from tfskin.serving.graph import GraphOptions, Served, dihedral_views, make_signatures
from tfskin.serving.heat_map import find_boxes

FILES = [encode(make_image(seed)) for seed in range(3)]
IMAGES = np.stack([decode_and_resize(tf.constant(data), (32, 32)).numpy() for data in FILES])


@pytest.fixture(scope="module")
def served(ensemble_model, ensemble_graph):
    return make_signatures(Served(ensemble_model, ensemble_graph))


@pytest.fixture(scope="module")
def answers(served):
    outputs = served["serving_default"](tf.constant([*FILES, b""]))
    return {name: value.numpy() for name, value in outputs.items()}


def test_probabilities_and_members_are_those_of_the_model(answers, ensemble_model, ensemble_graph):
    logits = ensemble_model(IMAGES, training=False)
    expected = ensemble_graph.decision.to_probabilities(logits)
    np.testing.assert_allclose(answers["probabilities"][:3], expected, atol=1e-5)
    assert answers["member_names"][0].tolist() == [name.encode() for name in MEMBERS]
    for number in range(3):
        member = ensemble_model.get_layer(f"member_{number}_five_layer")
        own = tf.nn.softmax(member(IMAGES, training=False))
        np.testing.assert_allclose(answers["member_probabilities"][:3, number], own, atol=1e-5)


def test_members_of_one_name_are_told_apart(ensemble_model, ensemble_graph):
    options = dataclasses.replace(ensemble_graph, member_names=("fold0", "fold0", "c"))
    assert Served(ensemble_model, options).member_names == ("fold0", "fold0_2", "c")


def test_decisions_follow_their_formulas(answers):
    p = answers["probabilities"][:3].astype(np.float64)
    np.testing.assert_allclose(answers["malignancy"][:3], p[:, 0] + p[:, 1], atol=1e-6)
    np.testing.assert_allclose(answers["entropy"][:3], -(p * np.log(p)).sum(axis=1), atol=1e-5)
    assert answers["operating_points"][0].tolist() == [b"sensitivity_0.95", b"specificity_0.9"]
    levels = np.array([0.2, 0.99])
    assert (answers["is_malignant"][:3] == ((p[:, 0] + p[:, 1])[:, None] >= levels)).all()
    quantiles = np.array([0.5, 0.66, 1.0])
    assert (answers["prediction_set"][:3] == (1 - p <= quantiles)).all()
    order = np.argsort(-p, axis=1)
    assert (answers["top_indices"][:3] == order).all()
    assert answers["top_names"][0].tolist() == [NAMES[place].encode() for place in order[0]]


def test_an_unread_row_is_blank_and_says_why(answers):
    assert answers["valid"].tolist() == [True, True, True, False]
    assert answers["reason"].tolist() == [b"", b"", b"", b"empty"]
    for name in ("probabilities", "entropy", "malignancy", "prediction_set", "is_malignant"):
        assert not answers[name][3].any(), name
    assert answers["class_names"][3].tolist() == [name.encode() for name in NAMES]


def test_rows_do_not_depend_on_their_companions_in_batches_of_1_to_64(served, answers):
    function = served["serving_default"]
    traces = function.experimental_get_tracing_count()
    for count in range(1, 65):
        rows = np.arange(count) % 3
        outputs = function(tf.constant([FILES[row] for row in rows]))
        expected = answers["probabilities"][rows]
        np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-6)
    assert function.experimental_get_tracing_count() == traces


@pytest.mark.parametrize("size", [(32, 32), (40, 30)])
def test_pixels_that_are_no_numbers_from_0_to_255_are_not_valid(served, size):
    good = np.random.default_rng(0).uniform(0, 255, (*size, 3)).astype(np.float32)
    bad = [good.copy() for _ in range(5)]
    for image, value in zip(bad, (np.nan, np.inf, -1, 256), strict=False):
        image[5, 7, 1] = value
    bad[4] /= 255  # scaled to 0..1, which would look black
    outputs = served["images"](tf.constant(np.stack([good, *bad])))
    alone = served["images"](tf.constant(good[np.newaxis]))
    assert outputs["valid"].numpy().tolist() == [True] + [False] * 5
    assert set(outputs["reason"].numpy()[1:]) == {b"pixels are not numbers from 0 to 255"}
    probabilities = outputs["probabilities"].numpy()
    np.testing.assert_allclose(probabilities[:1], alone["probabilities"], atol=1e-6)
    assert (probabilities[1:] == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (4000, 1), (161, 8), (0, 0)])
@pytest.mark.parametrize("name", ["images", "images_uint8"])
def test_arrays_have_the_sizes_that_files_may_have(served, name, size):
    dtype = np.uint8 if name == "images_uint8" else np.float32
    outputs = served[name](tf.constant(np.full((2, *size, 3), 99, dtype)))
    assert outputs["valid"].numpy().tolist() == [False, False]
    assert set(outputs["reason"].numpy()) == {b"too large, too small or too narrow"}
    assert (outputs["probabilities"].numpy() == 0).all()


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (1, 4000)])
def test_a_file_of_a_few_pixels_has_no_diagnosis(served, size):
    data = encode(make_image(0, height=size[0], width=size[1]))
    outputs = served["serving_default"](tf.constant([data]))
    assert not outputs["valid"].numpy().any()
    assert outputs["reason"].numpy()[0] == b"too large, too small or too narrow"


@pytest.mark.parametrize("name", ["images", "images_uint8"])
def test_arrays_of_any_size_are_served(served, answers, name):
    pixels = np.stack([decode_image(tf.constant(data)).numpy() for data in FILES])
    given = pixels if name == "images_uint8" else pixels.astype(np.float32)
    outputs = served[name](tf.constant(given))
    assert outputs["valid"].numpy().all()
    assert set(outputs["reason"].numpy()) == {b""}
    np.testing.assert_allclose(outputs["probabilities"], answers["probabilities"][:3], atol=1e-6)
    exact = served["images"](tf.constant(IMAGES))["probabilities"]
    np.testing.assert_allclose(exact, answers["probabilities"][:3], atol=1e-6)


def test_the_embedding_is_what_the_members_heads_take(served, ensemble_model):
    features = served["features"](tf.constant(FILES))["features"].numpy()
    assert features.shape == (3, 24)
    for number in range(3):
        head = ensemble_model.get_layer(f"member_{number}_five_layer").get_layer("logits")
        own = features[:, 8 * number : 8 * number + 8] @ head.kernel + head.bias
        member = ensemble_model.get_layer(f"member_{number}_five_layer")
        np.testing.assert_allclose(own, member(IMAGES, training=False), atol=1e-4)


def build_spotter(size=(32, 32)):
    """A network whose class 1 is red and whose class 0 is what is left."""
    image = keras.Input((*size, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    conv = keras.layers.Conv2D(1, 1, activation="relu", name="red")
    x = keras.layers.MaxPooling2D(4)(conv(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    dense = keras.layers.Dense(2, name="logits")
    model = keras.Model(image, dense(x))
    conv.set_weights([np.array([1, -1, -1], np.float32).reshape(1, 1, 3, 1), np.zeros(1)])
    dense.set_weights([np.array([[-50.0, 50.0]]), np.array([1.0, 0.0])])
    return model


def test_the_heat_map_is_over_what_speaks_for_the_class():
    image = make_image(0, height=32, width=32).convert("L").convert("RGB")
    image.paste((255, 0, 0), (20, 4, 28, 12))
    grey = make_image(0, height=32, width=32).convert("L").convert("RGB")
    options = GraphOptions(image_size=(32, 32), decision=Decision(class_names=("other", "red")))
    explain = make_signatures(Served(build_spotter(), options))["explain"]
    outputs = explain(tf.constant([encode(image, "PNG"), encode(grey, "PNG"), b""]))
    assert outputs["class_name"].numpy().tolist() == [b"red", b"other", b""]
    red, nothing, unread = outputs["heat_map"].numpy()
    assert red.shape == (32, 32)
    assert red[6:10, 22:26].min() == pytest.approx(1)
    assert red[:, :16].max() == red[16:].max() == 0
    assert not nothing.any()
    assert not unread.any()
    assert np.isfinite(outputs["probability"]).all()


def map_shapes(model):
    def call(images):
        return model(images, training=False)

    return [tuple(one.shape) for one in run_tapped(call, find_units(model), IMAGES).maps]


def test_members_that_see_frequencies_have_no_share_in_the_heat_map(ensemble_model):
    shares = [unit.share for unit in find_units(ensemble_model)]
    assert shares == pytest.approx([0.625, 0.375, 0])
    # After the fifth pooling of 32 px there is one place left, which says nothing of where.
    assert map_shapes(ensemble_model)[0] == (3, 2, 2, 8)
    spectral = build_members()[2]
    options = GraphOptions(image_size=(32, 32), decision=Decision(class_names=NAMES))
    assert "explain" not in make_signatures(Served(spectral, options))


def test_stacking_members_share_the_heat_map_equally():
    members = build_members()[:2]
    rows = tuple(tuple(float(v) for v in row) for row in np.eye(3, 6))
    combiner = Combiner("stacking", coefficients=rows, bias=(0.0, 0.0, 0.0))
    units = find_units(build_ensemble(members, combiner))
    assert [unit.share for unit in units] == [0.5, 0.5]


def test_a_nested_backbone_has_a_map_too():
    inner_image = keras.Input((32, 32, 3))
    inner = keras.Model(inner_image, keras.layers.Conv2D(5, 3)(inner_image), name="backbone")
    image = keras.Input((32, 32, 3), name="image")
    pooled = keras.layers.GlobalAveragePooling2D()(inner(image))
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(pooled))
    assert map_shapes(model) == [(3, 30, 30, 5)]


@pytest.mark.parametrize("poolings", [1, 2])
def test_the_map_is_what_comes_before_the_last_poolings(poolings):
    image = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Conv2D(5, 3, padding="same")(image)
    for _ in range(poolings):
        x = keras.layers.MaxPooling2D(2)(x)
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(pooled))
    assert map_shapes(model) == [(3, 32, 32, 5)]


@pytest.mark.parametrize("resize", ["squash", "crop", "imagenet", "pad"])
def test_boxes_say_what_the_network_saw(resize):
    boxes = find_boxes(tf.constant([[100, 200], [200, 100]]), (32, 32), resize).numpy()
    expected: dict[str, list[list[float]]] = {
        "squash": [[0, 0, 1, 1], [0, 0, 1, 1]],
        "crop": [[0, 0.25, 1, 0.75], [0.25, 0, 0.75, 1]],
        "imagenet": [
            [0.0625, 0.28125, 0.9375, 0.71875],
            [0.28125, 0.0625, 0.71875, 0.9375],
        ],
        "pad": [[-0.5, 0, 1.5, 1], [0, -0.5, 1, 1.5]],
    }
    np.testing.assert_allclose(boxes, expected[resize], atol=1e-6)


def test_test_time_augmentation_is_the_mean_of_eight_views(ensemble_model, ensemble_graph):
    options = dataclasses.replace(ensemble_graph, test_time_augmentation=True)
    outputs = Served(ensemble_model, options).classify(tf.constant(IMAGES))
    views = [np.rot90(IMAGES, turn, (1, 2)) for turn in range(4)]
    views += [view[:, :, ::-1] for view in views]
    decision = ensemble_graph.decision
    each = [decision.to_probabilities(ensemble_model(view.copy())) for view in views]
    np.testing.assert_allclose(outputs["probabilities"], np.mean(each, axis=0), atol=1e-5)
    turned = Served(ensemble_model, options).classify(tf.constant(views[1].copy()))
    np.testing.assert_allclose(outputs["probabilities"], turned["probabilities"], atol=1e-5)
    assert len(dihedral_views(tf.zeros((1, 4, 6, 3)))) == 4


def test_float16_weights_are_half_the_bytes_and_compute_in_float32(ensemble_model, ensemble_graph):
    options = dataclasses.replace(ensemble_graph, float16_weights=True)
    served = Served(ensemble_model, options)
    kinds = {variable.dtype for variable in served.variables}
    assert "float32" not in kinds
    half = served.classify(tf.constant(IMAGES))["probabilities"]
    full = Served(ensemble_model, ensemble_graph).classify(tf.constant(IMAGES))["probabilities"]
    assert half.dtype == tf.float32
    np.testing.assert_allclose(half, full, atol=5e-3)
    assert np.abs(half - full).max() > 0
