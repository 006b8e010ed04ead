"""What all commands share: options of one meaning, one-line errors, exit codes."""

import errno
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer

from tfskin.cli.flags import expand
from tfskin.errors import UserError
from tfskin.progress import set_quiet

Output = Annotated[
    Path | None, typer.Option(help="The folder or file to write to.", show_default=False)
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", help="Print no news and no progress.", callback=lambda v: set_quiet(v)),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

logger = logging.getLogger(__name__)

INTERRUPTED = 130
_ADVICE = {
    errno.EROFS: "choose another --output, or a folder that can be written",
    errno.EACCES: "change its permissions, or choose another place",
    errno.EPERM: "change its permissions, or choose another place",
    errno.ENOTDIR: "a file stands where a folder is needed; move it, or choose another place",
    errno.EDQUOT: "free some space or choose another --output, and run the command again",
}


def run(command: Callable[..., None], *, cls: type[Any] | None = None) -> None:
    """Run a command and exit: 0 if it succeeds, 2 for the user's errors, 1 for a bug of ours."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(cls=cls)(expand(command, everywhere={"quiet": Quiet, "debug": Debug}))
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        code = _fail(str(error), 2)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is not None:  # typer's own: a wrong option or a missing argument
            code = _fail(f"{message()} (see --help)", 2)
        elif "No space left on device" in str(error):
            where = f"{name}: " if (name := getattr(error, "filename", None)) else ""
            advice = "free some or choose another --output, and run the command again"
            code = _fail(f"{where}no space left on the disk; {advice}", 2)
        elif isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            code = _fail("out of memory; try a smaller batch_size, image_size or widths", 2)
        elif isinstance(error, OSError) and error.filename is not None:
            code = _fail(f"{error.filename}: {_explain(error)}", 2)
        else:
            code = _fail(f"internal error: {type(error).__name__}: {error} (--debug shows more)", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: OSError) -> str:
    """What the system says, and what to do about it."""
    what = error.strerror or str(error)
    advice = _ADVICE.get(error.errno or 0)
    return f"{what}; {advice}" if advice else what


def _fail(message: str, code: int) -> int:
    if "--debug" in sys.argv:
        traceback.print_exc()
    print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr)
    return code


@contextmanager
def stoppable(
    advice: str = "finished epochs are kept. Go on with the same command",
) -> Iterator[None]:
    """Let Ctrl-C end the work with a line of advice and the exit code that shells expect."""
    try:
        yield
    except KeyboardInterrupt:
        logger.info(f"\nstopped; {advice}")
        raise typer.Exit(INTERRUPTED) from None


def print_json(value: Any) -> None:
    """Print the result as one JSON object."""
    print(json.dumps(value, default=str, allow_nan=False))


def print_figures(rows: list[tuple[str, dict[str, Any]]], *, title: str) -> None:
    """A table on standard output: one row a run or split, a figure with its interval a column."""
    from tfskin.evaluation.metric_table import metrics_shown

    shown = metrics_shown("terminal")
    cells = [
        (
            *(name, str(figures["images"])),
            *(show_interval(figures[metric.name]) for metric in shown),
        )
        for name, figures in rows
    ]
    headings = ("", "images", *(metric.short for metric in shown))
    print_cells(headings, cells, title=title, justify="lr", whole=True)


def print_rows(rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """A table on standard output: a column a key, numbers with thousands separators."""
    # A key of a config is shown as it is written there.
    headings = [key if "." in key else key.replace("_", " ") for key in rows[0]]
    cells = [
        [f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()]
        for row in rows
    ]
    print_cells(headings, cells, title=title, justify="r")


def print_cells(
    headings: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    justify: str = "l",
    whole: bool = False,
) -> None:
    """A table on standard output.

    Args:
        headings: of the columns.
        rows: what stands in the columns, as text or as a text of rich.
        title: what stands above.
        justify: "l" or "r" for each column; the last holds for those that follow.
        whole: cells are not broken into lines where the terminal is narrow.
    """
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    for heading, side in zip_longest(headings, justify[: len(headings)], fillvalue=justify[-1]):
        table.add_column(heading, justify="right" if side == "r" else "left", no_wrap=whole)
    for row in rows:
        table.add_row(*row)
    print_table(table)


def print_table(table: Any) -> None:
    """A rich table on standard output, at its full width where that is not a terminal."""
    from rich.console import Console

    console = Console(markup=False)  # a class may be called [b]
    if not console.is_terminal:
        console = Console(width=160, markup=False)
    console.print(table)


def show_interval(figure: dict[str, Any]) -> str:
    """``0.912 [0.880, 0.941]``, or a dash where the figure has no value."""
    if figure["value"] is None:
        return "-"
    text = f"{figure['value']:.3f}"
    if figure["low"] is not None:
        text += f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    return text
