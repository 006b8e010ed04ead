"""What the layouts of the ISIC challenges share: files by pattern, pictures anywhere below."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tfskin.datasets.records import IMAGE_SUFFIXES
from tfskin.datasets.sources.metadata import Metadata, check_unique, read_metadata
from tfskin.errors import UserError

_PARTS = {"training": "train", "train": "train", "validation": "val", "test": "test"}
# Superpixels and masks lie among the pictures of some challenges.
_NO_PICTURES = re.compile(r"_(superpixels|segmentation|mask)$", re.IGNORECASE)
_ENDING = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)


def find_tables(folder: Path, pattern: str) -> list[Path]:
    """The files anywhere below ``folder`` whose whole name matches, sorted by name.

    ``folder`` may be one such file itself. A name that lies in two folders (an archive that was
    unpacked twice) counts once.
    """
    regex = re.compile(pattern, re.IGNORECASE)
    if folder.is_file():
        return [folder] if regex.fullmatch(folder.name) else []
    found: dict[str, Path] = {}
    for place, children, names in os.walk(folder, followlinks=True):
        children[:] = sorted(name for name in children if not _hidden(name))
        for name in sorted(names):
            if regex.fullmatch(name):
                found.setdefault(name, Path(place).absolute() / name)
    return [found[name] for name in sorted(found)]


def require_tables(folder: Path, pattern: str, *, example: str) -> list[Path]:
    """As :func:`find_tables`, and at least one.

    Raises:
        UserError: none is there; the message names ``example``.
    """
    tables = find_tables(folder, pattern)
    if not tables:
        raise UserError(f"{folder}: no {example} in this folder or below; put it there")
    return tables


def part_of(file: Path) -> str:
    """The split that a file of a challenge is of ("train", "val" or "test"), from its name."""
    for word in re.split(r"[^A-Za-z]+", file.stem):
        if word.lower() in _PARTS:
            return _PARTS[word.lower()]
    return "train"


def index_pictures(folder: Path) -> dict[str, str]:
    """Name without suffix -> absolute path of every picture below ``folder``, masks left out."""
    folder = folder.expanduser().absolute()
    if folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of pictures; give the one that holds them")
    known: dict[str, str] = {}
    for place, children, names in os.walk(folder, followlinks=True):
        children[:] = sorted(name for name in children if not _hidden(name))
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)  # noqa: PTH122
            wanted = suffix.lower() in IMAGE_SUFFIXES and not _hidden(name)
            if wanted and not _NO_PICTURES.search(stem):
                known.setdefault(stem, os.path.join(place, name))  # noqa: PTH118
    return known


def read_ids(metadata: Metadata, *names: str, remedy: str) -> pd.Series:
    """The image ids of a table, without a picture's suffix, each once."""
    ids = metadata.require_values(*names, remedy=remedy)
    ids = ids.str.replace(_ENDING, "", regex=True)
    check_unique(metadata, ids)
    return ids


def take_pictures(metadata: Metadata, ids: pd.Series, known: dict[str, str]) -> list[str]:
    """The path of each id's picture.

    Raises:
        UserError: a row whose picture is nowhere; the message names the line and the id.
    """
    lost = ids[~ids.isin(list(known))]
    if len(lost):
        more = f" (and of {len(lost) - 1} more rows)" if len(lost) > 1 else ""
        raise UserError(
            f"{metadata.file}: line {lost.index[0]}: no picture of '{lost.iloc[0]}'{more} in the "
            "folder or below; put it there, or leave its row out"
        )
    return [known[image_id] for image_id in ids]


def read_one_hot(
    metadata: Metadata, classes: Sequence[str], *, none: str | None = None
) -> pd.Series:
    """The class of each row: the one of ``classes`` whose column holds 1.

    Args:
        metadata: with a column for each class, whatever its case; absent ones are passed over,
            but two must be there.
        classes: names of the columns, and of the result.
        none: the class of a row without any 1; None: that is an error.

    Raises:
        UserError: too few columns; a value that is neither 0 nor 1; no 1, or more than one.
    """
    present = [name for name in classes if metadata.find(name)]
    if len(present) + (none is not None) < 2:
        metadata.require(classes[0], remedy=f"it needs one of {', '.join(classes)} each")
    values = pd.DataFrame({name: metadata.get(name) for name in present})
    numbers = values.apply(pd.to_numeric, errors="coerce")
    wrong = ~numbers.isin([0.0, 1.0])
    if wrong.to_numpy().any():
        line = wrong.index[wrong.any(axis=1)][0]
        column = wrong.columns[wrong.loc[line]][0]
        raise UserError(
            f"{metadata.file}: line {line}: '{column}' is '{values.loc[line, column]}'; "
            "it must be 0 or 1"
        )
    ones = numbers.sum(axis=1)
    bad = ones.index[(ones > 1) | ((ones == 0) & (none is None))]
    if len(bad):
        raise UserError(
            f"{metadata.file}: line {bad[0]}: {int(ones[bad[0]])} of {', '.join(present)} are 1; "
            "exactly one must be"
        )
    result = numbers.idxmax(axis=1)
    return result.where(ones == 1, none)


def look_up(tables: Sequence[Path], key: Sequence[str], ids: pd.Series) -> Metadata | None:
    """The rows of further tables (metadata, lesion groupings), in the order of ``ids``.

    Ids without a row get empty values; None without tables.
    """
    frames = []
    for table in tables:
        metadata = read_metadata(table)
        own = read_ids(metadata, *key, remedy="it must name the images")
        frames.append(metadata.rows.set_axis(pd.Index(own, dtype="str"), axis=0))
    if not frames:
        return None
    rows = pd.concat(frames).fillna("")
    rows = rows[~rows.index.duplicated()]
    found = rows.reindex(ids.to_list(), fill_value="").set_axis(ids.index, axis=0)
    return Metadata(file=tables[0], rows=found)


def value_of(metadata: Metadata | None, ids: pd.Series, *names: str) -> pd.Series:
    """A column of :func:`look_up`'s rows, or "" in every row."""
    return pd.Series("", index=ids.index) if metadata is None else metadata.get(*names)


def join_parts(parts: Sequence[dict[str, object]]) -> dict[str, object]:
    """The columns of a challenge's parts, one under the other; ``split`` only where it matters.

    Training alone is data that do not come split.
    """
    frames = [pd.DataFrame(part).reset_index(drop=True) for part in parts]
    columns = pd.concat(frames, ignore_index=True).fillna("").to_dict("series")
    if set(columns["split"]) <= {"train"}:
        del columns["split"]
    return {str(name): values for name, values in columns.items()}


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
