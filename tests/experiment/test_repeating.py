"""Several runs of one experiment: which they are, what they come to, going on, their ensemble."""

import json
import shutil

import pandas as pd
import pytest

import tfskin
from tests.conftest import TINY
from tests.news import hear
from tfskin.config import read_config, split_sweep
from tfskin.errors import DivergenceError, UserError
from tfskin.experiment import repeating as room
from tfskin.experiment.repeating import REPORTED, train_several
from tfskin.runs import Run, open_run
from tfskin.schema import ComparisonConfig
from tfskin.training.options import Repeats


@pytest.fixture
def trained(monkeypatch, tiny_runs):
    """Trainings cost nothing: each is a copy of a finished run. The configs they were of."""
    configs = []

    def fake(config, *, output, overwrite):
        configs.append(config)
        if config.train.learning_rate == 0.5:
            output.mkdir(parents=True)
            (output / "config.yaml").write_text("")
            raise DivergenceError("epoch 1, step 3: the loss is nan")
        if config.train.epochs == 99:
            raise UserError(f"{output}: holds a run of another config")
        good = config.seed == 1 or config.train.learning_rate == 0.01
        shutil.copytree(tiny_runs[0 if good else 1], output)
        return Run(output)

    monkeypatch.setattr(room, "train", fake)
    return configs


def figure(run, split, name):
    return open_run(run).metrics()["splits"][split][name]["value"]


def test_what_is_no_failed_training_ends_a_sweep_and_leaves_its_tables(tmp_path, trained):
    sweep = Repeats(sweep=split_sweep(["train.learning_rate=0.01,1e-3"]))
    config = read_config("five_layer_rgb.yaml", TINY)
    train_several(config, sweep, output=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.[cj]s*")}
    other = read_config("five_layer_rgb.yaml", [*TINY, "train.epochs=99"])
    with pytest.raises(UserError, match="holds a run of another config"):
        train_several(other, sweep, output=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.[cj]s*")} == before
    assert set(before) == {"runs.csv", "summary.csv", "summary.json"}


def test_seeds_are_reported_as_mean_and_spread(tmp_path, trained, tiny_runs):
    config = read_config("five_layer_rgb.yaml", [*TINY, "seed=1"])
    found = train_several(config, Repeats(seeds=3), output=tmp_path)
    assert [one.seed for one in trained] == [1, 2, 3]
    assert [row["run"] for row in found.rows] == ["seed1", "seed2", "seed3"]
    [summary] = found.summary
    values = [figure(tiny_runs[number], "test", "log_loss") for number in (0, 1, 1)]
    assert summary["test_log_loss"] == pytest.approx(sum(values) / 3)
    assert summary["test_log_loss_spread"] == pytest.approx(pd.Series(values).std())
    written = json.loads((tmp_path / "summary.json").read_text())
    assert written["summary"] == found.summary
    assert list(pd.read_csv(tmp_path / "runs.csv")["seed"]) == [1, 2, 3]
    ensemble = read_config(tmp_path / "ensemble.yaml", (), tfskin.EnsembleConfig)
    assert ensemble.members == [str(tmp_path / f"seed{seed}") for seed in (1, 2, 3)]


def test_a_sweep_is_a_grid_sorted_by_the_monitor_and_hides_the_test_split(
    tmp_path, trained, tiny_runs
):
    config = read_config("five_layer_rgb.yaml", [*TINY, "train.monitor=loss"])
    sweep = split_sweep(["train.learning_rate=0.01,0.5,1e-3", "model.dropout=0,0.5"])
    found = train_several(config, Repeats(sweep=sweep), output=tmp_path)
    settings = [(one.train.learning_rate, one.model.dropout) for one in trained]
    assert settings == [(r, d) for r in (0.01, 0.5, 0.001) for d in (0, 0.5)]
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} >= {
        "learning_rate-0.01__dropout-0",
        "learning_rate-0.001__dropout-0.5",
    }
    losses = [row["loss"] for row in found.summary]
    assert losses[:4] == sorted(losses[:4])
    assert losses[4:] == [None, None]
    assert [row["failed"] for row in found.summary[4:]] == ["epoch 1, step 3: the loss is nan"] * 2
    expected = []
    for folder in tiny_runs:
        best = open_run(folder).metrics()["training"]["best_epoch"]
        expected.append(pd.read_csv(folder / "history.csv")["val_loss"].tolist()[best - 1])
    assert losses[:4] == pytest.approx(sorted([*expected, *expected]))
    assert not any("test" in key for key in [*found.rows[0], *found.summary[0]])
    assert not (tmp_path / "ensemble.yaml").exists()


def test_seeds_of_a_sweep_are_one_row_a_setting(tmp_path, trained):
    config = read_config("five_layer_rgb.yaml", TINY)
    repeats = Repeats(seeds=2, sweep={"model.dropout": [0, 0.5]})
    found = train_several(config, repeats, output=tmp_path)
    assert len(found.rows) == 4
    assert [row["runs"] for row in found.summary] == [2, 2]
    assert all(row["auc_spread"] is not None for row in found.summary)
    assert set(REPORTED) <= {key.removeprefix("val_") for key in found.summary[0]}


VARIANTS = """
variants:
  slow: [train.learning_rate=0.01]
  dropped: [model.dropout=0.5, train.learning_rate=1e-3]
"""


def test_each_variant_is_trained_for_each_seed(tmp_path, trained, tiny_runs):
    path = tmp_path / "two.yaml"
    path.write_text("name: two\n" + VARIANTS)
    config = read_config(path, TINY, ComparisonConfig)
    found = train_several(config, Repeats(seeds=2), output=tmp_path / "all")
    settings = [(one.train.learning_rate, one.model.dropout, one.seed) for one in trained]
    plain = read_config("five_layer_rgb.yaml", TINY).model.dropout
    expected = [(0.01, plain, 0), (0.01, plain, 1), (0.001, 0.5, 0), (0.001, 0.5, 1)]
    assert settings == expected
    assert [row["run"] for row in found.rows] == [
        *("slow__seed0", "slow__seed1", "dropped__seed0", "dropped__seed1")
    ]
    assert {row["variant"]: row["runs"] for row in found.summary} == {"slow": 2, "dropped": 2}
    assert found.splits == ("val", "test")
    scores = [row["auc"] for row in found.summary]
    assert scores == sorted(scores, reverse=True)
    assert not (tmp_path / "all" / "ensemble.yaml").exists()  # they are not of one kind
    assert pd.read_csv(tmp_path / "all" / "summary.csv")["variant"].tolist()


def test_a_sweep_over_variants_shows_val_alone(tmp_path, trained):
    path = tmp_path / "two.yaml"
    path.write_text("name: two\n" + VARIANTS)
    config = read_config(path, TINY, ComparisonConfig)
    repeats = Repeats(sweep={"train.batch_size": [4, 8]})
    found = train_several(config, repeats, output=tmp_path / "all")
    assert found.splits == ("val",)
    assert {row["run"] for row in found.rows} == {
        f"{variant}__batch_size-{size}" for variant in ("slow", "dropped") for size in (4, 8)
    }


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("train.learning_rate", "is written key=a,b"),
        ("train.learning_rate=1", "is written key=a,b"),
        ("seed=1,1", "given twice"),
        ("seed=[1,2", "--sweep"),
        ("train.learning_rat=1,2", "--sweep train.learning_rat=1: .*did you mean 'learning_rate'"),
        ("model.name=lenet/,lenet_", "two runs would be called"),
    ],
)
def test_a_wrong_sweep_is_one_line_and_nothing_trains(tmp_path, trained, sweep, message):
    config = read_config("five_layer_rgb.yaml", TINY)
    with pytest.raises(UserError, match=message) as caught:
        train_several(config, Repeats(sweep=split_sweep([sweep])), output=tmp_path)
    assert "\n" not in str(caught.value)
    assert not trained


def test_folds_must_be_those_of_the_shards(tmp_path, phantom_shards):
    config = read_config("five_layer_rgb.yaml", [*TINY, f"data.shards={phantom_shards}"])
    with pytest.raises(UserError, match="holds no folds, and not 5; prepare them again"):
        train_several(config, Repeats(folds=5), output=tmp_path)


def test_folds_are_trained_gone_on_with_and_joined(tmp_path):
    from tfskin.datasets.options import PhantomOptions, SourceOptions

    source = SourceOptions(phantom=PhantomOptions(lesions=40, image_size=(32, 32)))
    options = tfskin.PrepareOptions(source=source, folds=2)
    shards = tfskin.prepare("phantom", output=tmp_path, options=options)
    keys = [*TINY, "train.epochs=1", f"data.shards={shards.folder}"]
    config = read_config("five_layer_rgb.yaml", keys)
    folder = tmp_path / "runs"

    def stop(line):
        if line.startswith("fold1"):
            raise KeyboardInterrupt

    with hear(stop), pytest.raises(KeyboardInterrupt):
        train_several(config, Repeats(folds=2), output=folder)
    before = (folder / "fold0" / "metrics.json").stat().st_mtime_ns
    found = train_several(config, Repeats(folds=2), output=folder)
    assert (folder / "fold0" / "metrics.json").stat().st_mtime_ns == before
    assert [row["fold"] for row in found.rows] == [0, 1]
    held_out = [set(open_run(folder / f"fold{n}").predictions("val")["image_id"]) for n in (0, 1)]
    assert not held_out[0] & held_out[1]

    joined = read_config(folder / "ensemble.yaml", (), tfskin.EnsembleConfig)
    judged = joined.evaluate.model_copy(update={"explained_images": 1})
    joined = joined.model_copy(update={"evaluate": judged})
    run = tfskin.ensemble(joined, output=tmp_path / "joined")
    assert set(run.metrics()["splits"]) == {"calibration", "test"}
    report = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "integrated gradients" in report
    assert "the members were trained on different folds" in report
