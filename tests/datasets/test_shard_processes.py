"""A process that writes shards: silent, without network, and killed halfway."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.datasets.tiny import write_tiny
from tfskin.datasets.shards import load_shards
from tfskin.errors import UserError

ROOT = Path(__file__).resolve().parents[2]

# One process for both tests: importing TensorFlow and TFDS takes far longer than writing.
WRITER = """
import socket, sys, time
from pathlib import Path

def refuse(*args):
    raise AssertionError("network")

socket.socket.connect = socket.getaddrinfo = refuse

import pandas as pd
from tests.datasets.tiny import write_tiny
from tfskin.datasets import shard_files

records, folder = pd.read_pickle(sys.argv[1]), Path(sys.argv[2])
write_tiny(records, folder / "whole")
encode, calls = shard_files.encode_image, []

def slow(path, **options):
    calls.append(path)
    if len(calls) == 18:
        (folder / "half").touch()
        time.sleep(600)
    return encode(path, **options)

shard_files.encode_image = slow
write_tiny(records, folder / "killed", workers=1)
"""


@pytest.fixture(scope="module")
def written(tiny_records, tmp_path_factory):
    """The folder with whole and with unfinished shards, and what the process said."""
    folder = tmp_path_factory.mktemp("written")
    tiny_records.to_pickle(folder / "records.pkl")
    command = [sys.executable, "-c", WRITER, str(folder / "records.pkl"), str(folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (folder / "half").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    said = process.communicate()
    assert (folder / "half").exists(), said
    return folder, said


def test_writing_says_nothing_and_the_network_is_not_asked(written, tiny_shards):
    folder, said = written
    assert said == ("", "")
    assert load_shards(folder / "whole" / "tiny").fingerprint == tiny_shards.fingerprint


def test_a_killed_run_leaves_nothing_that_looks_finished_and_the_next_one_succeeds(
    written, tiny_records, tiny_shards
):
    output = written[0] / "killed"
    left = [path for path in (output / "tiny").iterdir() if path.suffix != ".lock"]
    assert [path.name.startswith(".writing-") for path in left] == [True]
    for folder in (output / "tiny", left[0]):
        with pytest.raises(UserError, match="unfinished"):
            load_shards(folder)
    again = write_tiny(tiny_records, output)
    assert again.fingerprint == tiny_shards.fingerprint
    assert [path.name for path in (output / "tiny").iterdir()] == ["1.0.0"]
