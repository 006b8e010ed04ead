"""A training that is killed or interrupted, as a real process."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd

from tests.conftest import TINY
from tfskin.runs import open_run


def start(folder, shards):
    code = (
        # A job in the background of a script inherits that Ctrl-C is ignored.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "import sys; from tfskin.cli.train import main; sys.argv[0] = 'tfskin-train'; main()"
    )
    overrides = [*TINY, "train.epochs=12", f"data.shards={shards}", "train.schedule=constant"]
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            code,
            *overrides,
            "--output",
            folder,
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def wait_for_epoch(process, number):
    for line in process.stderr:
        if line.startswith(f"epoch {number:>3}/"):
            return
    raise AssertionError("the training ended before it could be stopped")


def test_a_killed_training_goes_on_with_the_same_command(tmp_path, phantom_shards):
    killed = tmp_path / "killed"
    process = start(killed, phantom_shards)
    wait_for_epoch(process, 2)
    time.sleep(0.05)
    process.kill()
    process.communicate()
    assert not open_run(killed).finished

    process = start(killed, phantom_shards)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "going on after epoch" in err

    whole = tmp_path / "whole"
    process = start(whole, phantom_shards)
    process.communicate(timeout=300)
    for split in ("val", "test"):
        pd.testing.assert_frame_equal(
            open_run(killed).predictions(split), open_run(whole).predictions(split), rtol=1e-6
        )


def test_ctrl_c_stops_in_words_and_says_how_to_go_on(tmp_path, phantom_shards):
    folder = tmp_path / "stopped"
    process = start(folder, phantom_shards)
    wait_for_epoch(process, 1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert f"tfskin-train --resume {folder}" in err
    assert "Traceback" not in err
    assert (folder / "model.keras").is_file()
    assert not list(folder.glob(".writing-*"))
