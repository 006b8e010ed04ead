"""A run on windows of each image: trained on all, judged by their mean, one row an image."""

import shutil

import numpy as np
import pytest
from PIL import Image

import tfskin
from tests.conftest import TINY
from tfskin.datasets.images import shrink_image
from tfskin.ensembling import fit_temperature
from tfskin.errors import UserError
from tfskin.evaluation.decision import decide
from tfskin.experiment.fitting.data import fit_data
from tfskin.experiment.predicting import load_predictor, stream_predictions
from tfskin.experiment.run_predictions import load_run_shards, predict_logits
from tfskin.files import write_json
from tfskin.inputs import InputOptions, class_names, make_dataset, read_labels, read_samples
from tfskin.prediction.stream import predict_images
from tfskin.runs import open_run
from tfskin.schema import EvaluateConfig


@pytest.fixture(scope="module")
def run(tmp_path_factory, phantom_shards):
    overrides = [
        *TINY,
        "train.epochs=1",
        "data.windows={size: 32, stride: 32}",
        "data.sampling=class_balanced",
        f"data.shards={phantom_shards}",
    ]
    config = tfskin.read_config("five_layer_rgb.yaml", overrides)
    folder = tmp_path_factory.mktemp("runs") / "windows"
    return open_run(tfskin.train(config, output=folder).folder)


@pytest.mark.parametrize("sampling", ["none", "oversample"])
def test_class_counts_are_those_of_the_windows(phantom_shards, sampling):
    """Class weights, priors and the weight of an epoch's last batch are made of them."""
    keys = [*TINY, "data.windows={size: 32, stride: 32}", f"data.sampling={sampling}"]
    config = tfskin.read_config("five_layer_rgb.yaml", [*keys, f"data.shards={phantom_shards}"])
    shards = tfskin.load_shards(phantom_shards)
    data = fit_data(config, shards, class_names(shards, None))
    images = read_labels(shards, "train", None)["diagnosis"].value_counts().to_dict()
    if sampling == "oversample":
        images = dict.fromkeys(images, max(images.values()))
    assert data.class_counts == {name: 4 * count for name, count in images.items()}
    assert sum(data.class_counts.values()) == data.images_per_epoch


def test_sampling_with_images_of_unequal_size_is_refused(phantom_shards, monkeypatch):
    keys = [*TINY, "data.windows={size: 32, stride: 32}", "data.sampling=undersample"]
    config = tfskin.read_config("five_layer_rgb.yaml", [*keys, f"data.shards={phantom_shards}"])
    shards = tfskin.load_shards(phantom_shards)
    counted = "tfskin.experiment.fitting.data.count_windows"
    monkeypatch.setattr(counted, lambda *_, **__: np.array([4, 6]))
    with pytest.raises(UserError, match=r"^data.sampling: images have 4 to 6 windows each"):
        fit_data(config, shards, class_names(shards, None))


def test_predictions_have_one_row_an_image(run):
    shards = load_run_shards(run)
    for split in ("val", "test"):
        facts = read_labels(shards, split, None)
        table = run.predictions(split)
        assert table["image_id"].tolist() == facts["image_id"].tolist()
        np.testing.assert_allclose(table[run.class_names()].sum(axis=1), 1, atol=1e-6)


def test_an_images_probabilities_are_the_mean_of_its_windows(run):
    shards, model = load_run_shards(run), run.load_model()
    inputs = run.inputs()
    options = InputOptions(image_size=inputs.image_size, windows=inputs.windows)
    windows = model.predict(make_dataset(shards, "val", options=options), verbose=0)
    logits = predict_logits(model, shards, "val", inputs)
    assert len(windows) == 4 * len(logits)  # 48 x 64 pixels, by windows of 32
    powers = np.exp(windows)
    means = (powers / powers.sum(axis=1, keepdims=True)).reshape(len(logits), 4, -1).mean(axis=1)
    np.testing.assert_allclose(np.exp(logits), means, rtol=1e-4)


def test_predicting_stored_images_gives_what_the_run_is_judged_by(run, tmp_path):
    # What follows the mean must follow it.
    decision = run.decision().to_dict() | {"temperature": 2.5}
    names = run.class_names()
    decision |= {"malignant": names[:1], "conformal": {"coverage": 0.9}}
    decision["conformal"]["per_class"] = dict.fromkeys(names, 0.6)
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    write_json(copy / "decision.json", decision)
    shards, run = load_run_shards(run), open_run(copy)
    paths = []
    for number, sample in enumerate(read_samples(shards, limit=3)):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(sample.data)
    logits = predict_logits(run.load_model(), shards, "train", run.inputs())[:3]
    expected = decide(logits, run.decision()).probabilities
    rows = list(stream_predictions(load_predictor(run), paths))
    np.testing.assert_allclose([row.probabilities for row in rows], expected, atol=1e-5)
    scores = [row.malignancy or 0.0 for row in rows]
    np.testing.assert_allclose(scores, expected[:, 0], atol=1e-5)
    inside = [tuple(np.array(names)[row >= 0.4]) for row in expected]
    assert [row.prediction_set for row in rows] == inside


def test_an_ensembles_temperature_is_that_of_the_mean(run, tmp_path):
    other = shutil.copytree(run.folder, tmp_path / "other")
    model = run.load_model()
    model.set_weights([2 * weight for weight in model.get_weights()])
    model.save(other / "model.keras")
    config = tfskin.EnsembleConfig(
        members=[str(run.folder), str(other)],
        combination="mean_logits",
        evaluate=EvaluateConfig(resamples=100, reliance_images=0, explained_images=0),
    )
    both = tfskin.ensemble(config, output=tmp_path / "both")
    decision, shards = both.decision(), load_run_shards(run)
    assert decision.inside_the_model["temperature"] == 1
    logits = predict_logits(both.load_model(), shards, "calibration", both.inputs())
    labels = read_labels(shards, "calibration", None)["label"].to_numpy()
    assert decision.temperature == pytest.approx(fit_temperature(logits, labels), rel=1e-6)
    table = both.predictions("calibration")[both.class_names()]
    np.testing.assert_allclose(table, decide(logits, decision).probabilities, atol=1e-6)
    assert f"temperature {decision.temperature:.3f}" in both.metrics()["combination"]
    stacking = config.model_copy(update={"combination": "stacking"})
    with pytest.raises(UserError, match=r"trained on windows.*choose another combination"):
        tfskin.ensemble(stacking, output=tmp_path / "never")


def test_large_images_are_shrunk_as_the_stored_ones_were(run, tmp_path):
    predictor = load_predictor(run)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (700, 900, 3), np.uint8))
    small = shrink_image(image, run.inputs().max_side)
    assert max(small.size) == load_run_shards(run).max_side
    image.save(tmp_path / "large.png")
    small.save(tmp_path / "small.png")
    paths = [tmp_path / "large.png", tmp_path / "small.png"]
    one, other = predict_images(predictor, paths)
    assert one.probabilities == other.probabilities


def test_what_sees_whole_images_is_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"trained on windows.*whole images"):
        tfskin.export(run, output=tmp_path)
    with pytest.raises(UserError, match="trained on windows"):
        tfskin.explain(run, [tmp_path])
