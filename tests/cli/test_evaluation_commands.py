"""tfskin-evaluate, -compare and -explain as a user types them."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.cli.test_commands import command, only_line

__all__ = ["command"]


def test_evaluate_prints_points_and_the_challenges_score(tmp_path, command, tiny_runs):
    done = command(
        "evaluate", tiny_runs[0], "evaluate.sensitivities=[0.8]", "--challenge", "2020",
        "--resamples", 100, "--output", tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "sensitivity 0.8" in done.out
    assert "sensitivity 0.95" not in done.out
    assert "ISIC 2020 auc: " in done.out
    assert (tmp_path / "challenge" / "submission_2020.csv").is_file()
    assert f"report: {tmp_path / 'report.html'}" in done.out.replace("\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--challenge", "2017"], "must be one of 2018, 2019, 2020, 2024"),
        (["evaluate.coverge=0.8"], "did you mean 'coverage'"),
        (["evaluate.malignant=[mel]"], "evaluate.malignant: 'mel' is no class"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, command, tiny_runs, words, message):
    done = command("evaluate", tiny_runs[0], *words, "--output", tmp_path / "out")
    assert done.code == 2
    assert message in only_line(done)
    assert not (tmp_path / "out").exists()


def test_a_key_that_another_data_set_does_not_use_is_refused(
    tmp_path, command, tiny_runs, phantom_shards
):
    path = tmp_path / "external.yaml"
    path.write_text(
        f"name: other\nshards: {phantom_shards}\nsplits: [test]\n"
        "classes: {bad: [melanoma], good: [nevus]}\nfold: {bad: [melanoma], good: [nevus]}\n"
    )
    for word in ("calibration=isotonic", "malignant=[nevus]", "sensitivities=[0.8]"):
        done = command("evaluate", tiny_runs[0], path, f"evaluate.{word}")
        assert done.code == 2
        assert f"evaluate.{word.split('=')[0]}: is not used" in only_line(done)


def test_compare_prints_differences(tmp_path, command, tiny_runs):
    done = command("compare", *tiny_runs, "--output", tmp_path, "--resamples", 100)
    assert done.code == 0, done.err
    assert "rgb minus hsv" in done.out
    assert "DeLong" in done.out
    done = command("compare", *tiny_runs, "--output", tmp_path, "--resamples", 100, "--json")
    assert json.loads(done.out)["split"] == "test"
    done = command("compare", tiny_runs[0], "--output", tmp_path)
    assert done.code == 2
    assert "two runs or more" in only_line(done)


def test_explanations_are_one_json_object(command, monkeypatch):
    rows = [{"path": "lesion.jpg", "predicted": "nv", "probability": 0.9}]
    monkeypatch.setattr("tfskin.experiment.explain", lambda *_, **__: pd.DataFrame(rows))
    done = command("explain", "runs/first", "lesion.jpg", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"pictures": rows}


def test_explain_names_the_images_that_it_drew(tmp_path, command, tiny_runs):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "lesion.jpg")
    done = command("explain", tiny_runs[0], tmp_path / "lesion.jpg", "--output", tmp_path / "seen")
    assert done.code == 0, done.err
    assert (tmp_path / "seen" / "001_lesion.png").is_file()
    (tmp_path / "bad.jpg").write_text("<html>")
    done = command("explain", tiny_runs[0], tmp_path / "bad.jpg", "--output", tmp_path / "none")
    assert done.code == 2
    assert "bad.jpg" in only_line(done)
    assert not (tmp_path / "none").exists()
