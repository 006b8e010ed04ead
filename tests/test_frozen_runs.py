"""Runs that former versions wrote are evaluated, gone on with and exported: tests/frozen."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import tfskin
from tests.scripts import load_script
from tfskin.files import read_json, write_json
from tfskin.runs import open_run

FROZEN = Path(__file__).parent / "frozen"
VERSIONS = sorted(path.name for path in FROZEN.glob("v*"))
FIGURES = ("metrics.json", "decision.json")
TABLES = tuple(f"predictions/{split}.csv" for split in ("train", "val", "calibration", "test"))

RENAMED = "subgroups.headings.skin type"
"""What has another name now: Fitzpatrick types and skin tones have a heading each."""


@pytest.fixture(params=VERSIONS)
def frozen(request, tmp_path, monkeypatch) -> Path:
    """A copy of a frozen folder as the working directory, from which its runs name their shards."""
    folder = shutil.copytree(FROZEN / request.param, tmp_path / request.param)
    monkeypatch.chdir(folder)
    return folder


def check_same(new: Path, old: Path, names, *, tolerance: float) -> None:
    """The files of a run say what they said before; new keys may have come."""
    script = load_script("compare_outputs")
    for name in names:
        found = script.compare_files(old / name, new / name)
        found = [one for one in found if not one.key.startswith(RENAMED)]
        changed = [one for one in found if one.size > tolerance and one.old != script.MISSING]
        assert not changed, f"{name}: {script.describe(changed)}"


@pytest.mark.parametrize("name", ["net", "ensemble"])
def test_the_figures_are_what_they_were(frozen, name):
    run = frozen / "runs" / name
    before = shutil.copytree(run, frozen / "before")
    for table in TABLES:
        (run / table).unlink()
    write_json(run / "metrics.json", read_json(run / "metrics.json") | {"splits": {}})
    tfskin.evaluate(run)
    check_same(run, before, (*FIGURES, *TABLES), tolerance=1e-6)


def test_a_stopped_run_ends_as_the_undisturbed_one(frozen):
    """``runs/stopped`` is ``runs/net`` once more, killed in its second epoch."""
    stopped, whole = frozen / "runs" / "stopped", frozen / "runs" / "net"
    assert not open_run(stopped).finished
    assert tfskin.resume(stopped).finished
    # On the machine that made them they are equal; others round differently, in each step.
    check_same(stopped, whole, TABLES, tolerance=1e-3)
    one, other = (read_json(run / "metrics.json")["training"] for run in (stopped, whole))
    assert [one[key] for key in ("best_epoch", "epochs")] == [other["best_epoch"], other["epochs"]]


@pytest.mark.parametrize("name", ["net", "ensemble"])
def test_the_export_answers_what_was_predicted(frozen, name):
    import tensorflow as tf

    table = open_run(frozen / "runs" / name).predictions("test").set_index("image_id")
    images = read_images(frozen / "tfrecords", "test")
    assert set(images) == set(table.index)
    exported = tfskin.export(f"runs/{name}", output="exports")
    serve = tf.saved_model.load(str(exported)).signatures["serving_default"]
    answer = serve(image_bytes=tf.constant(list(images.values())))
    classes = [text.decode() for text in answer["class_names"].numpy()[0]]
    expected = table.loc[list(images), classes].to_numpy()
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-4)


def read_images(shards: Path, split: str) -> dict[str, bytes]:
    """Id -> encoded image, read without tfskin."""
    import tensorflow as tf

    found = {}
    for record in tf.data.TFRecordDataset(sorted(map(str, shards.rglob(f"*-{split}.tfrecord-*")))):
        features = tf.train.Example.FromString(record.numpy()).features.feature
        key = features["image_id"].bytes_list.value[0].decode()
        found[key] = features["image"].bytes_list.value[0]
    return found
