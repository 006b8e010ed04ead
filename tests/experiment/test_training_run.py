"""What a run directory holds, and what happens when one is there already."""

import json

import keras
import numpy as np
import pandas as pd
import pytest

import tfskin
from tests.conftest import TINY
from tfskin.errors import UserError
from tfskin.evaluation.metrics import compute_metrics
from tfskin.files import read_json
from tfskin.runs import open_run


def silent(_: str) -> None:
    """Swallow the news."""


def tiny_config(shards, *more):
    return tfskin.read_config("five_layer_rgb.yaml", [*TINY, f"data.shards={shards}", *more])


def test_a_run_is_the_directory_that_the_design_names(tiny_runs):
    folder = tiny_runs[0]
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "config.yaml",
        "model.keras",
        "checkpoints",
        "class_names.json",
        "history.csv",
        "predictions",
        "decision.json",
        "metrics.json",
        "report.html",
        "environment.json",
        "inputs.json",
        "plots",
        "tb",
    }
    plots = {path.name for path in (folder / "plots").iterdir()}
    assert plots >= {"training_curves.png", "confusion_matrix_test.png", "roc_val.png"}
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["keras"] == keras.__version__
    assert environment["shards_fingerprint"] == open_run(folder).inputs().fingerprint


def test_history_has_every_figure_on_train_and_val(tiny_runs):
    history = pd.read_csv(tiny_runs[0] / "history.csv")
    assert list(history["epoch"]) == [1, 2]
    for figure in ("loss", "auc", "balanced_accuracy", "recall_melanoma", "specificity_nevus"):
        assert figure in history
        assert f"val_{figure}" in history
    assert history["learning_rate"].iloc[-1] == pytest.approx(0, abs=1e-6)


def test_metrics_are_those_of_the_written_predictions(tiny_runs):
    run = open_run(tiny_runs[0])
    names = run.class_names()
    for split in ("train", "val", "calibration", "test"):
        table = run.predictions(split)
        assert list(table.columns) == [
            "image_id",
            "lesion_id",
            "patient_id",
            "group",
            "label",
            *names,
        ]
        labels = np.array([names.index(label) for label in table["label"]])
        figures = compute_metrics(labels, table[names].to_numpy(), names)
        written = run.metrics()["splits"][split]
        assert written["macro_auc"]["value"] == pytest.approx(figures["macro_auc"])
        assert written["accuracy"]["value"] == pytest.approx(figures["accuracy"])
        low, high = written["macro_auc"]["low"], written["macro_auc"]["high"]
        assert low <= written["macro_auc"]["value"] <= high


def test_the_kept_weights_are_those_of_the_best_epoch(tiny_runs):
    run = open_run(tiny_runs[0])
    history = pd.read_csv(run.folder / "history.csv")
    best = history["val_auc"].max()
    assert history["val_auc"].iloc[run.metrics()["training"]["best_epoch"] - 1] == best
    assert run.metrics()["splits"]["val"]["macro_auc"]["value"] == pytest.approx(best, abs=1e-6)


def test_a_finished_run_is_left_alone_and_another_config_is_refused(
    tmp_path, tiny_runs, phantom_shards
):
    lines: list[str] = []
    before = (tiny_runs[0] / "model.keras").stat().st_mtime_ns
    tfskin.train(tiny_config(phantom_shards), output=tiny_runs[0], say=lines.append)
    assert "finished" in lines[0]
    assert (tiny_runs[0] / "model.keras").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"another config \(seed is 0 there, 9 here\); give"):
        tfskin.train(tiny_config(phantom_shards, "seed=9"), output=tiny_runs[0], say=silent)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not a run"):
        tfskin.train(tiny_config(phantom_shards), output=tmp_path, say=silent)
    assert (tmp_path / "thesis.txt").exists()


def test_training_from_a_runs_config_repeats_it(tmp_path, tiny_runs):
    config = tfskin.read_config(tiny_runs[0] / "config.yaml")
    again = tfskin.train(config, output=tmp_path / "again", say=silent)
    first = open_run(tiny_runs[0])
    for one, other in zip(again.load_model().weights, first.load_model().weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    pd.testing.assert_frame_equal(
        again.predictions("test"), first.predictions("test"), check_exact=True
    )


def train_one_epoch(config, folder):
    """Begin a run, and stop it once its first epoch is kept."""

    def stop_after_one(line):
        if line.startswith("epoch   1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tfskin.train(config, output=folder, say=stop_after_one)


def test_a_stopped_run_is_resumed(tmp_path, tiny_runs, phantom_shards):
    folder = tmp_path / "stopped"
    train_one_epoch(tiny_config(phantom_shards), folder)
    assert not open_run(folder).finished
    run = tfskin.resume(folder, say=silent)
    assert run.finished
    whole = open_run(tiny_runs[0]).predictions("test")
    pd.testing.assert_frame_equal(run.predictions("test"), whole, check_exact=True)


def test_a_run_goes_on_in_the_precision_that_it_began_with(tmp_path, monkeypatch, phantom_shards):
    """Begun without a GPU under ``auto``, and resumed where there seems to be one."""
    folder = tmp_path / "stopped"
    train_one_epoch(tiny_config(phantom_shards), folder)
    before = read_json(folder / "environment.json")
    monkeypatch.setattr("tfskin.training.precision.has_gpu", lambda: True)
    run = tfskin.resume(folder, say=silent)
    after = read_json(folder / "environment.json")
    for key in ("precision", "precision_reason"):
        assert after[key] == before[key]
    assert run.load_model().dtype_policy.name == "float32"


def test_a_run_is_resumed_from_another_folder(tmp_path, monkeypatch, phantom_shards):
    monkeypatch.chdir(phantom_shards.parent)
    config = tiny_config(phantom_shards.name)
    train_one_epoch(config, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert tfskin.resume("run", say=silent).finished


def test_another_run_is_not_written_over(tiny_runs):
    before = (tiny_runs[1] / "metrics.json").read_bytes()
    with pytest.raises(UserError, match="another run"):
        tfskin.evaluate(tiny_runs[0], output=tiny_runs[1], say=silent)
    assert (tiny_runs[1] / "metrics.json").read_bytes() == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.classes={a: [melanoma], b: [nevsu]}", "did you mean 'nevus'"),
        ("data.classes={a: [melanoma, nevus]}", "two"),
        ("data.classes={label: [melanoma], b: [nevus]}", "'label' is a column"),
        ("data.shards=nowhere", "nowhere"),
        ("model.name=five_leyer", "did you mean 'five_layer'"),
        ("model.widths=[4, 4]", r"model\.widths"),
        ("model.image_size=16", r"model\.image_size"),
        ("model.activation=rellu", "did you mean 'relu'"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    tmp_path, phantom_shards, override, message
):
    with pytest.raises(UserError, match=message) as caught:
        tfskin.train(tiny_config(phantom_shards, override), output=tmp_path / "run", say=silent)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_classes_are_merged_at_read(tmp_path, phantom_shards):
    config = tiny_config(
        phantom_shards, "data.classes={mole: [nevus], cancer: [melanoma]}", "train.epochs=1"
    )
    run = tfskin.train(config, output=tmp_path / "run", say=silent)
    assert run.class_names() == ["mole", "cancer"]
    assert set(run.predictions("test")["label"]) == {"mole", "cancer"}
