"""The table of scripts/compare_recipes.py: means, spreads, and which gain is clear."""

import json

import pytest

from tests.scripts import load_script

SCORES = {
    "plain": [0.50, 0.52, 0.54],
    "focal": [0.53, 0.55, 0.57],  # a gain of 0.03, the spread is 0.02
    "ema": [0.60, 0.60, 0.60],  # a gain of 0.08
}


def write_runs(script, folder) -> None:
    for name, scores in SCORES.items():
        for seed, score in enumerate(scores):
            figures = {key: {"value": score} for key in script.FIGURES}
            metrics = {"splits": {"val": figures}, "training": {"minutes": 4.0}}
            (folder / f"{name}-seed{seed}").mkdir()
            (folder / f"{name}-seed{seed}" / "metrics.json").write_text(json.dumps(metrics))


def test_a_gain_is_clear_beyond_twice_the_spread(tmp_path):
    script = load_script("compare_recipes")
    write_runs(script, tmp_path)
    rows = {row["recipe"]: row for row in script.table(script.read_figures(tmp_path))}
    assert rows["plain"]["macro_auc"] == pytest.approx(0.52)
    assert rows["plain"]["macro_auc_spread"] == pytest.approx(0.02)
    assert rows["focal"]["balanced_accuracy_gain"] == pytest.approx(0.03)
    assert [rows[name]["macro_auc_clear"] for name in SCORES] == [False, False, True]
    (tmp_path / "ema-seed1" / "metrics.json").unlink()
    (tmp_path / "ema-seed2" / "metrics.json").unlink()
    rows = {row["recipe"]: row for row in script.table(script.read_figures(tmp_path))}
    assert not rows["ema"]["macro_auc_clear"]  # one seed has no spread


def test_the_table_is_printed_and_kept(tmp_path, capsys):
    script = load_script("compare_recipes")
    write_runs(script, tmp_path)
    script.show(tmp_path)
    assert "| ema | 3 | 0.600 ± 0.000 | +0.080 * |" in capsys.readouterr().out
    assert (tmp_path / "recipes.csv").read_text().startswith("recipe,seeds,balanced_accuracy,")


def test_every_recipe_is_a_config_that_differs_from_the_plain_one():
    from tfskin.config import read_config

    script = load_script("compare_recipes")
    recipes = script.known_recipes([])
    plain = read_config("five_layer_rgb.yaml", script.COMMON)
    for name, overrides in recipes.items():
        config = read_config("five_layer_rgb.yaml", [*script.COMMON, *overrides])
        assert (config == plain) == (name == script.PLAIN), name


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], ["train.epochs=12", "train.warmup_epochs=1.000"]),
        (["data.sampling=oversample"], ["train.epochs=8", "train.warmup_epochs=0.667"]),
        (["data.sampling=undersample"], ["train.epochs=24", "train.warmup_epochs=2.000"]),
    ],
)
def test_every_recipe_sees_as_many_images(overrides, expected):
    script = load_script("compare_recipes")
    assert script.epochs_of(overrides, 12, {"melanoma": 100, "nevus": 300}) == expected


def test_under_sampling_has_no_more_than_five_times_the_epochs():
    script = load_script("compare_recipes")
    epochs, _ = script.epochs_of(["data.sampling=undersample"], 12, {"melanoma": 1, "nevus": 300})
    assert epochs == "train.epochs=60"
