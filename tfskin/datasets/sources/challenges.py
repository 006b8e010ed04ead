"""What the layouts of the ISIC challenges share: files by pattern, images anywhere below."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tfskin.datasets.records import IMAGE_SUFFIXES
from tfskin.datasets.sources.metadata import Metadata, check_unique, read_metadata, take_images
from tfskin.errors import UserError

_PARTS = {"training": "train", "train": "train", "validation": "val", "test": "test"}
# Superpixels and masks lie among the images of some challenges.
_NO_IMAGES = re.compile(r"_(superpixels|segmentation|mask)$", re.IGNORECASE)
_ENDING = re.compile(r"\.(jpe?g|png)$", re.IGNORECASE)


@dataclass(frozen=True)
class Challenge:
    """The layout of a challenge that publishes a truth file for each of its parts.

    Attributes:
        name: of the source, such as "isic_2018".
        truth: pattern of the names of the truth files.
        example: such a name, for errors.
        key: what the column of image ids may be called.
        classes: columns of 0 and 1, one a class.
        none: the class of a row without a 1; None: every row has one.
        further: pattern of the names of tables with more about the images.
        columns: column of the records -> what it may be called in those tables.
    """

    name: str
    truth: str
    example: str
    key: tuple[str, ...]
    classes: tuple[str, ...]
    none: str | None = None
    further: str = ""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_challenge(path: Path, images: Path | str | None, layout: Challenge) -> dict[str, Any]:
    """The columns of a challenge's records, for ``build_records``.

    Test and validation files are the test and val splits. Images lie anywhere below the folder.

    Args:
        path: the folder that holds all of it, or one truth file.
        images: the folder of the images, where it is another.
        layout: names of files and columns.

    Raises:
        UserError: no truth file, a missing column, a row that is not one-hot or has no image, an
            id twice.
    """
    tables = require_tables(path, layout.truth, example=layout.example)
    known = index_images(Path(images) if images is not None else path)
    further = find_tables(path if path.is_dir() else path.parent, layout.further)
    remedy = f"{layout.name.upper().replace('_', ' ')} is published with it"
    parts = []
    for table in tables:
        metadata = read_metadata(table)
        ids = read_ids(metadata, *layout.key, remedy=remedy)
        about = look_up(further, layout.key, ids)
        parts.append(
            {
                "image_id": ids,
                "path": take_images(metadata, ids, known),
                "diagnosis": read_one_hot(metadata, layout.classes, none=layout.none),
                **{name: value_of(about, ids, *held) for name, held in layout.columns.items()},
                "split": part_of(table),
            }
        )
    return join_parts(parts) | {"image_type": "dermoscopic", "source": layout.name}


def find_tables(folder: Path, pattern: str) -> list[Path]:
    """The files anywhere below ``folder`` whose whole name matches, sorted by name.

    ``folder`` may be one such file itself. A name that lies in two folders (an archive that was
    unpacked twice) counts once.
    """
    regex = re.compile(pattern, re.IGNORECASE)
    if folder.is_file():
        return [folder] if regex.fullmatch(folder.name) else []
    found: dict[str, Path] = {}
    for place, name in _walk(folder):
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


def index_images(folder: Path) -> dict[str, str]:
    """Name without suffix -> absolute path of every image below ``folder``, masks left out."""
    folder = folder.expanduser().absolute()
    if folder.is_file():
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of images; give the one that holds them")
    known: dict[str, str] = {}
    for place, name in _walk(folder):
        stem, suffix = os.path.splitext(name)  # noqa: PTH122
        wanted = suffix.lower() in IMAGE_SUFFIXES and not _hidden(name)
        if wanted and not _NO_IMAGES.search(stem):
            known.setdefault(stem, os.path.join(place, name))  # noqa: PTH118
    return known


def read_ids(metadata: Metadata, *names: str, remedy: str) -> pd.Series:
    """The image ids of a table, without an image's suffix, each once."""
    ids = metadata.require_values(*names, remedy=remedy)
    ids = ids.str.replace(_ENDING, "", regex=True)
    check_unique(metadata, ids)
    return ids


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


def join_parts(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The columns of a challenge's parts, one under the other; ``split`` only where it matters.

    Training alone is data that do not come split.
    """
    frames = [pd.DataFrame(part).reset_index(drop=True) for part in parts]
    columns = pd.concat(frames, ignore_index=True).fillna("").to_dict("series")
    if set(columns["split"]) <= {"train"}:
        del columns["split"]
    return {str(name): values for name, values in columns.items()}


def _walk(folder: Path) -> Iterator[tuple[str, str]]:
    """``(folder, file's name)`` of all below a folder, in order, without what is hidden."""
    for place, children, names in os.walk(folder, followlinks=True):
        children[:] = sorted(name for name in children if not _hidden(name))
        yield from ((place, name) for name in sorted(names))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
