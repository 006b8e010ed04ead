"""What all commands share: options of one meaning, one-line errors, exit codes."""

import errno
import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tfskin.errors import UserError
from tfskin.progress import is_quiet, set_quiet

Output = Annotated[Path | None, typer.Option(help="Where to write.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.", min=0, max=2**31 - 1)]
Json = Annotated[
    bool, typer.Option("--json", help="The result as one JSON object on standard output.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", help="No news and no progress.", callback=lambda v: set_quiet(v))
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

INTERRUPTED = 130
_ADVICE = {
    errno.EROFS: "choose another --output, or a folder that can be written",
    errno.EACCES: "change its permissions, or choose another place",
    errno.EPERM: "change its permissions, or choose another place",
    errno.ENOTDIR: "a file stands where a folder is needed; move it, or choose another place",
    errno.EDQUOT: "free some space or choose another --output, and run the command again",
}


def run(command: Callable[..., None], *, cls: type[Any] | None = None) -> None:
    """Run a command and leave the process: 0 done, 2 the user can mend it, 1 our fault."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(cls=cls)(command) if cls else app.command()(command)
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


def say(line: str) -> None:
    """One line of news on standard error, unless --quiet."""
    if not is_quiet():
        print(line, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """The result as one JSON object on standard output."""
    print(json.dumps(value, default=str, allow_nan=False))


def print_figures(rows: list[tuple[str, dict[str, Any]]], *, title: str) -> None:
    """A table on standard output: one row a run or split, a figure with its interval a column."""
    from rich.table import Table

    from tfskin.evaluation.metric_table import metrics_shown

    shown = metrics_shown("terminal")
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("images", justify="right")
    for metric in shown:
        table.add_column(metric.short, justify="right", no_wrap=True)
    for name, figures in rows:
        cells = [show_interval(figures[metric.name]) for metric in shown]
        table.add_row(name, str(figures["images"]), *cells)
    print_table(table)


def print_rows(rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """A table on standard output: a column a key, numbers with thousands separators."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for heading in rows[0]:
        # A key of a config is shown as it is written there.
        shown = heading if "." in heading else heading.replace("_", " ")
        table.add_column(shown, justify="right")
    for row in rows:
        table.add_row(
            *(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values())
        )
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
