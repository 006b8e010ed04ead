"""NaN is no diagnosis: weights, decisions, answers and shards that mean nothing are refused."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfskin
from tests.conftest import TINY
from tests.serving.images import encode, make_image
from tfskin.datasets.shards import load_shards
from tfskin.errors import UserError
from tfskin.files import read_json, write_json
from tfskin.inputs import read_labels
from tfskin.prediction.answers import Answers
from tfskin.prediction.options import StreamOptions
from tfskin.prediction.predictors import Predictor
from tfskin.prediction.stream import NO_ANSWER, predict_images
from tfskin.runs import Run
from tfskin.schema import WindowConfig

NAMES = ["mel", "nv"]


@pytest.fixture
def run(tmp_path, tiny_runs):
    return Run(shutil.copytree(tiny_runs[0], tmp_path / "run"))


def spoil(path, layer, value=np.nan):
    """Put a value into the first number of a layer's first weight."""
    model = keras.saving.load_model(path, compile=False)
    weights = model.get_layer(layer).get_weights()
    weights[0].flat[0] = value
    model.get_layer(layer).set_weights(weights)
    model.save(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("layer", ["conv1", "logits"])
def test_a_model_with_a_weight_that_is_no_number_is_refused(run, tmp_path, layer, value):
    names = [layer.name for layer in run.load_model().layers if layer.weights]
    layer = names[0] if layer == "conv1" else layer
    spoil(run.model_path, layer, value)
    for use in (
        lambda: tfskin.predict(run, []),
        lambda: tfskin.evaluate(run),
        lambda: tfskin.export(run, output=tmp_path / "exports"),
    ):
        with pytest.raises(UserError, match=rf"model\.keras: {layer}/\S+ is no number"):
            use()
    assert not (tmp_path / "exports").exists()


def test_start_weights_with_a_weight_that_is_no_number_are_refused(run):
    from tfskin.models import load_weights

    model = run.load_model()
    before = model.get_weights()
    spoil(run.model_path, "logits")
    with pytest.raises(UserError, match="'logits' holds weights that are no numbers"):
        load_weights(model, str(run.folder), name="five_layer")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_checkpoint_with_a_weight_that_is_no_number_is_refused(run):
    (run.folder / "metrics.json").unlink()
    for path in (run.folder / "checkpoints").glob("*.npz"):
        with np.load(path) as file:
            arrays = dict(file)
        arrays["variable_00000"] = np.full_like(arrays["variable_00000"], np.nan)
        np.savez(path, **arrays)
    with pytest.raises(UserError, match=r"npz: holds weights that are no numbers"):
        tfskin.resume(run.folder)


@pytest.mark.parametrize("windows", [None, WindowConfig(size=16, stride=8)])
@pytest.mark.parametrize(
    ("row", "malignancy"),
    [
        ((np.nan, 0.5), None),
        ((np.nan, np.nan), None),
        ((np.inf, 0.0), None),
        ((0.5, 0.4), None),
        ((1.5, -0.5), None),
        ((0.5, 0.5), np.nan),
    ],
)
def test_numbers_that_are_no_probabilities_are_an_error_of_their_row(
    tmp_path, row, malignancy, windows
):
    good, bad = encode(make_image(0)), encode(make_image(1))
    (tmp_path / "good.png").write_bytes(good)
    (tmp_path / "bad.png").write_bytes(bad)

    def classify(encoded):
        answers = [row if windows or data == bad else (0.25, 0.75) for data in encoded]
        values = np.array(answers, np.float32)
        scores = None
        if malignancy is not None:
            scores = np.where(values[:, 0] == row[0], malignancy, 0.5)
        return Answers(values, np.ones(len(encoded), bool), scores)

    predictor = Predictor(NAMES, classify, "made")
    options = StreamOptions(windows=windows)
    paths = [tmp_path / "good.png", tmp_path / "bad.png"]
    found = list(predict_images(predictor, paths, options=options))
    assert found[1].error == NO_ANSWER
    assert found[1].predicted == ""
    assert bool(found[0].error) == bool(windows)


@pytest.mark.parametrize("value", [0, 1e-300, 0.009, 100.1, 1e300, True, "1", None, [1]])
def test_a_temperature_out_of_its_bounds_is_refused(run, value):
    path = run.folder / "decision.json"
    write_json(path, read_json(path) | {"temperature": value})
    with pytest.raises(UserError, match=r"decision\.json"):
        run.decision()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_size", [0, 32]),
        ("image_size", [32, True]),
        ("image_size", [1e9, 32]),
        ("image_size", [32]),
        ("image_size", "32"),
        ("image_size", [40, 32]),
        ("resize", "stretch"),
        ("shards", 5),
        ("classes", {"a": ["melanoma"], "b": ["nevus"]}),
        ("classes", {"melanoma": ["melanoma"]}),
        ("windows", {"size": -1, "stride": 2}),
        ("fold", "x"),
        ("max_side", 0),
    ],
)
def test_inputs_that_do_not_fit_the_run_are_one_line(run, key, value):
    path = run.folder / "inputs.json"
    write_json(path, read_json(path) | {key: value})
    with pytest.raises(UserError, match=r"inputs\.json"):
        run.load_model()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("calibration", {"method": "platt"}),
        ("calibration", {"method": "isotonic", "classes": {}}),
        ("malignant", ["unheard of"]),
        ("thresholds", {"x": {"threshold": "high"}}),
        ("conformal", {"coverage": 0.9, "per_class": {"melanoma": 0.1}}),
    ],
)
def test_a_decision_that_does_not_fit_the_run_is_one_line(run, key, value):
    path = run.folder / "decision.json"
    write_json(path, read_json(path) | {key: value})
    with pytest.raises(UserError, match=r"decision\.json"):
        run.decision()


def change_record(shards, change):
    """Rewrite the train file, its checksums right, with one record changed; sizes are noted."""
    file = load_shards(shards).files["train"][0]
    records = [tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(file)]
    change(records[2].features.feature)
    with tf.io.TFRecordWriter(file) as writer:
        for record in records:
            writer.write(record.SerializeToString())
    import pathlib

    about = read_json(shards / "shards.json")
    about["files"]["train"][pathlib.Path(file).name] = pathlib.Path(file).stat().st_size
    write_json(shards / "shards.json", about)


def set_label(feature, value):
    feature["label"].int64_list.value[:] = [value]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: set_label(f, 99), "label 99"),
        (lambda f: set_label(f, -7), "label -7"),
        (lambda f: f.pop("image"), "has no feature 'image'"),
        (lambda f: f.pop("label"), "has no feature 'label'"),
        (lambda f: f.pop("sex"), "has no feature 'sex'"),
        (lambda f: f["image_id"].bytes_list.value.__setitem__(0, b"\xff"), "is no text"),
        (lambda f: f["image"].bytes_list.value.__setitem__(0, b"GIF"), "cannot be decoded"),
    ],
)
def test_a_record_that_does_not_fit_its_shards_is_one_line(
    tmp_path, monkeypatch, phantom_shards, change, said
):
    shards = shutil.copytree(phantom_shards, tmp_path / "shards")
    change_record(shards, change)
    config = tfskin.read_config("five_layer_rgb.yaml", [*TINY, f"data.shards={shards}"])
    with pytest.raises(UserError, match="shards"):
        tfskin.train(config, output=tmp_path / "run")
    # Another writer's shards, whose fingerprint and tables are of these very records.
    for check in ("check_fingerprint", "check_records_there"):
        monkeypatch.setattr(f"tfskin.datasets.shards.{check}", lambda *_, **__: None)
    with pytest.raises(UserError, match=rf"phantom-train\S+: record 3: .*{said}"):
        tfskin.train(config, output=tmp_path / "run")
    if "decoded" not in said and "'image'" not in said:
        with pytest.raises(UserError, match=said):
            read_labels(load_shards(shards), "train", None)
