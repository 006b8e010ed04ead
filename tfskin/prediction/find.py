"""What files, folders, patterns, tables of paths and standard input stand for: images."""

import glob
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from tfskin.datasets.finding import LeftOut, takes, walk_images
from tfskin.datasets.sources.paths import TABLE_SUFFIXES, read_paths
from tfskin.errors import UserError

STANDARD_INPUT = "-"


def find_images(inputs: Sequence[Path | str]) -> list[Path]:
    """The images that :func:`iterate_images` gives, as a list; what is left out is told."""
    left_out = LeftOut()
    found = list(iterate_images(inputs, left_out=left_out))
    left_out.say("images")
    return found


def count_images(inputs: Sequence[Path | str], *, left_out: LeftOut | None = None) -> int | None:
    """How many images the inputs stand for; None where standard input is one of them.

    Args:
        inputs: as for :func:`iterate_images`.
        left_out: counts what is passed over.

    Raises:
        UserError: as :func:`iterate_images`.
    """
    if STANDARD_INPUT in map(str, inputs):
        return None
    return sum(1 for _ in iterate_images(inputs, left_out=left_out))


def iterate_images(
    inputs: Sequence[Path | str],
    *,
    standard_input: TextIO | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[Path]:
    """The images that inputs stand for, each once, in that order, found while they are used.

    - A folder gives its images, sorted, from its subfolders and from linked ones too, but not
      hidden ones or masks (``..._segmentation``). A file whose suffix is none of an image's is
      judged by its first bytes.
    - A pattern is one of :mod:`glob`, with ``**`` for any folders, of which the same are taken.
    - A ``.csv``, ``.tab`` or ``.tsv`` file gives the paths in its column ``path`` (or another of
      ``sources.paths.PATH_COLUMNS``), relative to its own folder, read as the source ``table`` is.
    - ``-`` gives the paths on standard input, one a line.
    - Any other file is taken whatever its suffix.

    Held in memory are the names of one folder, the matches of one pattern and, where there is
    more than one input, a number of each image, so that none comes twice. Rows of a table and
    lines of standard input are taken as they are given, also when the file is missing: that is
    an error of its row.

    Args:
        inputs: files, folders, patterns, tables or ``-``.
        standard_input: in place of the process's.
        left_out: counts what is passed over.

    Raises:
        UserError: a path is missing, a folder or pattern has no images, or a table has no
            column of paths.
    """
    if not inputs:
        raise UserError("no images given; name files, folders or patterns such as 'photos/*.jpg'")
    seen: set[int] = set()
    for given in inputs:
        for path in _expand(given, standard_input or sys.stdin, left_out or LeftOut()):
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


def _expand(given: Path | str, standard_input: TextIO, left_out: LeftOut) -> Iterator[Path]:
    if str(given) == STANDARD_INPUT:
        lines = (line.rstrip("\r\n") for line in standard_input)
        return (Path(line) for line in lines if line)
    path = Path(given)
    if path.is_dir():
        return _some(walk_images(path, left_out), path, "no images in this folder", left_out)
    if path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        return _some(read_paths(path), path, "no paths in this table", left_out)
    if path.exists():
        return iter([path])
    if not glob.has_magic(str(path)):
        raise UserError(f"{path}: no such file or folder")
    # Path.glob takes no pattern that starts at the root.
    matches = map(Path, sorted(glob.iglob(str(path), recursive=True)))  # noqa: PTH207
    images = (match for match in matches if match.is_file() and takes(match, left_out))
    return _some(images, path, "no images match this pattern", left_out)


def _some(paths: Iterator[Path], given: Path, complaint: str, left_out: LeftOut) -> Iterator[Path]:
    """The paths; an error where there are none."""
    is_empty = True
    for path in paths:
        is_empty = False
        yield path
    if is_empty:
        why = f" ({left_out.describe()})" if left_out.describe() else ""
        raise UserError(f"{given}: {complaint}{why}")
