"""What long work tells its user, on standard error: lines of news, and progress bars.

News goes through the logger ``tfskin`` (``logging.getLogger("tfskin")``), so a program that uses
the package can send it elsewhere or turn it off with the standard library's own means.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

_news = logging.getLogger("tfskin")
_quiet = False


class _StandardError(logging.Handler):
    """Prints each line as it stands, warnings with the word before them."""

    def emit(self, record: logging.LogRecord) -> None:
        word = "warning: " if record.levelno >= logging.WARNING else ""
        print(f"{word}{record.getMessage()}", file=sys.stderr, flush=True)


if not _news.handlers:
    _news.addHandler(_StandardError())
    _news.setLevel(logging.INFO)
    _news.propagate = False


def set_quiet(quiet: bool) -> None:
    """Turn all news and progress bars of this process off (or on again)."""
    global _quiet
    _quiet = quiet
    _news.setLevel(logging.CRITICAL if quiet else logging.INFO)


def is_quiet() -> bool:
    """Whether news and progress are turned off."""
    return _quiet


@contextmanager
def silence(wanted: bool = True) -> Iterator[None]:
    """No news and no progress bars within, where ``wanted``."""
    before = _quiet
    set_quiet(before or wanted)
    try:
        yield
    finally:
        set_quiet(before)


@contextmanager
def progress_bar(
    title: str, *, total: int | None, unit: Literal["steps", "bytes"] = "steps"
) -> Iterator[Callable[[int], None]]:
    """A function that moves a progress bar on by so many steps, or bytes.

    The bar goes to standard error and only when that is a terminal.

    Example:
        >>> with progress_bar("hashing", total=3) as advance:
        ...     advance(1)
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    counts = (
        (DownloadColumn(binary_units=True), TransferSpeedColumn())
        if unit == "bytes"
        else (MofNCompleteColumn(),)
    )
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, TimeRemainingColumn())
    disabled = _quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=disabled, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda steps: progress.advance(task, steps)
