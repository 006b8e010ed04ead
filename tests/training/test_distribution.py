"""Real processes on loopback, and two replicas in one: what one process reaches, they reach."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest

import tfskin
from tests.training import replicas
from tfskin.config import QUICKSTART
from tfskin.errors import UserError
from tfskin.experiment.finding_rate import find_rate
from tfskin.experiment.fitting.data import fit_data
from tfskin.experiment.repeating import train_several
from tfskin.layers import BatchNorm
from tfskin.training.checkpoints import read_checkpoint
from tfskin.training.options import Repeats
from tfskin.training.replicas import Replicas


def start(folder: Path, *fits: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.replicas", str(folder), *fits],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"} | more,
    )


def run_job(folder: Path, *fits: str, dying: bool = False) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each of two processes that train together."""
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{free.getsockname()[1]}" for free in (one, other)]
    processes = []
    for index in (0, 1):
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        more = {"DIES": "1"} if dying and index == 1 else {}
        processes.append(start(folder, *fits, TF_CONFIG=json.dumps(place), **more))
    try:
        texts = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *text) for p, text in zip(processes, texts, strict=True)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The fits of one process, whose batch is that of all replicas together."""
    folder = tmp_path_factory.mktemp("alone")
    for name in ("plain", "bn", "half"):
        replicas.train(folder, name, Replicas())
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Path, list[tuple[int, str, str]], list[tuple[int, str, str]]]:
    """Two jobs of two processes: in the first one dies, the second goes on."""
    folder = tmp_path_factory.mktemp("two")
    first = run_job(folder, "plain", "bn-killed", dying=True)
    return folder, first, run_job(folder, "bn-killed", "bn")


def end_of(folder: Path) -> tuple[list[np.ndarray], list[dict[str, Any]]]:
    """Every variable of the model and its optimizer, and the figures of each epoch."""
    found = read_checkpoint(folder / "checkpoints")
    assert found is not None
    history = [
        {key: value for key, value in row.items() if "second" not in key}
        for row in found.state.history
    ]
    return found.values, history


def assert_near(one: Path, other: Path, tolerance: float) -> None:
    values, history = end_of(one)
    others, other_history = end_of(other)
    assert len(history) == len(other_history) >= 2
    for row, other_row in zip(history, other_history, strict=True):
        assert row == pytest.approx(other_row, abs=tolerance)
    for value, other_value in zip(values, others, strict=True):
        np.testing.assert_allclose(value, other_value, rtol=0, atol=tolerance)


def test_two_processes_reach_what_one_reaches(two, alone):
    """Losses, weights and optimizer, with accumulation, clipping, decay and averages."""
    assert_near(two[0] / "plain", alone / "plain", 1e-5)


def test_batch_normalisation_is_synchronised_in_every_mode(two, alone):
    assert_near(two[0] / "bn", alone / "bn", 1e-4)


def test_a_job_of_which_a_process_died_goes_on_exactly(two):
    folder, first, second = two
    assert first[1][0] == -signal.SIGKILL
    assert first[0][0] == 1
    assert "another process of this job is gone" in first[0][2]
    assert "goes on from the last checkpoint" in first[0][2]
    assert [code for code, *_ in second] == [0, 0], second
    # The step before the last checkpoint's may or may not have been written when the news came.
    assert re.search(r"^going on after epoch 1 and step [12] of the next$", second[0][2], re.M)
    killed, history = end_of(folder / "bn-killed")
    whole, whole_history = end_of(folder / "bn")
    assert history == whole_history
    for one, other in zip(killed, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_process_writes(two):
    left = {path.name for path in (two[0] / "bn").iterdir()}
    assert left <= {"model.keras", "checkpoints", "tb"}
    assert not list(two[0].rglob(".writing-*"))
    kept = keras.saving.load_model(two[0] / "bn" / "model.keras", compile=False)
    norms = [layer for layer in kept.layers if isinstance(layer, BatchNorm)]
    assert [layer.synchronized for layer in norms] == [False] * 3
    events = list((two[0] / "bn" / "tb").rglob("events*"))
    assert len(events) == len(list((two[0] / "plain" / "tb").rglob("events*")))


def test_two_replicas_of_a_process_reach_what_one_device_reaches(tmp_path, alone):
    """In float16 too: a step that overflows is skipped by all, and counted once."""
    process = start(tmp_path, "bn", "half")
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert_near(tmp_path / "bn", alone / "bn", 1e-4)
    _, history = end_of(tmp_path / "half")
    _, expected = end_of(alone / "half")
    assert history[0]["skipped_steps"] == expected[0]["skipped_steps"] == 5
    assert history[1]["loss"] == pytest.approx(expected[1]["loss"], abs=1e-3)


def test_shards_are_shared_by_the_replicas_of_a_config(tmp_path, phantom_shards):
    """The batch is a replica's, the rate is scaled, and another number does not go on."""
    both = ("shards", str(phantom_shards), "train.batch_size=4", "train.scale_learning_rate=linear")
    process = start(tmp_path / "two", *both, "train.distribution=mirrored")
    shards, rate = str(phantom_shards), "train.learning_rate=2e-3"
    replicas.train_on_shards(tmp_path / "one", shards, "train.batch_size=8", rate)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    found, _ = end_of(tmp_path / "two")
    expected, _ = end_of(tmp_path / "one")
    for value, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="was begun on 2 replicas, and here is 1"):
        tfskin.resume(tmp_path / "two")


STAGED = (
    "model={name: five_layer, image_size: 48, widths: [4, 4, 8, 8, 8], dropout: 0}",
    "train.optimizer=sgd",
)
HEAD_THEN_ALL = (
    """train.stages=[{unfreeze: head, epochs: 1}, {unfreeze: all, epochs: 3, depth_decay: 0.3,
    batch_norm: affine, schedule: plateau}]""",
    "train.plateau_patience=1",
)
GROWING = ("train.epochs=2", "train.schedule=cosine", "train.progressive={stages: 2, size: 0.67}")


@pytest.mark.parametrize("more", [HEAD_THEN_ALL, GROWING])
def test_stages_and_growing_images_are_the_same_on_two_replicas(tmp_path, phantom_shards, more):
    """Batch normalisation, layer-wise rates and a rate that falls on a plateau with them."""
    both = ("shards", str(phantom_shards), *STAGED, *more)
    process = start(tmp_path / "two", *both, "train.batch_size=4", "train.distribution=mirrored")
    replicas.train_on_shards(tmp_path / "one", *both[1:], "train.batch_size=8")
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert_near(tmp_path / "two", tmp_path / "one", 1e-4)


@pytest.mark.parametrize("text", [None, "{", '{"cluster": {"worker": ["a:1"]}}'])
def test_a_missing_or_wrong_tf_config_is_said_in_words(monkeypatch, text):
    from tfskin.training.distribution import Distribution

    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="multi_worker needs the environment variable TF_CONFIG"):
        Distribution("multi_worker")


def test_what_trains_in_one_process_refuses_several(tmp_path, monkeypatch):
    """Before anything is written; on several GPUs of a process several runs are fine."""
    monkeypatch.chdir(tmp_path)
    config = tfskin.read_config(QUICKSTART, ["train.distribution=multi_worker"])
    with pytest.raises(UserError, match="the learning-rate range test can't be multi_worker"):
        find_rate(config)
    with pytest.raises(UserError, match="trains several runs can't be multi_worker"):
        train_several(config, Repeats(seeds=2))
    assert not list(tmp_path.iterdir())


def test_an_epochs_last_step_has_an_image_for_each_replica(phantom_shards):
    config = tfskin.read_config(QUICKSTART, ["train.batch_size=2"])
    shards = tfskin.load_shards(phantom_shards)
    together = SimpleNamespace(replicas=10, first=0, local=10)
    images = fit_data(config, shards, ["melanoma", "nevus"]).images_per_epoch
    message = f"an epoch of {images} images has {images % 20} for 10 replicas"
    with pytest.raises(UserError, match=message):
        fit_data(config, shards, ["melanoma", "nevus"], cast(Any, together))
