"""Networks against independent implementations, random weights copied across."""

import keras
import numpy as np
import pytest

from tfskin.layers.parts import leaf_layers
from tfskin.models import build_model
from tfskin.models.weights import from_keras_resnet

CLASSES = 5


def randomise(model, seed=0):
    """Weights as after training: no layer dead, statistics away from 0 and 1."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        shape = tuple(weight.shape)
        if weight.name in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            value = rng.normal(0, (1.5 / np.prod(shape[:-1])) ** 0.5, shape)
        else:
            value = rng.normal(0, 0.1, shape)
        weight.assign(value)


def scale_logits(reference, prepared):
    """Bring the logits to a size that trained networks have."""
    last = reference.layers[-1]
    factor = 5 / np.abs(reference.predict(prepared, verbose=0)).max()
    last.set_weights([weight * factor for weight in last.get_weights()])


def images(side):
    return np.random.default_rng(1).uniform(0, 255, (2, side, side, 3)).astype("float32")


def copy_by_order(reference, model):
    """Weighted layers of a class in the order of their graphs."""
    for kind in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense):
        _copy(reference, model, lambda layer, kind=kind: type(layer) is kind)
    _copy(reference, model, lambda layer: isinstance(layer, keras.layers.BatchNormalization))


def _copy(reference, model, wanted):
    sources = [x for x in leaf_layers(reference) if wanted(x) and x.weights]
    targets = [x for x in leaf_layers(model) if wanted(x) and x.weights]
    assert len(sources) == len(targets)
    for source, target in zip(sources, targets, strict=True):
        target.set_weights(source.get_weights())


def assert_same_logits(model, reference, given, prepared):
    ours = model.predict(given, verbose=0)
    theirs = reference.predict(prepared, verbose=0)
    assert 0.1 < np.ptp(theirs) < 20
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize(
    "depth", [50, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (101, 152))]
)
def test_resnet_v1_equals_keras(depth):
    reference = getattr(keras.applications, f"ResNet{depth}")(
        weights=None, input_shape=(64, 64, 3), classes=CLASSES, classifier_activation=None
    )
    randomise(reference)
    given = images(64)
    prepared = keras.applications.resnet.preprocess_input(given.copy())
    scale_logits(reference, prepared)
    model = build_model(
        f"resnet{depth}",
        image_size=(64, 64),
        num_classes=CLASSES,
        stride_placement="v1",
        small_stem=False,
    )
    named = {layer.name: layer.get_weights() for layer in reference.layers if layer.weights}
    ours = from_keras_resnet(named)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(ours[layer.name])
    assert_same_logits(model, reference, given, prepared)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [16, 19])
def test_vgg_equals_keras(depth):
    reference = getattr(keras.applications, f"VGG{depth}")(
        weights=None, input_shape=(224, 224, 3), classes=CLASSES, classifier_activation=None
    )
    randomise(reference)
    given = images(224)
    prepared = keras.applications.vgg16.preprocess_input(given.copy())
    scale_logits(reference, prepared)
    model = build_model(f"vgg{depth}", image_size=(224, 224), num_classes=CLASSES)
    copy_by_order(reference, model)
    assert_same_logits(model, reference, given, prepared)


@pytest.mark.slow
def test_inception_v3_equals_keras():
    reference = keras.applications.InceptionV3(
        weights=None, input_shape=(80, 75, 3), classes=CLASSES, classifier_activation=None
    )
    randomise(reference)
    given = images(80)[:, :, :75]
    scale_logits(reference, given / 127.5 - 1)
    model = build_model("inception_v3", image_size=(80, 75), num_classes=CLASSES)
    copy_by_order(reference, model)
    assert_same_logits(model, reference, given, given / 127.5 - 1)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["S", "M", "L"])
def test_efficientnet_v2_equals_keras(size):
    reference = getattr(keras.applications, f"EfficientNetV2{size}")(
        weights=None, input_shape=(64, 64, 3), classes=CLASSES, classifier_activation=None
    )
    randomise(reference)
    given = images(64)
    scale_logits(reference, given)
    name = f"efficientnet_v2_{size.lower()}"
    model = build_model(name, image_size=(64, 64), num_classes=CLASSES)
    copy_by_order(reference, model)
    assert_same_logits(model, reference, given, given)  # Keras scales inside the network
