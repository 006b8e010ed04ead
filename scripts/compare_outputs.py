"""Compares two folders of outputs, such as those of two versions of tfskin, file by file.

JSON files are compared key by key, tables (CSV) cell by cell, numbers exactly unless
``--tolerance`` is given. What must differ is passed over: times and speeds, versions, the commit,
and of an absolute path all but its last part. One line a file; the exit code is 0 if all are equal.

    python scripts/compare_outputs.py OLD NEW
"""

import argparse
import csv
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUFFIXES = (".json", ".jsonl", ".csv")
PASSED_OVER = {
    *("seconds", "cpu_seconds", "seconds_this_call", "minutes", "cpu_minutes", "images_per_second"),
    *("date", "python", "packages", "commit", "platform", "processor", "cpus"),
}
MISSING = "(missing)"


@dataclass(frozen=True)
class Difference:
    """A value that differs: its dotted key, both values, and how far apart two numbers are."""

    key: str
    old: Any
    new: Any

    @property
    def size(self) -> float:
        """Distance of two finite numbers; infinite for anything else."""
        old, new = _number(self.old), _number(self.new)
        return math.inf if old is None or new is None else abs(old - new)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.0, help="numbers may differ so much")
    options = parser.parse_args()
    for folder in (options.old, options.new):
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder")
    lines = compare_folders(options.old, options.new, tolerance=options.tolerance)
    unequal = 0
    for path, line in lines.items():
        print(f"{path}: {line}")
        unequal += line != "equal"
    print(f"{len(lines) - unequal} of {len(lines)} files are equal")
    sys.exit(1 if unequal or not lines else 0)


def compare_folders(old: Path, new: Path, *, tolerance: float = 0.0) -> dict[str, str]:
    """Path within the folders -> ``equal``, or what differs."""
    names = [
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in SUFFIXES}
        for folder in (old, new)
    ]
    lines = {}
    for name in sorted(names[0] | names[1]):
        if name in names[0] & names[1]:
            found = [d for d in compare_files(old / name, new / name) if d.size > tolerance]
            lines[name] = describe(found)
        else:
            lines[name] = f"differs: is in {old if name in names[0] else new} only"
    return lines


def compare_files(old: Path, new: Path) -> list[Difference]:
    """Every value that differs between two files of the same kind."""
    return list(compare_values(read(old), read(new)))


def describe(found: list[Difference]) -> str:
    if not found:
        return "equal"
    first = found[0]
    sizes = [difference.size for difference in found if math.isfinite(difference.size)]
    largest = f", numbers by up to {max(sizes):.3g}" if sizes else ""
    text = f"{first.key} is {_short(first.old)} and {_short(first.new)}"
    return f"differs in {len(found)} values{largest}; first: {text}"


def read(path: Path) -> Any:
    """The content as nested dictionaries and lists; a table as its header and its rows."""
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            rows = list(csv.reader(file))
            torn = [row for row in rows if len(row) != len(rows[0])]
            return [rows[:1], torn, *(dict(zip(rows[0], row, strict=False)) for row in rows[1:])]
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in file]
        return json.load(file)


def compare_values(old: Any, new: Any, key: str = "") -> Iterator[Difference]:
    """The leaves that differ, those of one side only included."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            if name not in PASSED_OVER:
                inner = f"{key}.{name}" if key else str(name)
                yield from compare_values(old.get(name, MISSING), new.get(name, MISSING), inner)
    elif isinstance(old, list) and isinstance(new, list):
        for place in range(max(len(old), len(new))):
            one, other = (side[place] if place < len(side) else MISSING for side in (old, new))
            yield from compare_values(one, other, f"{key}[{place}]")
    elif not _same(old, new):
        yield Difference(key, old, new)


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, str) and isinstance(new, str) and old.startswith("/"):
        return new.startswith("/") and Path(old).name == Path(new).name
    return type(old) is type(new) and (old == new or (old != old and new != new))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


if __name__ == "__main__":
    main()
