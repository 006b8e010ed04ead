"""What files, folders, patterns, tables of paths and standard input stand for: images."""

import csv
import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from tfskin.datasets.records import IMAGE_SUFFIXES
from tfskin.errors import UserError

PATH_COLUMNS = ("path", "image_path", "file", "filename", "image")
TABLE_SUFFIXES = (".csv", ".tsv")
STANDARD_INPUT = "-"


def find_images(inputs: Sequence[Path | str]) -> list[Path]:
    """The images that :func:`iterate_images` gives, as a list."""
    return list(iterate_images(inputs))


def count_images(inputs: Sequence[Path | str]) -> int | None:
    """How many images the inputs stand for; None where standard input is one of them.

    Raises:
        UserError: as :func:`iterate_images`.
    """
    if STANDARD_INPUT in map(str, inputs):
        return None
    return sum(1 for _ in iterate_images(inputs))


def iterate_images(
    inputs: Sequence[Path | str], *, standard_input: TextIO | None = None
) -> Iterator[Path]:
    """The images that inputs stand for, each once, in that order, found while they are used.

    - A folder gives its files with an image's suffix, sorted, from its subfolders too, but
      not hidden ones.
    - A pattern is one of :mod:`glob`, with ``**`` for any folders.
    - A ``.csv`` or ``.tsv`` file gives the paths in its column ``path`` (or another of
      :data:`PATH_COLUMNS`), relative to its own folder.
    - ``-`` gives the paths on standard input, one a line.
    - Any other file is taken whatever its suffix.

    Held in memory are the names of one folder, the matches of one pattern and, where there is
    more than one input, a number of each image, so that none comes twice. Rows of a table and
    lines of standard input are taken as they are given, also when the file is missing: that is
    an error of its row.

    Args:
        inputs: files, folders, patterns, tables or ``-``.
        standard_input: in place of the process's.

    Raises:
        UserError: a path is missing, a folder or pattern has no images, or a table has no
            column of paths.
    """
    if not inputs:
        raise UserError("no images given; name files, folders or patterns such as 'photos/*.jpg'")
    seen: set[int] = set()
    for given in inputs:
        for path in _expand(given, standard_input or sys.stdin):
            key = hash(path)
            if len(inputs) > 1 and key in seen:
                continue
            if len(inputs) > 1:
                seen.add(key)
            yield path


def refuse_inside(folder: Path | str, inputs: Sequence[Path | str], *, option: str) -> None:
    """Refuse a folder for images that are written, where the next look at the inputs finds them.

    Raises:
        UserError: it is, or lies in, one of the folders or the root of one of the patterns.
    """
    place = Path(folder).resolve()
    for given in inputs:
        root = Path(given)
        if not root.exists() and glob.has_magic(str(root)):
            parts = root.parts
            fixed = next(n for n, part in enumerate(parts) if glob.has_magic(part))
            root = Path(*parts[:fixed])
        if not root.is_dir() or str(given) == STANDARD_INPUT:
            continue
        if place.is_relative_to(root.resolve()):
            raise UserError(
                f"{option} {folder}: lies in {root}, whose images are read, so what is written "
                "would be read too; choose a folder outside"
            )


def _expand(given: Path | str, standard_input: TextIO) -> Iterator[Path]:
    if str(given) == STANDARD_INPUT:
        lines = (line.rstrip("\r\n") for line in standard_input)
        return (Path(line) for line in lines if line)
    path = Path(given)
    if path.is_dir():
        return _some(_walk(path), path, "no images in this folder")
    if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        return _some(_read_table(path), path, "no paths in this table")
    if path.exists():
        return iter([path])
    if not glob.has_magic(str(path)):
        raise UserError(f"{path}: no such file or folder")
    # Path.glob takes no pattern that starts at the root.
    matches = map(Path, sorted(glob.iglob(str(path), recursive=True)))  # noqa: PTH207
    images = (match for match in matches if match.is_file() and _is_image(match))
    return _some(images, path, "no images match this pattern")


def _some(paths: Iterator[Path], given: Path, complaint: str) -> Iterator[Path]:
    """The paths; an error where there are none."""
    is_empty = True
    for path in paths:
        is_empty = False
        yield path
    if is_empty:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{given}: {complaint} (files ending in {suffixes})")


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}")

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if _is_image(Path(name)))


def _is_image(path: Path) -> bool:
    # Names that start with a dot are hidden, as are the "._x.jpg" that macOS leaves on disks.
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _read_table(table: Path) -> Iterator[Path]:
    delimiter = "\t" if table.suffix.lower() == ".tsv" else ","
    try:
        with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file, delimiter=delimiter)
            columns = list(rows.fieldnames or ())
            column = next((name for name in PATH_COLUMNS if name in columns), None)
            if column is None:
                raise UserError(
                    f"{table}: has no column of paths ({', '.join(PATH_COLUMNS)}), but "
                    f"{', '.join(columns) or 'nothing'}; name one of them so"
                )
            yield from (table.parent / row[column] for row in rows if row[column])
    except (OSError, csv.Error) as error:
        raise UserError(f"{table}: cannot be read: {error}") from None
