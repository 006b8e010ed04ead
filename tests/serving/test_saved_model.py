import base64
import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tests.serving.images import broken_files, encode, make_image
from tfskin.errors import UserError
from tfskin.evaluation.decision import Decision
from tfskin.inputs import Sample
from tfskin.inputs.decode import decode_and_resize
from tfskin.serving import saved_model
from tfskin.serving.checks import Checked, check_export
from tfskin.serving.graph import GraphOptions, Served, make_signatures
from tfskin.serving.robust_decode import REASONS
from tfskin.serving.saved_model import ExportOptions, export_saved_model
from tfskin.serving.surroundings import add_model, list_models
from tfskin.serving.warm_up import replay_warm_up

SIZE = (16, 20)
NAMES = ["mel", "nv", "naïve"]


@keras.saving.register_keras_serializable(package="tests")
class AlwaysTraining(keras.layers.BatchNormalization):
    """The classic fault: normalises by the batch in prediction too."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=True, mask=mask)


def build_tiny(*, seed=0, between=None, outputs="logits", policy="float32", scale=1.0):
    initial = keras.initializers.GlorotUniform(seed=seed)
    image = keras.Input((*SIZE, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1)(image)
    x = keras.layers.Conv2D(4, 3, kernel_initializer=initial, dtype=policy)(x)
    x = keras.layers.BatchNormalization(dtype=policy)(x)
    if between is not None:
        x = between(x)
    x = keras.layers.ReLU(dtype=policy)(x)
    x = keras.layers.Flatten(dtype=policy)(x)
    dense = keras.layers.Dense(
        3, kernel_initializer=initial, name=outputs, dtype="float32", bias_initializer="ones"
    )
    model = keras.Model(image, dense(x))
    dense.kernel.assign(dense.kernel * scale)
    return model


IMAGES = [encode(make_image(seed)) for seed in range(4)]
SAMPLES = [Sample(data, f"ISIC_{row}", "CC-0", "somebody") for row, data in enumerate(IMAGES)]


@pytest.fixture
def images():
    return IMAGES


GRAPH = ("class_names", "temperature", "image_size", "resize", "max_pixels")


def make_graph(*, class_names=NAMES, temperature=1.7, image_size=SIZE, **changes):
    decision = Decision(class_names=tuple(class_names), temperature=temperature)
    return GraphOptions(image_size=image_size, decision=decision, **changes)


def make_options(folder, **changes):
    inside = {name: changes.pop(name) for name in GRAPH if name in changes}
    values = {"output_dir": folder / "served", "name": "tiny", "graph": make_graph(**inside)}
    return ExportOptions(**{**values, **changes})


@pytest.fixture
def options(tmp_path):
    return lambda **changes: make_options(tmp_path, **changes)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A SavedModel that tests only read."""
    folder = tmp_path_factory.mktemp("exported")
    return export_saved_model(build_tiny(), options=make_options(folder), samples=SAMPLES)


def serve(path, encoded):
    return tf.saved_model.load(str(path)).signatures["serving_default"](
        image_bytes=tf.constant(encoded, tf.string)
    )


def test_export_serves_what_the_model_predicts(exported, images):
    model = build_tiny()
    assert exported.parts[-3:] == ("served", "tiny", "1")
    outputs = serve(exported, images)
    for row, data in enumerate(images):
        image = decode_and_resize(tf.constant(data), SIZE, "squash")
        expected = tf.nn.softmax(model(image[None]) / 1.7)[0]
        np.testing.assert_allclose(outputs["probabilities"][row], expected, atol=1e-5)
        assert [name.decode() for name in outputs["class_names"][row].numpy()] == NAMES
    assert outputs["valid"].numpy().tolist() == [True] * 4
    assert outputs["model_version"].numpy().tolist() == [1] * 4
    assert outputs["probabilities"].dtype == tf.float32


def test_signature_is_what_tensorflow_serving_expects(exported):
    loaded = tf.saved_model.load(str(exported))
    assert set(loaded.signatures) == {
        *("serving_default", "images", "images_uint8", "features", "explain"),
    }
    signature = loaded.signatures["serving_default"]
    assert signature.structured_input_signature[1] == {
        "image_bytes": tf.TensorSpec([None], tf.string, name="image_bytes")
    }
    shapes = {name: (s.shape.rank, s.dtype) for name, s in signature.structured_outputs.items()}
    assert shapes == {
        "probabilities": (2, tf.float32),
        "class_names": (2, tf.string),
        "top_probabilities": (2, tf.float32),
        "top_indices": (2, tf.int32),
        "top_names": (2, tf.string),
        "entropy": (1, tf.float32),
        "model_version": (1, tf.int64),
        "valid": (1, tf.bool),
        "reason": (1, tf.string),
    }


def test_broken_files_are_marked_and_harm_no_other(exported, images):
    broken = [data for name, data in broken_files().items() if name not in ("gif", "bmp")]
    outputs = serve(exported, [images[0], *broken, images[1]])
    assert outputs["valid"].numpy().tolist() == [True, *[False] * len(broken), True]
    probabilities = outputs["probabilities"].numpy()
    np.testing.assert_array_equal(probabilities[1:-1], np.zeros((len(broken), 3)))
    reasons = [reason.decode() for reason in outputs["reason"].numpy()]
    assert reasons[0] == reasons[-1] == ""
    assert set(reasons[1:-1]) == set(REASONS[1:5])  # the last is that of decoded images
    for row, data in ((0, images[0]), (-1, images[1])):
        alone = serve(exported, [data])["probabilities"][0]
        np.testing.assert_allclose(probabilities[row], alone, atol=1e-6)
    # JSON has no NaN: the reply of the REST interface must be valid JSON.
    json.dumps(probabilities.tolist(), allow_nan=False)


@pytest.mark.parametrize("count", [1, 3, 64])
def test_every_batch_size_is_served(exported, images, count):
    outputs = serve(exported, [images[0]] * count)
    assert outputs["probabilities"].shape == (count, 3)
    assert np.ptp(outputs["probabilities"], axis=0).max() < 1e-6


def test_a_version_is_never_overwritten(options, tmp_path):
    there = tmp_path / "served" / "tiny" / "9"
    there.mkdir(parents=True)
    with pytest.raises(UserError, match="exists already"):
        export_saved_model(build_tiny(), options=options(version=9), samples=SAMPLES)
    assert list(there.iterdir()) == []


def test_assets_describe_the_model(exported):
    extra = exported / "assets.extra"
    description = json.loads((extra / "export.json").read_text(encoding="utf-8"))
    assert description["image_size"] == list(SIZE)
    assert description["temperature"] == 1.7
    assert description["max_difference_from_keras"] <= 1e-5


def test_two_exports_at_once_get_two_versions(options, monkeypatch):
    def write(model, folder, graph):
        if graph.model_version == 1:  # another export is put in place while this one is written
            (options().output_dir / "tiny" / "1" / "variables").mkdir(parents=True)
        (folder / "written").write_text("")
        return []

    checked = Checked(0.0, [0], [])
    monkeypatch.setattr(saved_model, "_write", write)
    monkeypatch.setattr(saved_model, "check_export", lambda *_, **__: checked)
    path = export_saved_model(build_tiny(), options=options(), samples=SAMPLES)
    assert path.name == "2"
    assert (path / "written").is_file()
    assert [file.name for file in (path.parent / "1").iterdir()] == ["variables"]


def test_what_lies_beside_an_export_says_how_to_serve_it(exported):
    parent, output = exported.parent, exported.parent.parent
    assert (exported / "assets" / "class_names.txt").read_text("utf-8").split() == NAMES
    assert list_models(output / "models.config") == ["tiny"]
    assert "allowed_batch_sizes: 32" in (output / "batching.config").read_text("utf-8")
    readme = (parent / "README.md").read_text("utf-8")
    assert "--model_config_file=/models/models.config" in readme
    assert "http://localhost:8501/v1/models/tiny:predict" in readme
    outputs = serve(exported, IMAGES)
    assert {line.split("`")[1] for line in readme.splitlines() if line.startswith("- `")} == {
        *outputs
    }
    request = json.loads((parent / "request.json").read_text("utf-8"))
    assert base64.b64decode(request["instances"][0]["b64"]) == IMAGES[0]
    card = (exported / "assets.extra" / "MODEL_CARD.md").read_text("utf-8")
    assert "not a medical" in card
    licenses = (exported / "assets.extra" / "LICENSES.md").read_text("utf-8")
    assert "ISIC_3: CC-0, somebody" in licenses


def test_models_config_keeps_what_is_in_it(tmp_path):
    path = tmp_path / "models.config"
    mine = 'model_config_list {\n  # mine\n  config { name: "other" base_path: "/x" }\n}\n'
    path.write_text(mine)
    for _ in range(2):
        add_model(path, "tiny")
    assert list_models(path) == ["other", "tiny"]
    assert "# mine" in path.read_text()
    path.write_text("nonsense {")
    with pytest.raises(UserError, match="is no list of models"):
        add_model(path, "third")


def test_warm_up_requests_are_what_the_server_takes(exported):
    loaded = tf.saved_model.load(str(exported))
    path = str(exported / "assets.extra" / "tf_serving_warmup_requests")
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator()
    ]
    requests = [log.predict_log.request for log in logs]
    assert {request.model_spec.name for request in requests} == {"tiny"}
    asked = {request.model_spec.signature_name for request in requests}
    assert asked == set(loaded.signatures)
    assert replay_warm_up(exported, loaded.signatures) == len(logs) <= 1000
    default = [r for r in requests if r.model_spec.signature_name == "serving_default"]
    sizes = {r.inputs["image_bytes"].tensor_shape.dim[0].size for r in default}
    assert sizes == {1, 2, 4, 8, 16, 32}


def test_mixed_precision_is_served_in_float32(options, images, capfd):
    model = build_tiny(policy="mixed_float16")
    path = export_saved_model(model, options=options(), samples=SAMPLES)
    assert capfd.readouterr() == ("", "")
    loaded = tf.saved_model.load(str(path))
    graph = loaded.signatures["serving_default"].graph
    nodes = [*graph.as_graph_def().node]
    for function in graph.as_graph_def().library.function:
        nodes += function.node_def
    halves = {tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum}
    assert not any(node.attr["T"].type in halves for node in nodes)
    image = decode_and_resize(tf.constant(images[0]), SIZE, "squash")
    expected = tf.nn.softmax(model(image[None]) / 1.7)[0]
    np.testing.assert_allclose(serve(path, images)["probabilities"][0], expected, atol=0.03)


def test_half_weights_and_averaged_views_are_what_the_loaded_export_does(options, images):
    graph = dataclasses.replace(make_graph(), test_time_augmentation=True, float16_weights=True)
    model = build_tiny()
    path = export_saved_model(model, options=options(graph=graph), samples=SAMPLES)
    stored = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    kinds = set(stored.get_variable_to_dtype_map().values())
    assert tf.float16 in kinds
    assert tf.float32 not in kinds
    image = decode_and_resize(tf.constant(images[0]), SIZE, "squash").numpy()
    views = np.stack([image, image[:, ::-1], image[::-1], image[::-1, ::-1]])
    expected = graph.decision.to_probabilities(model(views)).mean(axis=0)
    found = serve(path, images)["probabilities"][0]
    np.testing.assert_allclose(found, expected, atol=5e-3)
    card = (path / "assets.extra" / "MODEL_CARD.md").read_text("utf-8")
    assert "float16" in card
    assert "mirrored" in card


def test_batch_normalization_in_training_mode_is_refused(options):
    model = build_tiny(between=AlwaysTraining())
    with pytest.raises(UserError, match="other images of the batch"):
        export_saved_model(model, options=options(), samples=SAMPLES)
    assert not options().output_dir.exists()


def test_a_difference_from_the_model_is_refused(exported, options, images):
    assert check_export(exported, build_tiny(), images, options=make_graph()).difference <= 1e-5
    with pytest.raises(UserError, match="differ by"):
        check_export(exported, build_tiny(seed=1), images, options=make_graph())


def test_failed_export_leaves_nothing_behind(options, tmp_path):
    with pytest.raises(UserError, match="check images can be read"):
        export_saved_model(
            build_tiny(), options=options(), samples=[Sample(b""), Sample(b"<html>")]
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["a", "b"]}, "3 outputs, but 2"),
        ({"version": 0}, "version 0"),
        ({"name": "../tiny"}, "one folder name"),
        ({"name": ""}, "one folder name"),
    ],
)
def test_wrong_options_are_named(options, changes, message):
    with pytest.raises(UserError, match=message):
        export_saved_model(build_tiny(), options=options(**changes), samples=SAMPLES)


def test_output_folder_that_is_a_file_is_named(options, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "tiny").write_text("")
    with pytest.raises(UserError, match="is a file"):
        export_saved_model(build_tiny(), options=options(), samples=SAMPLES)


def test_a_model_of_probabilities_is_refused(options):
    with pytest.raises(ValueError, match="logits"):
        export_saved_model(build_tiny(outputs="probabilities"), options=options(), samples=SAMPLES)


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_real_images_are_served_as_predicted(resize, real_ham10000, real_isic_archive):
    paths = sorted((real_ham10000 / "images").glob("*.jpg"))[:6]
    paths += sorted(real_isic_archive.glob("*.jpg"))[:3]
    model, graph = build_tiny(), make_graph(resize=resize)
    serve = make_signatures(Served(model, graph))["serving_default"]
    outputs = serve(tf.constant([path.read_bytes() for path in paths]))
    assert outputs["valid"].numpy().all()
    for path, probabilities in zip(paths, outputs["probabilities"].numpy(), strict=True):
        image = decode_and_resize(tf.constant(path.read_bytes()), SIZE, resize)
        expected = graph.decision.to_probabilities(model(image[None]))[0]
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
