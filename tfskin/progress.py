"""Progress bars on standard error, silent where nobody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Turn all progress bars of this process off (or on again)."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether progress is turned off."""
    return _quiet


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
