import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.serving.pictures import broken_files, encode, make_picture
from tfskin.errors import UserError
from tfskin.inputs.decode import decode_and_resize
from tfskin.serving.saved_model import ExportOptions, check_export, export_saved_model

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


@pytest.fixture(scope="module")
def images():
    return [encode(make_picture(seed)) for seed in range(4)]


def make_options(folder, **changes):
    values = {
        "class_names": NAMES,
        "image_size": SIZE,
        "output_dir": folder / "served",
        "name": "tiny",
        "temperature": 1.7,
    }
    return ExportOptions(**{**values, **changes})


@pytest.fixture
def options(tmp_path):
    return lambda **changes: make_options(tmp_path, **changes)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, images):
    """A SavedModel that tests only read."""
    folder = tmp_path_factory.mktemp("exported")
    return export_saved_model(build_tiny(), options=make_options(folder), check_images=images)


def serve(path, encoded):
    return tf.saved_model.load(str(path)).signatures["serving_default"](
        image_bytes=tf.constant(encoded, tf.string)
    )


def test_export_serves_what_the_model_predicts(options, images, capfd):
    model = build_tiny()
    path = export_saved_model(model, options=options(), check_images=images)
    assert path == options().output_dir / "tiny" / "1"
    assert capfd.readouterr() == ("", "")
    outputs = serve(path, images)
    for row, data in enumerate(images):
        image = decode_and_resize(tf.constant(data), SIZE, "squash")
        expected = tf.nn.softmax(model(image[None]) / 1.7)[0]
        np.testing.assert_allclose(outputs["probabilities"][row], expected, atol=1e-5)
        assert [name.decode() for name in outputs["class_names"][row].numpy()] == NAMES
    assert outputs["valid"].numpy().tolist() == [True] * 4
    assert outputs["probabilities"].dtype == tf.float32


def test_signature_is_what_tensorflow_serving_expects(exported):
    loaded = tf.saved_model.load(str(exported))
    assert list(loaded.signatures) == ["serving_default"]
    signature = loaded.signatures["serving_default"]
    assert signature.structured_input_signature[1] == {
        "image_bytes": tf.TensorSpec([None], tf.string, name="image_bytes")
    }
    shapes = {name: (s.shape.rank, s.dtype) for name, s in signature.structured_outputs.items()}
    assert shapes == {
        "probabilities": (2, tf.float32),
        "class_names": (2, tf.string),
        "valid": (1, tf.bool),
    }


def test_broken_files_are_marked_and_harm_no_other(exported, images):
    broken = list(broken_files().values())
    outputs = serve(exported, [images[0], *broken, images[1]])
    assert outputs["valid"].numpy().tolist() == [True, *[False] * len(broken), True]
    probabilities = outputs["probabilities"].numpy()
    np.testing.assert_array_equal(probabilities[1:-1], np.zeros((len(broken), 3)))
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


def test_versions_count_up_and_are_never_overwritten(options, images):
    model = build_tiny()
    path = export_saved_model(model, options=options(version=9), check_images=images)
    assert path.name == "9"
    before = (path / "saved_model.pb").stat().st_mtime_ns
    with pytest.raises(UserError, match="exists already"):
        export_saved_model(model, options=options(version=9), check_images=images)
    assert (path / "saved_model.pb").stat().st_mtime_ns == before
    assert export_saved_model(model, options=options(), check_images=images).name == "10"


def test_assets_describe_the_model(exported):
    extra = exported / "assets.extra"
    assert json.loads((extra / "class_names.json").read_text(encoding="utf-8")) == NAMES
    description = json.loads((extra / "export.json").read_text(encoding="utf-8"))
    assert description["image_size"] == list(SIZE)
    assert description["temperature"] == 1.7
    assert description["max_difference_from_keras"] <= 1e-5


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_served_in_float32(options, images, policy):
    model = build_tiny(policy=policy)
    path = export_saved_model(model, options=options(), check_images=images)
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


def test_batch_normalization_in_training_mode_is_refused(options, images):
    model = build_tiny(between=AlwaysTraining())
    with pytest.raises(UserError, match="other images of the batch"):
        export_saved_model(model, options=options(), check_images=images)
    assert not options().output_dir.exists()


def test_a_difference_from_the_model_is_refused(exported, options, images):
    assert check_export(exported, build_tiny(), images, options=options()) <= 1e-5
    with pytest.raises(UserError, match="differ by"):
        check_export(exported, build_tiny(seed=1), images, options=options())
    with pytest.raises(UserError, match="differ by"):
        check_export(exported, build_tiny(), images, options=options(temperature=1.0))


def test_failed_export_leaves_nothing_behind(options, tmp_path):
    with pytest.raises(UserError, match="check images can be read"):
        export_saved_model(build_tiny(), options=options(), check_images=[b"", b"<html>"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ["a", "b"]}, "3 outputs, but 2"),
        ({"version": 0}, "version 0"),
        ({"temperature": 0.0}, "temperature"),
        ({"name": "../tiny"}, "one folder name"),
        ({"name": ""}, "one folder name"),
    ],
)
def test_wrong_options_are_named(options, images, changes, message):
    with pytest.raises(UserError, match=message):
        export_saved_model(build_tiny(), options=options(**changes), check_images=images)


def test_output_folder_that_is_a_file_is_named(options, images, tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "tiny").write_text("")
    with pytest.raises(UserError, match="is a file"):
        export_saved_model(build_tiny(), options=options(), check_images=images)


def test_a_model_of_probabilities_is_refused(options, images):
    with pytest.raises(ValueError, match="logits"):
        export_saved_model(
            build_tiny(outputs="probabilities"), options=options(), check_images=images
        )


def test_real_images_are_served_as_predicted(options, real_ham10000, real_isic_archive):
    paths = sorted((real_ham10000 / "images").glob("*.jpg"))[:6]
    paths += sorted(real_isic_archive.glob("*.jpg"))[:3]
    files = [path.read_bytes() for path in paths]
    chosen = options(resize="crop")
    path = export_saved_model(build_tiny(), options=chosen, check_images=files)
    assert check_export(path, build_tiny(), files, options=chosen) <= 1e-5
    assert serve(path, files)["valid"].numpy().all()
