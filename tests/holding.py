"""Another process that holds a folder or file, as a command that writes it does."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HOLD = """
import sys
from tfskin.locks import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_writer(path: Path | str) -> Iterator[subprocess.Popen[str]]:
    """The process, which holds ``path`` until the block ends, or until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, os.fspath(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.communicate()
