"""The passes over all images as Apache Beam pipelines: for more machines than one."""

from __future__ import annotations

import io
import logging
import pickle
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from tfskin.datasets.options import BeamRun
from tfskin.errors import UserError
from tfskin.progress import is_quiet, set_quiet

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def map_on_beam(
    work: Callable[[Chunk], Result], chunks: Sequence[Chunk], *, beam: BeamRun
) -> Iterator[Result]:
    """``work`` of each chunk, in order, computed by the workers of one pipeline.

    A worker writes each result into a file, for Beam hands nothing back to the process that
    starts a pipeline; one result at a time is held here. A chunk that Beam tries twice has its
    result written twice, the same.

    Args:
        work: a function that workers can import by its name, or a ``functools.partial`` of one.
        chunks: what it is called with; each is one piece of work.
        beam: options and folder.

    Raises:
        UserError: Beam is not installed, an option that it does not know, or what ``work`` raises.
    """
    options = _parse_options(beam.options)
    beam.folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".writing-beam-", dir=beam.folder) as results:
            quiet = is_quiet()
            _run_pipeline(_Task(work, Path(results)), list(enumerate(chunks)), options)
            set_quiet(quiet)  # a runner within this process has turned it on
            for number in range(len(chunks)):
                result = pickle.loads(_result_file(Path(results), number).read_bytes())
                if isinstance(result, UserError):
                    raise result
                yield result
    finally:
        with suppress(OSError):
            beam.folder.rmdir()  # only when it is empty


@dataclass(frozen=True)
class _Task(Generic[Chunk, Result]):
    """What a worker does with a chunk."""

    work: Callable[[Chunk], Result]
    results: Path

    def __call__(self, numbered: tuple[int, Chunk]) -> None:
        number, chunk = numbered
        set_quiet(True)  # no worker draws a progress bar
        result: Result | UserError
        try:
            result = self.work(chunk)
        except UserError as error:  # Beam would try again, and wrap it into pages of traceback
            result = error
        with tempfile.NamedTemporaryFile(dir=self.results, delete=False) as file:
            file.write(pickle.dumps(result))
        Path(file.name).replace(_result_file(self.results, number))


def _result_file(folder: Path, number: int) -> Path:
    return folder / f"{number:07d}.pickle"


def _run_pipeline(task: _Task[Any, Any], elements: list[tuple[int, Any]], options: Any) -> None:
    import apache_beam

    with _quiet_beam(), apache_beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | "chunks" >> apache_beam.Create(elements)
            | "to all workers" >> apache_beam.Reshuffle()
            | "images" >> apache_beam.Map(task)
        )


def _parse_options(words: str) -> Any:
    try:
        with _quiet_beam():
            from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise UserError(
            "--beam-options: Apache Beam is not installed; pip install 'tfskin[beam]' in an "
            "environment of its own"
        ) from None
    said = io.StringIO()
    try:
        flags = shlex.split(words)
        if not any(flag.startswith("--default_sdk_harness_log_level") for flag in flags):
            flags.append("--default_sdk_harness_log_level=ERROR")  # INFO is a line a connection
        options = PipelineOptions(flags)
        with _quiet_beam(), redirect_stderr(said):
            known = options.get_all_options()
            given = options.get_all_options(drop_default=True, retain_unknown_options=True)
    except (SystemExit, ValueError) as error:  # argparse prints its reason and leaves
        reason = said.getvalue().rpartition("error: ")[2].strip() or error
        raise UserError(f"--beam-options: {reason}; mend '{words}'") from None
    unknown = sorted(set(given) - set(known))
    if unknown and known["runner"] is None:  # another runner may know more than Beam does
        raise UserError(f"--beam-options: Beam knows no --{unknown[0]}; see its documentation")
    return options


@contextmanager
def _quiet_beam() -> Iterator[None]:
    """Beam's warnings about optional parts and its counts of bundles are no news to a user."""
    names = ("apache_beam", "root")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
