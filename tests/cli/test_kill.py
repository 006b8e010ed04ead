"""A training that is killed or interrupted, as a real process."""

import os
import signal
import subprocess
import sys

import pytest

import tfskin
from tests.conftest import TINY
from tests.scripts import load_script
from tfskin.runs import open_run

# A job in the background of a script inherits that Ctrl-C is ignored.
START = """
import signal; signal.signal(signal.SIGINT, signal.default_int_handler)
import sys; from tfskin.cli.train import main; sys.argv[0] = 'tfskin-train'; main()
"""
# The process dies in the middle of writing its n-th checkpoint.
KILLED_IN_WRITE = """
import io, os, signal, numpy
from itertools import count
numbers, save = count(1), numpy.savez
def torn(file, **arrays):
    if next(numbers) < {n}:
        return save(file, **arrays)
    whole = io.BytesIO()
    save(whole, **arrays)
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
numpy.savez = torn
"""


def start(folder, shards, *more, code=START):
    overrides = [*TINY, f"data.shards={shards}", *more]
    return subprocess.Popen(
        [sys.executable, "-c", code, *overrides, "--output", folder],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def test_a_training_killed_within_an_epoch_ends_as_if_it_had_not_been(
    tmp_path, phantom_shards, tiny_runs, news
):
    """Its process dies while it writes a checkpoint, after the second epoch's second step of 4."""
    folder = tmp_path / "killed"
    code = KILLED_IN_WRITE.format(n=6) + START
    process = start(folder, phantom_shards, "train.checkpoint_minutes=1e-9", code=code)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    assert not open_run(folder).finished
    assert list((folder / "checkpoints").glob(".writing-*"))
    assert tfskin.resume(folder).finished
    assert "going on after epoch 1 and step 1 of the next" in news
    assert not list(folder.rglob(".writing-*"))
    check = load_script("check_resumption")
    # The undisturbed run came from another process.
    for part in (check.best_weights, check.history, check.predictions, check.figures):
        one, other = part(tiny_runs[0]), part(folder)
        assert one.keys() == other.keys()
        assert [key for key in one if not check.same(one[key], other[key])] == []


def test_ctrl_c_stops_in_words_and_says_how_to_go_on(tmp_path, phantom_shards):
    folder = tmp_path / "stopped"
    process = start(folder, phantom_shards, "train.epochs=99")
    for line in process.stderr:
        if line.startswith("epoch   1/"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert f"tfskin-train --resume {folder}" in err
    assert "Traceback" not in err
    assert (folder / "model.keras").is_file()
    assert not list(folder.glob(".writing-*"))


@pytest.mark.slow
def test_trainings_killed_at_any_moment_end_as_if_they_had_not_been(tmp_path):
    assert load_script("check_resumption").check(tmp_path, rounds=4, seed=1, lesions=60) == 0
