"""What the layouts of the ISIC challenges share: files by pattern, images anywhere below."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from tfskin.datasets.finding import walk_files
from tfskin.datasets.sources.images import data_folder, index_images
from tfskin.datasets.sources.metadata import Metadata, check_unique, read_metadata
from tfskin.datasets.words import clean_image_id
from tfskin.errors import UserError

_PARTS = {"training": "train", "train": "train", "validation": "val", "test": "test"}


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
    folder = data_folder(path)
    known = index_images(Path(images) if images is not None else folder)
    further = find_tables(folder, layout.further)
    remedy = f"{layout.name.upper().replace('_', ' ')} is published with it"
    parts = []
    for table in tables:
        metadata = read_metadata(table)
        ids = read_ids(metadata, *layout.key, remedy=remedy)
        about = look_up(further, layout.key, ids)
        parts.append(
            {
                "image_id": ids,
                "path": known.take(metadata, ids),
                "diagnosis": read_one_hot(metadata, layout.classes, none=layout.none),
                **{name: value_of(about, ids, *held) for name, held in layout.columns.items()},
                "split": part_of(table),
            }
        )
    known.say()
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
    for place, name in walk_files(folder):
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


def read_ids(metadata: Metadata, *names: str, remedy: str) -> pd.Series:
    """The image ids of a table as ``words.clean_image_id`` writes them, each once."""
    ids = metadata.require_values(*names, remedy=remedy)
    ids = ids.map(clean_image_id)
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
    values = pd.DataFrame({name: metadata.require(name, remedy="") for name in present})
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


def add_columns(
    metadata: Metadata, tables: Sequence[Path], key: Sequence[str], ids: pd.Series
) -> Metadata:
    """The table with the columns that only further tables have, as :func:`look_up` finds them."""
    further = look_up(tables, key, ids)
    if further is None:
        return metadata
    fresh = [name for name in further.rows if metadata.find(str(name)) is None]
    return Metadata(metadata.file, metadata.rows.join(further.rows[fresh]))


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
