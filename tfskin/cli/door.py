"""tfskin: every command behind one door, ``tfskin NAME`` for ``tfskin-NAME``."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

from tfskin.cli import COMMANDS
from tfskin.errors import nearest_hint

WAY = """\
From images to predictions:

  tfskin audit image_folder photos/                   what is wrong with them
  tfskin prepare image_folder photos/ --name mine     -> tfrecords/mine
  tfskin train name=first data.shards=tfrecords/mine  -> runs/first, a report
  tfskin evaluate runs/first                          metrics with intervals
  tfskin explain runs/first photos/a.jpg              where the network looks
  tfskin export runs/first                            -> exports/first, to serve
  tfskin predict exports/first photos/                a table of probabilities
"""


def main() -> None:
    """Entry point: show the way, or hand over to a command."""
    name, words = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if name in ("", "-h", "--help"):
        print(_overview())
        return
    if name == "--version":
        from tfskin import __version__

        print(f"tfskin {__version__}")
        return
    if name not in COMMANDS:
        hint = nearest_hint(name, list(COMMANDS)) or f"; they are {', '.join(COMMANDS)}"
        print(f"tfskin: there is no command '{name}'{hint}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"tfskin {name}", *words]
    importlib.import_module(COMMANDS[name]).main()


def _overview() -> str:
    """The way, and each command with the first line of its file."""
    lines = [f"  {name:<10} {_describe(module)}" for name, module in COMMANDS.items()]
    return "\n".join([WAY, "Commands (tfskin NAME --help says more):", "", *lines])


def _describe(module: str) -> str:
    """What a command's file says of it, read without importing what it imports."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    text = Path(str(spec.origin)).read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return first.partition(": ")[2].rstrip(".")
