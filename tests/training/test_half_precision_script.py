"""scripts/bench_half_precision.py: its images, its table and its curves."""

import csv
import sys

import numpy as np

from tests.scripts import load_script


def test_lesions_are_drawn_from_the_seed():
    script = load_script("bench_half_precision")
    images, labels = script.draw_lesions(8, 32)
    again, _ = script.draw_lesions(8, 32)
    assert images.shape == (8, 32, 32, 3)
    assert images.dtype == np.uint8
    assert set(labels.tolist()) == {0, 1}
    np.testing.assert_array_equal(images, again)
    assert images[:, 16, 16].mean() < images[:, 0, 0].mean()  # a dark lesion on light skin


def test_precisions_train_on_the_same_batches_and_leave_a_table_and_curves(
    tmp_path, monkeypatch, capsys
):
    script = load_script("bench_half_precision")
    words = ["five_layer_rgb", "--precisions", "mixed_float16", "--image-size", "32"]
    words += ["--batch-size", "4", "--images", "8", "--steps", "2", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", ["bench", *words, "--output", str(tmp_path / "curves")])
    script.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if "five_layer_rgb" in line]
    assert [row.split(" | ")[1] for row in rows] == ["float32", "mixed_float16"]
    assert " | 1.00 | " in rows[0]
    assert rows[0].endswith(" | 0.000 | 0 |")
    table = list(csv.DictReader((tmp_path / "curves" / "losses.csv").read_text().splitlines()))
    losses = {
        policy: [float(row["loss"]) for row in table if row["precision"] == policy]
        for policy in ("float32", "mixed_float16")
    }
    assert len(losses["float32"]) == 3
    np.testing.assert_allclose(losses["float32"][0], losses["mixed_float16"][0], rtol=0.01)
    assert (tmp_path / "curves" / "losses.png").stat().st_size > 1000
