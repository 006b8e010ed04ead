"""The commands about networks: their table, their batch normalisation, several side by side."""

import csv
import importlib
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest

from tests.conftest import TINY
from tfskin.runs import open_run


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``tfskin-<name> words`` in this process: exit code, output, news."""

    def call(name, *words):
        monkeypatch.setattr(sys, "argv", [f"tfskin-{name}", *map(str, words)])
        main = importlib.import_module(f"tfskin.cli.{name.replace('-', '_')}").main
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return call


@pytest.mark.parametrize("name", ["models", "check_bn"])
def test_help_loads_no_tensorflow(name):
    code = (
        "import sys\n"
        f"sys.argv = ['tfskin-{name}', '--help']\n"
        f"from tfskin.cli.{name} import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "assert not {'tensorflow', 'keras', 'pandas'} & set(sys.modules)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--debug" in done.stdout


def test_the_table_as_text_and_csv(tmp_path, command):
    path = tmp_path / "models.csv"
    words = ["lenet", "five_layer", "--image-size", 32, "--classes", 10]
    code, out, err = command("models", *words, "--output", path)
    assert code == 0, err
    assert "62,006" in out
    assert "32x32" in out
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["lenet", "five_layer"]
    assert rows[0]["parameters"] == "62006"
    assert rows[0]["inference_images_per_s"] == ""
    code, _, err = command("models", *words, "--output", path)
    assert code == 2
    assert "--overwrite" in err


def test_the_table_measures_this_machine(command):
    words = ["lenet", "--image-size", 32, "--classes", 3, "--benchmark", "--batch-size", 2]
    code, out, err = command("models", *words, "--json")
    assert code == 0, err
    (row,) = json.loads(out)["models"]
    assert row["inference_images_per_s"] > 0
    assert row["training_images_per_s"] > 0
    assert row["activations_mb"] > 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["lennet"], "did you mean 'lenet'"),
        (["vgg16", "--image-size", "16"], "at least 32 px"),
        (["--batch-size", "0"], "--batch-size"),
    ],
)
def test_wrong_words_are_one_line(command, words, part):
    code, _, err = command("models", *words)
    assert code == 2
    assert part in err
    assert len(err.strip().splitlines()) == 1


def test_a_sound_run_passes_the_check(command, tiny_runs):
    code, out, err = command("check-bn", tiny_runs[0], "--images", 12)
    assert code == 0, err
    assert "block1_bn" in out
    assert "backbone" in out
    assert "single class" in out
    code, out, _ = command("check-bn", tiny_runs[0], "--images", 12, "--json")
    found = json.loads(out)
    assert found["passed"]
    assert len(found["layers"]) == 5
    assert {row["state"] for row in found["layers"]} <= {"fresh", "stale"}


@keras.saving.register_keras_serializable(package="tests")
class BatchDependent(keras.layers.Layer):
    """A normalisation by the batch, at inference too."""

    def call(self, inputs):
        return inputs - keras.ops.mean(inputs, axis=0, keepdims=True)


def test_a_run_that_depends_on_its_batch_fails_and_cannot_be_exported(tmp_path, command, tiny_runs):
    run = tmp_path / "run"
    shutil.copytree(tiny_runs[0], run)
    model = open_run(run).load_model()
    features = BatchDependent(name="faulty")(model.get_layer("pool").output)
    logits = keras.layers.Dense(2, name="logits")(features)
    keras.Model(model.input, logits).save(run / "model.keras")
    code, out, err = command("check-bn", run, "--images", 12)
    assert code == 2
    assert "cannot be exported" in err
    assert "batch companions" in out
    code, _, err = command("export", run, "--output", tmp_path / "exports")
    assert code == 2
    assert "other images of the batch" in err
    assert not (tmp_path / "exports").exists()


def test_variants_end_in_one_table_and_one_image(tmp_path, command, phantom_shards):
    path = tmp_path / "two.yaml"
    path.write_text(
        "name: two\nmodel: {image_size: 32}\ntrain: {epochs: 1, batch_size: 16, recalibrate: 24}\n"
        "evaluate: {resamples: 100, reliance_images: 0, explained_images: 0}\n"
        f"data: {{shards: {phantom_shards}}}\n"
        "variants:\n  small: ['model.widths=[4, 4, 4, 4, 4]']\n"
        "  lenet: [model.name=lenet, train.learning_rate=1e-2, 'data.exclude=[dark_corners]']\n"
    )
    folder = tmp_path / "two"
    code, out, err = command("train", path, "--output", folder)
    assert code == 0, err
    assert "small" in out
    assert "minutes" in out
    table = pd.read_csv(folder / "comparison.csv")
    assert list(table["variant"]) == ["small", "lenet"]
    assert list(table["epochs"]) == [1, 1]
    assert table["images"][1] < table["images"][0]
    metrics = open_run(folder / "lenet").metrics()["splits"]["test"]
    assert table["macro_auc"][1] == pytest.approx(metrics["macro_auc"]["value"])
    assert (folder / "comparison.png").stat().st_size > 10_000
    seeds = {
        name: json.loads((folder / name / "environment.json").read_text())
        for name in table["variant"]
    }
    assert len({(e["seed"], e["shards_fingerprint"]) for e in seeds.values()}) == 1
    code, out, err = command("train", path, "--output", folder, "--json")
    assert "is finished" in err
    assert [row["variant"] for row in json.loads(out)["variants"]] == ["small", "lenet"]


@pytest.mark.parametrize(
    ("variants", "part"),
    [
        ("{a: [data.shards=x], b: []}", "variants differ in model.*, train.* and in what"),
        ("{a: [model.nam=x], b: []}", "did you mean 'name'"),
        ("{a: []}", "at least 2"),
    ],
)
def test_wrong_variants_are_one_line(tmp_path, command, variants, part):
    path = tmp_path / "two.yaml"
    path.write_text(f"name: two\nvariants: {variants}\n")
    code, _, err = command("train", path, "--output", tmp_path / "out")
    assert code == 2
    assert part in err
    assert not (tmp_path / "out").exists()


def test_a_run_is_fine_tuned_in_stages_from_a_former_run(tmp_path, command, tiny_runs):
    folder = tmp_path / "tuned"
    words = [
        "five_layer_rgb.yaml",
        *TINY,
        f"data.shards={open_run(tiny_runs[0]).inputs().shards}",
        f"model.weights={tiny_runs[0]}",
        "train.stages=[{unfreeze: head, epochs: 1},"
        " {unfreeze: block4, epochs: 1, learning_rate: 1e-4, depth_decay: 0.1}]",
    ]
    code, _, err = command("train", *words, "--output", folder)
    assert code == 0, err
    assert "weights: 27 of 27 tensors" in err
    assert "stage 1 of 2: head trains; batch norm: backbone 5 frozen" in err
    assert "stage 2 of 2: block4 trains; batch norm: backbone 3 frozen, 2 update" in err
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["weights"]["matched"] == 27
    old, new = (open_run(run).load_model() for run in (tiny_runs[0], folder))
    same = ("block1_conv", "block3_conv", "block3_bn")
    for name in same:
        for before, after in zip(
            old.get_layer(name).weights, new.get_layer(name).weights, strict=True
        ):
            if "moving" not in before.name:
                np.testing.assert_array_equal(before, after)
    assert not np.array_equal(
        old.get_layer("logits").kernel.numpy(), new.get_layer("logits").kernel.numpy()
    )


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("model.weights=nowhere", "no file or run 'nowhere'"),
        ("model.weights=imagenet", "no ImageNet weights for 'five_layer'"),
        ("train.stages=[{unfreeze: blok3, epochs: 1}]", "did you mean"),
        ("train.stages=[{unfreeze: head}]", "train.stages.0.epochs"),
        ("model.batch_norm=frosen", "model.batch_norm.backbone"),
    ],
)
def test_what_does_not_fit_leaves_nothing(tmp_path, command, phantom_shards, override, part):
    words = ["five_layer_rgb.yaml", *TINY, f"data.shards={phantom_shards}", override]
    code, _, err = command("train", *words, "--output", tmp_path / "run")
    assert code == 2
    assert part in err.splitlines()[-1]
    assert not (tmp_path / "run").exists()
