"""Each command as a user types it: what it prints, its exit code, what it leaves behind."""

import errno
import importlib
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.conftest import TINY
from tfskin.cli import COMMANDS
from tfskin.cli.common import run

JUDGED_QUICKLY = [word for word in TINY if word.startswith("evaluate.")]


class Done:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``tfskin-<name> words`` in this process."""

    def call(name: str, *words: object) -> Done:
        monkeypatch.setattr(sys, "argv", [f"tfskin-{name}", *map(str, words)])
        main = importlib.import_module(f"tfskin.cli.{name}").main
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return Done(int(caught.value.code or 0), out, err)

    return call


def write_images(folder: Path, count: int = 24) -> Path:
    """A HAM10000 folder of small images that are no near duplicates of one another."""
    rng = np.random.default_rng(0)
    images = folder / "images"
    images.mkdir(parents=True)
    rows = []
    for number in range(count):
        pixels = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
        pixels.resize((64, 48), Image.Resampling.BICUBIC).save(images / f"ISIC_{number:07d}.jpg")
        dx = ("nv", "mel")[number % 2]
        rows.append([f"HAM_{number // 2}", f"ISIC_{number:07d}", dx, "histo", 50, "male", "back"])
        rows[-1][0] = f"HAM_{number:07d}"
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "HAM10000_metadata.csv", index=False)
    return folder


def edit_metadata(folder: Path, change) -> None:
    path = folder / "HAM10000_metadata.csv"
    change(pd.read_csv(path)).to_csv(path, index=False)


def only_line(done: Done) -> str:
    lines = [line for line in done.err.splitlines() if line.strip()]
    assert len(lines) == 1, done.err
    return lines[0]


def test_from_images_to_predictions(tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "ham", 60)
    done = command("prepare", "ham10000", "ham")
    assert done.code == 0, done.err
    assert "mel" in done.out
    shards = tmp_path / "tfrecords" / "ham10000" / "1.0.0"
    assert (shards / "shards.json").is_file()

    words = [*TINY, f"data.shards={shards}", "train.epochs=1"]
    for space in ("rgb", "fft"):
        done = command("train", f"five_layer_{space}.yaml", *words)
        assert done.code == 0, done.err
        assert "macro AUC" in done.out
        assert "trainable" in done.out

    done = command(
        "ensemble", "runs/five_layer_rgb", "runs/five_layer_fft", "--json", *JUDGED_QUICKLY
    )
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert [member["name"] for member in result["members"]] == [
        "five_layer_rgb",
        "five_layer_fft",
    ]

    done = command("evaluate", "runs/five_layer_rgb", "--resamples", 100)
    assert done.code == 0, done.err
    assert "per class on test" in done.out

    done = command("export", "runs/ensemble")
    assert done.code == 0, done.err
    assert (tmp_path / "exports" / "ensemble" / "1" / "saved_model.pb").is_file()

    (tmp_path / "broken.jpg").write_text("<html>404</html>")
    few = [f"ham/images/ISIC_000000{number}.jpg" for number in range(6)]
    for target in ("runs/ensemble", "exports/ensemble"):
        done = command(
            "predict", target, *few, "broken.jpg", "--output", "p.csv", "--annotate", "seen"
        )
        assert done.code == 0, done.err
        assert "1 of 7 images could not be read" in done.err
        table = pd.read_csv(tmp_path / "p.csv")
        good = table[table["error"].isna()]
        assert len(good) == 6
        np.testing.assert_allclose(good[["mel", "nv"]].sum(axis=1), 1, atol=1e-5)


def test_an_external_data_set_is_folded(tmp_path, command, tiny_runs, phantom_shards):
    path = tmp_path / "external.yaml"
    path.write_text(
        f"name: other\nshards: {phantom_shards}\nsplits: [val, test]\n"
        "classes: {bad: [melanoma], good: [nevus]}\nfold: {bad: [melanoma], good: [nevus]}\n"
    )
    done = command("evaluate", tiny_runs[0], path, "--output", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert result["class_names"] == ["bad", "good"]
    assert list(result["splits"]) == ["other"]
    assert (tmp_path / "out" / "report.html").is_file()
    done = command("evaluate", tiny_runs[0], path, "fold={bad: [melanom], good: [nevus]}")
    assert done.code == 2
    assert "did you mean 'melanoma'" in only_line(done)


@pytest.mark.parametrize(
    ("break_it", "parts"),
    [
        (lambda f: edit_metadata(f, lambda t: t.drop(columns="dx")), ["csv", "dx"]),
        (
            lambda f: edit_metadata(f, lambda t: pd.concat([t, t.head(1)])),
            ["ISIC_0000000", "more than one row"],
        ),
        (lambda f: edit_metadata(f, lambda t: t.assign(dx="nv")), ["nv", "two"]),
        (lambda f: (f / "images" / "ISIC_0000003.jpg").unlink(), ["ISIC_0000003"]),
        (lambda f: (f / "images" / "ISIC_0000003.jpg").write_bytes(b""), ["ISIC_0000003", "empty"]),
        (
            lambda f: (f / "images" / "ISIC_0000003.jpg").write_bytes(
                (f / "images" / "ISIC_0000003.jpg").read_bytes()[:400]
            ),
            ["ISIC_0000003"],
        ),
        (
            lambda f: (f / "images" / "ISIC_0000003.jpg").write_text("<html>404</html>"),
            ["ISIC_0000003", "web page"],
        ),
    ],
    ids=["column", "twice", "one-class", "missing", "empty", "truncated", "html"],
)
def test_bad_data_is_one_line_and_leaves_nothing(tmp_path, command, break_it, parts):
    import re

    folder = write_images(tmp_path / "ham")
    break_it(folder)
    done = command("prepare", "ham10000", folder, "--output", tmp_path / "tfrecords")
    assert done.code == 2, (done.out, done.err)
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("tfskin-prepare: ")
    assert "Traceback" not in done.err
    for part in parts:
        assert re.search(part, last), (part, last)
    left = tmp_path / "tfrecords"
    assert not left.exists() or not [p for p in left.rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["prepare", "ham10000", "nowhere"], "nowhere"),
        (["prepare", "ham1000", "."], "did you mean 'ham10000'"),
        (["prepare", "ham10000", ".", "--lesions", "9"], "phantom"),
        (["prepare", "phantom", "--fractions", "1", "1", "1", "1"], "fractions|sum"),
        (["prepare"], "source"),
        (["prepare", "phantom", "--nonsense"], "--nonsense"),
        (["train", "nowhere.yaml"], r"nowhere\.yaml"),
        (["train", "train.epochs=zero"], r"train\.epochs"),
        (["train", "--resume", "nowhere"], "nowhere"),
        (["train", "--resume", "nowhere", "seed=1"], "own config"),
        (["ensemble", "nowhere"], "members"),
        (["ensemble", "nowhere", "elsewhere"], "nowhere"),
        (["evaluate", "nowhere"], "nowhere"),
        (["evaluate", "."], "not a run"),
        (["export", "nowhere"], "nowhere"),
        (["predict", "nowhere", "a.jpg"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_one_line_and_exit_code_2(tmp_path, monkeypatch, command, words, part):
    import re

    monkeypatch.chdir(tmp_path)
    done = command(*words)
    assert done.code == 2, done.err
    assert re.search(part, only_line(done)), done.err
    assert list(tmp_path.iterdir()) == []


def test_without_a_config_the_quickstarts_is_trained(monkeypatch, command):
    from tfskin.config import read_config
    from tfskin.experiment import training

    seen = []
    monkeypatch.setattr("tfskin.experiment.train", lambda config, **_: seen.append(config))
    command("train", "train.epochs=3")
    assert seen == [read_config("five_layer_rgb.yaml", ["train.epochs=3"])]

    def is_done(run, config):
        seen.append(config)
        return True

    monkeypatch.setattr(training, "_is_done", is_done)
    training.train()
    assert seen[1] == read_config("five_layer_rgb.yaml")


@pytest.mark.parametrize(
    ("name", "content", "verbs"),
    [
        ("model.keras", b"PK damaged", ["evaluate", "export", "predict"]),
        ("class_names.json", b"5", ["evaluate", "export", "predict"]),
        ("class_names.json", b'["a", "b", "c"]', ["evaluate", "export", "predict"]),
        ("inputs.json", b"{}", ["evaluate", "predict"]),
        ("decision.json", b'{"temperature": 0}', ["evaluate", "export", "predict"]),
        ("metrics.json", b"5", ["evaluate"]),
        ("history.csv", b"", ["evaluate"]),
        ("config.yaml", b"a: [", ["evaluate"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_run_is_named(tmp_path, monkeypatch, command, tiny_runs, name, content, verbs):
    run = tmp_path / "run"
    shutil.copytree(tiny_runs[0], run)
    (run / name).write_bytes(content)
    (tmp_path / "a.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    for verb in verbs:
        done = command(verb, "run", *(["a.jpg"] if verb == "predict" else []))
        assert done.code == 2, (verb, done.err)
        assert "run" in only_line(done)
    assert not (tmp_path / "exports").exists()


def test_overwrite_deletes_runs_only(tmp_path, command, phantom_shards):
    (tmp_path / "thesis.txt").write_text("mine")
    words = [*TINY, f"data.shards={phantom_shards}", "--output", tmp_path, "--overwrite"]
    done = command("train", *words)
    assert done.code == 2
    assert "not a run" in only_line(done)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_overwrite_leaves_the_old_run_when_the_new_one_is_impossible(
    tmp_path, command, tiny_runs, phantom_shards
):
    old = tmp_path / "old"
    shutil.copytree(tiny_runs[0], old)
    for words in (["data.shards=nowhere"], ["model.name=nothing"], ["data.classes={a: [b]}"]):
        shards = f"data.shards={phantom_shards}"
        done = command("train", shards, *words, "--output", old, "--overwrite")
        assert done.code == 2, (words, done.err)
        assert (old / "model.keras").is_file()
    done = command("ensemble", old, tiny_runs[1], "--output", old, "--overwrite")
    assert done.code == 2
    assert "holds the member" in only_line(done)
    assert (old / "model.keras").is_file()


def test_predictions_are_json_and_never_replace_an_image(tmp_path, command, tiny_runs):
    Image.new("RGB", (40, 30)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    done = command("predict", tiny_runs[0], tmp_path, "--json")
    rows = json.loads(done.out)["predictions"]
    assert sorted(row["melanoma"] is None for row in rows) == [False, True]
    done = command("predict", tiny_runs[0], tmp_path, "--output", tmp_path / "good.png")
    assert done.code == 2
    assert "one of the images" in only_line(done)
    with Image.open(tmp_path / "good.png") as image:
        assert image.size == (40, 30)


def test_an_export_stays_in_its_folder(tmp_path, command, tiny_runs):
    done = command("export", tiny_runs[0], "--name", "..", "--output", tmp_path / "exports")
    assert done.code == 2
    assert "--name" in only_line(done)
    assert not (tmp_path / "1").exists()


def test_class_names_are_printed_as_they_are(tmp_path, command):
    folder = write_images(tmp_path / "ham", 40)
    names = ["[/b]", "[red]x"] * 20
    edit_metadata(
        folder, lambda t: t.assign(dx=names, path=[f"images/{name}.jpg" for name in t["image_id"]])
    )
    columns = ["--path-column", "path", "--label-column", "dx", "--output", tmp_path / "tfrecords"]
    done = command("prepare", "table", folder / "HAM10000_metadata.csv", *columns)
    assert done.code == 0, done.err
    assert "[/b]" in done.out
    assert "[red]x" in done.out


def test_debug_shows_the_traceback(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    done = command("evaluate", "nowhere", "--debug")
    assert done.code == 2
    assert "Traceback" in done.err


def test_the_table_of_commands_is_that_of_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    scripts = {f"tfskin-{name}": f"{module}:main" for name, module in COMMANDS.items()}
    assert project["project"]["scripts"] == {"tfskin": "tfskin.cli.door:main", **scripts}


def test_a_layout_of_ones_own_is_prepared(tmp_path, monkeypatch, command):
    write_images(tmp_path / "ham")
    (tmp_path / "our_layouts.py").write_text(
        "from tfskin.datasets.sources.ham10000 import read_ham10000\n"
        "def read_ours(path):\n"
        "    return read_ham10000(path)[['image_id', 'path', 'diagnosis', 'lesion_id']]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    done = command("prepare", "our_layouts:read_ours", "ham", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["name"] == "ours"
    assert (tmp_path / "tfrecords" / "ours" / "1.0.0" / "shards.json").is_file()
    done = command("prepare", "our_layouts:read_other", "ham")
    assert done.code == 2
    assert "did you mean 'read_ours'" in only_line(done)


def test_help_of_train_lists_every_key(command):
    from tfskin.config import list_keys
    from tfskin.schema import ExperimentConfig

    done = command("train", "--help")
    assert done.code == 0
    for key, _, _, description in list_keys(ExperimentConfig):
        assert key in done.out
        assert description.split()[0] in done.out


def test_quiet_prints_the_result_alone(command, tiny_runs):
    done = command("evaluate", tiny_runs[0], "--quiet", "--json", "--resamples", 100)
    assert done.code == 0
    assert done.err == ""
    assert json.loads(done.out)["splits"]["test"]["macro_auc"]["value"] is not None
    command("evaluate", "--help")  # leaves --quiet off for the next test
    from tfskin.progress import set_quiet

    set_quiet(False)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/a"), "runs/a: no space left on"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk; free some"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), "/x: Read-only .*; choose another"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission .*; change its"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), "/x: No such file$"),
    ],
)
def test_what_the_system_refuses_is_one_line_with_the_file_and_what_to_do(
    monkeypatch, capsys, error, expected
):
    def command() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["tfskin-train"])
    with pytest.raises(SystemExit) as caught:
        run(command)
    assert caught.value.code == 2
    assert re.match(f"tfskin-train: {expected}", capsys.readouterr().err.strip())
