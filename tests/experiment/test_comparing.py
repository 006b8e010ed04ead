"""Runs are compared on the same images, or refused in one line."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import tfskin
from tfskin.errors import UserError
from tfskin.runs import open_run
from tfskin.schema import EvaluateConfig

SMALL = EvaluateConfig(resamples=100, reliance_images=0, explained_images=0)


def test_runs_are_compared_on_the_same_images(tmp_path, tiny_runs):
    result = tfskin.compare(tiny_runs, output=tmp_path / "pair", resamples=100)
    (pair,) = result["pairs"]
    assert {pair["first"], pair["second"]} == {"rgb", "hsv"}
    first, second = (open_run(folder).metrics()["splits"]["test"] for folder in tiny_runs)
    gap = first["macro_auc"]["value"] - second["macro_auc"]["value"]
    assert pair["figures"]["macro_auc"]["value"] == pytest.approx(gap, abs=1e-6)
    assert pair["delong"]["difference"] == pytest.approx(gap, abs=1e-6)  # two classes
    assert {p.name for p in (tmp_path / "pair").iterdir()} == {
        "comparison.json",
        "roc.png",
        "report.html",
    }
    assert json.loads((tmp_path / "pair" / "comparison.json").read_text()) == result


def test_a_comparison_takes_the_malignant_classes_that_the_run_was_judged_by(tmp_path, tiny_runs):
    first = tmp_path / "first"
    shutil.copytree(tiny_runs[0], first)
    config = SMALL.model_copy(update={"malignant": ["nevus"]})
    tfskin.evaluate(first, config=config)
    result = tfskin.compare([first, tiny_runs[1]], output=tmp_path / "pair", resamples=100)
    assert result["malignant"] == ["nevus"]


def test_runs_that_cannot_be_compared_are_named(tmp_path, tiny_runs):
    def refuse(message, runs, **options):
        with pytest.raises(UserError, match=message):
            tfskin.compare(runs, output=tmp_path / "never", **options)
        assert not (tmp_path / "never").exists()

    refuse("two runs or more", tiny_runs[:1])
    refuse("given twice", [tiny_runs[0], tiny_runs[0]])
    refuse("no predictions", tiny_runs, split="nowhere")
    other = tmp_path / "other"
    shutil.copytree(tiny_runs[1], other)
    path = other / "predictions" / "test.csv"
    table = pd.read_csv(path)
    table.iloc[1:].to_csv(path, index=False)
    refuse("other images of test", [tiny_runs[0], other])
    swapped = table.assign(label=table["label"].map({"nevus": "melanoma", "melanoma": "nevus"}))
    swapped.to_csv(path, index=False)
    refuse("has another label", [tiny_runs[0], other])
    table.assign(nevus=np.nan).to_csv(path, index=False)
    refuse("other: predictions of test: probabilities of row 0 are not", [tiny_runs[0], other])
    with pytest.raises(UserError, match="is a run"):
        tfskin.compare(tiny_runs, output=tiny_runs[0])
