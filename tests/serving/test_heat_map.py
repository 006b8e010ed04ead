"""The endpoint's heat map is the one that tfskin-explain and the report show."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_contract import tiny
from tests.serving.conftest import SAMPLES
from tfskin.evaluation.decision import Decision
from tfskin.evaluation.explanations import explain_images
from tfskin.inputs.decode import decode_and_resize
from tfskin.serving.graph import GraphOptions
from tfskin.serving.saved_model import ExportOptions, export_saved_model

FILES = [sample.data for sample in SAMPLES]


def build_tokens():
    """A transformer's tokens, a class token before them."""
    keras.utils.set_random_seed(1)
    image = keras.Input((32, 40, 3), name="image")
    patches = keras.layers.Conv2D(6, 8, strides=(8, 10))(keras.layers.Rescaling(1 / 255)(image))
    tokens = keras.layers.Reshape((16, 6))(patches)
    tokens = keras.layers.ZeroPadding1D((1, 0))(tokens)
    tokens = keras.layers.MultiHeadAttention(2, 4)(tokens, tokens)
    tokens = keras.layers.LayerNormalization()(tokens)
    pooled = keras.layers.GlobalAveragePooling1D()(tokens)
    return keras.Model(image, keras.layers.Dense(3, name="logits")(pooled), name="tokens")


def check_heat_maps(folder, model):
    """The same images through the SavedModel's ``explain`` and through ``explain_images``."""
    loaded = tf.saved_model.load(str(folder))
    served = loaded.signatures["explain"](image_bytes=tf.constant(FILES))
    size = model.input_shape[1:3]
    images = np.stack([decode_and_resize(tf.constant(data), size).numpy() for data in FILES])
    found = explain_images(model, images, served["class_index"].numpy(), steps=1).grad_cam
    assert found is not None
    assert found.max() == pytest.approx(1)
    np.testing.assert_allclose(served["heat_map"], found, atol=1e-5)


def test_an_ensembles_heat_map_is_the_same_everywhere(ensemble_export, ensemble_model):
    check_heat_maps(ensemble_export, ensemble_model)


@pytest.mark.parametrize(
    "name",
    [
        "five_layer",
        "resnet10",
        "tokens",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("vgg16", "googlenet", "inception_v3", "efficientnet_v2_s")
        ),
    ],
)
def test_a_heat_map_is_the_same_everywhere(tmp_path, name):
    model = build_tokens() if name == "tokens" else tiny(name)
    decision = Decision(class_names=("a", "b", "c"))
    graph = GraphOptions(image_size=model.input_shape[1:3], decision=decision)
    options = ExportOptions(graph=graph, output_dir=tmp_path, name=name)
    check_heat_maps(export_saved_model(model, options=options, samples=SAMPLES), model)
    keras.backend.clear_session()
