"""Ensembles and exports that are killed, as real processes: the next run clears and finishes."""

import os
import signal
import subprocess
import sys

import pytest

import tfskin
from tfskin.runs import open_run

# The process dies when what it writes is complete but for its last step.
KILLED = """
import os, signal, sys
import {module} as place
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
place.{name} = die
from tfskin.cli.{command} import main
sys.argv[0] = "tfskin-{command}"
main()
"""
# The process dies between the two renames of an overwrite.
KILLED_BETWEEN = """
import os, signal, sys
from pathlib import Path
rename = Path.replace
def die(path, to):
    if path.name.startswith(".writing-both-"):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, to)
Path.replace = die
from tfskin.cli.ensemble import main
sys.argv[0] = "tfskin-ensemble"
main()
"""


def kill(code, *words):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        timeout=300,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def hidden(folder):
    return sorted(path.name for path in folder.rglob(".*"))


def test_a_killed_export_is_cleared_by_the_next(tmp_path, tiny_runs):
    code = KILLED.format(
        module="tfskin.serving.saved_model", name="write_warm_up", command="export"
    )
    kill(code, tiny_runs[0], "--output", tmp_path, "--name", "x")
    assert any(name.startswith(".writing-1-") for name in hidden(tmp_path))
    assert not (tmp_path / "x" / "1").exists()
    assert tfskin.export(tiny_runs[0], output=tmp_path, name="x").name == "1"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("between", [False, True])
def test_a_killed_ensemble_is_cleared_and_the_old_one_put_back(tmp_path, tiny_runs, between):
    config = tfskin.EnsembleConfig(
        members=list(map(str, tiny_runs)),
        evaluate=tfskin.read_config(tiny_runs[0] / "config.yaml").evaluate,
    )
    both = tmp_path / "both"
    before = tfskin.ensemble(config, output=both).metrics()
    code = KILLED.format(
        module="tfskin.experiment.ensembling", name="check_removable", command="ensemble"
    )
    words = ["--overwrite", "--output", both, *tiny_runs]
    words += ["evaluate.resamples=100", "evaluate.reliance_images=0", "evaluate.explained_images=0"]
    if between:
        kill(KILLED_BETWEEN, *words)
        assert not both.exists()
    else:
        kill(code.replace("place.check_removable = die", "place.evaluate = die"), *words)
        assert open_run(both).finished
    assert any(name.startswith(".writing-both-") for name in hidden(tmp_path))
    run = tfskin.ensemble(config, output=both)  # finished, and so left as it is
    assert run.metrics() == before
    assert hidden(tmp_path) == []
