"""A run on windows of each picture: trained on all, judged by their mean, one row an image."""

import numpy as np
import pytest

import tfskin
from tests.conftest import TINY
from tfskin.errors import UserError
from tfskin.experiment.judging import load_run_shards, predict_logits
from tfskin.inputs import InputOptions, make_dataset, read_labels
from tfskin.runs import open_run


def silent(_: str) -> None:
    """Swallow the news."""


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
    return open_run(tfskin.train(config, output=folder, say=silent).folder)


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


def test_what_sees_whole_pictures_is_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"trained on windows.*whole pictures"):
        tfskin.export(run, output=tmp_path)
    with pytest.raises(UserError, match="trained on windows"):
        tfskin.explain(run, [tmp_path])
