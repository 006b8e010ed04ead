"""What a run directory holds, and what happens when one is there already."""

import json
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

import tfskin
import tfskin.cli.train as train_cli
from tests.conftest import TINY
from tests.holding import another_writer
from tests.news import hear
from tfskin.config import describe_difference
from tfskin.errors import UserError
from tfskin.evaluation.metrics import compute_metrics
from tfskin.experiment.fitting.data import fit_data
from tfskin.experiment.run_predictions import input_options
from tfskin.files import read_json, write_json
from tfskin.inputs import count_windows, read_labels
from tfskin.runs import open_run, remove_run


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
    tmp_path, tiny_runs, phantom_shards, news
):
    before = (tiny_runs[0] / "model.keras").stat().st_mtime_ns
    tfskin.train(tiny_config(phantom_shards), output=tiny_runs[0])
    assert "finished" in news[0]
    assert (tiny_runs[0] / "model.keras").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"another config \(seed is 0 there, 9 here\); give"):
        tfskin.train(tiny_config(phantom_shards, "seed=9"), output=tiny_runs[0])
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not a run"):
        tfskin.train(tiny_config(phantom_shards), output=tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_training_from_a_runs_config_repeats_it(tmp_path, tiny_runs):
    config = tfskin.read_config(tiny_runs[0] / "config.yaml")
    again = tfskin.train(config, output=tmp_path / "again")
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

    with hear(stop_after_one), pytest.raises(KeyboardInterrupt):
        tfskin.train(config, output=folder)


def test_a_stopped_run_is_resumed(tmp_path, tiny_runs, phantom_shards):
    folder = tmp_path / "stopped"
    train_one_epoch(tiny_config(phantom_shards), folder)
    assert not open_run(folder).finished
    run = tfskin.resume(folder)
    assert run.finished
    whole = open_run(tiny_runs[0]).predictions("test")
    pd.testing.assert_frame_equal(run.predictions("test"), whole, check_exact=True)


def test_a_damaged_checkpoint_is_told_of_once(tmp_path, phantom_shards, news):
    folder = tmp_path / "stopped"
    train_one_epoch(tiny_config(phantom_shards), folder)
    (folder / "checkpoints" / "epoch-00002-step-00000000.npz").write_bytes(b"torn")
    news.clear()
    assert tfskin.resume(folder).finished
    assert sum("is damaged" in line for line in news) == 1
    assert sum(line == "going on after epoch 1" for line in news) == 1


def test_six_frames_lead_from_the_command_to_the_first_step(tmp_path, monkeypatch, phantom_shards):
    class Reached(BaseException):
        pass

    def stop(*_):
        raise Reached

    monkeypatch.setattr(keras.Model, "train_step", stop)
    words = ["tfskin-train", *TINY, f"data.shards={phantom_shards}"]
    monkeypatch.setattr(sys, "argv", [*words, "--output", str(tmp_path / "run")])
    with pytest.raises(Reached) as caught:
        train_cli.main()
    package = str(Path(tfskin.__file__).parent)
    frames = [entry for entry in caught.traceback if str(entry.path).startswith(package)]
    assert len(frames) <= 6, frames


def test_evaluating_a_stopped_run_does_not_finish_it(tmp_path, phantom_shards):
    folder = tmp_path / "stopped"
    train_one_epoch(tiny_config(phantom_shards), folder)
    tfskin.evaluate(folder)
    assert (folder / "metrics.json").is_file()
    assert not open_run(folder).finished
    assert tfskin.resume(folder).metrics()["training"]["epochs"] == 2


def test_a_run_does_not_go_on_with_classes_or_records_in_another_order(tmp_path, phantom_shards):
    folder = tmp_path / "stopped"
    train_one_epoch(tiny_config(phantom_shards, "data.classes={a: [melanoma], b: [nevus]}"), folder)
    swapped = tiny_config(phantom_shards, "data.classes={b: [nevus], a: [melanoma]}")
    with pytest.raises(UserError, match=r"data\.classes\.a stands in another place there"):
        tfskin.train(swapped, output=folder)
    again = tfskin.read_config(folder / "config.yaml")
    assert describe_difference(again, tfskin.read_config(folder / "config.yaml")) is None
    inputs = read_json(folder / "inputs.json")
    write_json(folder / "inputs.json", inputs | {"order": "another"})
    with pytest.raises(UserError, match="its shards have changed since it began"):
        tfskin.resume(folder)
    write_json(folder / "inputs.json", inputs | {"order": None})  # of a version that noted none
    assert tfskin.resume(folder).finished


def test_val_of_one_class_needs_another_monitor_than_auc(monkeypatch, phantom_shards):
    shards = tfskin.load_shards(phantom_shards)

    def read_alike(shards, split, classes):
        return read_labels(shards, split, classes).assign(label=1)

    monkeypatch.setattr("tfskin.experiment.fitting.data.read_labels", read_alike)
    with pytest.raises(UserError, match=r"all images of the val split are nevus.*monitor=loss"):
        fit_data(tiny_config(phantom_shards), shards, ["melanoma", "nevus"])
    fit_data(tiny_config(phantom_shards, "train.monitor=loss"), shards, ["melanoma", "nevus"])


def test_what_is_refused_leaves_the_run_that_it_would_overwrite(tmp_path, tiny_runs):
    folder = shutil.copytree(tiny_runs[0], tmp_path / "run")
    stages = "train.stages=[{unfreeze: all, epochs: 1}, {unfreeze: head, epochs: 1}]"
    config = tfskin.read_config(
        folder / "config.yaml",
        [
            "model={name: googlenet, image_size: 96, use_bn: true}",
            *(stages, "train.feature_views=1"),
        ],
    )
    with pytest.raises(UserError, match=r"the head of googlenet .* model\.aux_weight=0"):
        tfskin.train(config, output=folder, overwrite=True)
    assert open_run(folder).finished


def test_a_killed_removal_leaves_no_half_run(tmp_path, monkeypatch, tiny_runs):
    folder = shutil.copytree(tiny_runs[0], tmp_path / "run")

    def die(path):
        (path / "config.yaml").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tfskin.runs.shutil.rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            remove_run(folder)
    assert not folder.exists()
    shutil.copytree(tiny_runs[0], folder)
    remove_run(folder)
    assert not list(tmp_path.iterdir())


def test_batches_of_a_run_that_is_judged_are_as_large_as_asked(
    tmp_path, monkeypatch, phantom_shards, news
):
    seen = []

    def spy(inputs, *, batch_size=64):
        seen.append(batch_size)
        return input_options(inputs, batch_size=batch_size)

    for module in ("run_predictions", "checking_batch_norm"):
        monkeypatch.setattr(f"tfskin.experiment.{module}.input_options", spy)
    more = ("evaluate.batch_size=3", "train.recalibrate=10", "train.epochs=1")
    tfskin.train(tiny_config(phantom_shards, *more), output=tmp_path / "run")
    assert set(seen) == {3}
    assert any("on 10 training images" in line for line in news)


@pytest.mark.parametrize("more", [(), ("data.windows={size: 32, stride: 32}",)])
def test_recalibration_sees_as_many_images_as_it_says(tmp_path, monkeypatch, phantom_shards, more):
    counts = []

    def spy(model, batches):
        counts.append(sum(len(batch) for batch in batches))
        return 1

    monkeypatch.setattr("tfskin.experiment.checking_batch_norm.recalibrate", spy)
    config = tiny_config(phantom_shards, "train.recalibrate=20", "train.epochs=1", *more)
    tfskin.train(config, output=tmp_path / "run")
    options = input_options(open_run(tmp_path / "run").inputs())
    windows = count_windows(tfskin.load_shards(phantom_shards), "train", options=options)
    assert counts == [windows[:20].sum()]
    assert not more or counts[0] > 20


def test_a_run_that_another_process_trains_is_left_to_it(tmp_path, phantom_shards):
    folder = tmp_path / "run"
    config = tiny_config(phantom_shards)
    train_one_epoch(config, folder)
    with another_writer(folder) as process:
        before = sorted(folder.rglob("*"))
        for overwrite in (False, True):
            with pytest.raises(UserError, match=f"process {process.pid} has been writing it"):
                tfskin.train(config, output=folder, overwrite=overwrite)
        assert sorted(folder.rglob("*")) == before
    assert tfskin.train(config, output=folder, overwrite=True).finished


def test_a_run_goes_on_in_the_precision_that_it_began_with(tmp_path, monkeypatch, phantom_shards):
    """Begun without a GPU under ``auto``, and resumed where there seems to be one."""
    folder = tmp_path / "stopped"
    train_one_epoch(tiny_config(phantom_shards), folder)
    before = read_json(folder / "environment.json")
    monkeypatch.setattr("tfskin.training.precision.has_gpu", lambda: True)
    run = tfskin.resume(folder)
    after = read_json(folder / "environment.json")
    for key in ("precision", "precision_reason"):
        assert after[key] == before[key]
    assert run.load_model().dtype_policy.name == "float32"


def test_a_run_is_resumed_from_another_folder(tmp_path, monkeypatch, phantom_shards):
    monkeypatch.chdir(phantom_shards.parent)
    config = tiny_config(phantom_shards.name)
    train_one_epoch(config, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert tfskin.resume("run").finished


def test_another_run_is_not_written_over(tiny_runs):
    before = (tiny_runs[1] / "metrics.json").read_bytes()
    with pytest.raises(UserError, match="is a run; choose another --output"):
        tfskin.evaluate(tiny_runs[0], output=tiny_runs[1])
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
        tfskin.train(tiny_config(phantom_shards, override), output=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_classes_are_merged_at_read(tmp_path, phantom_shards):
    config = tiny_config(
        phantom_shards, "data.classes={mole: [nevus], cancer: [melanoma]}", "train.epochs=1"
    )
    run = tfskin.train(config, output=tmp_path / "run")
    assert run.class_names() == ["mole", "cancer"]
    assert set(run.predictions("test")["label"]) == {"mole", "cancer"}
