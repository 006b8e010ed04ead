"""What the layouts with a metadata file share: reading it, and finding its images."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from tfskin.datasets.records import summarise_names
from tfskin.datasets.words import says_nothing
from tfskin.errors import UserError, nearest_hint

_DELIMITERS = ("\t", ",", ";")
# Column of the records -> what the ISIC Archive calls it: today, in challenges, in its first tool.
_ARCHIVE_COLUMNS = {
    "lesion_id": ("lesion_id",),
    "patient_id": ("patient_id",),
    "age": ("age_approx", "age", "meta.clinical.age_approx"),
    "sex": ("sex", "meta.clinical.sex"),
    "site": (
        *("anatom_site_general", "anatom_site_general_challenge", "anatom_site_1"),
        "meta.clinical.anatom_site_general",
    ),
    "image_type": ("image_type", "meta.acquisition.image_type"),
    "fitzpatrick": ("fitzpatrick_skin_type",),
    "skin_tone": ("skin_tone_class",),
    "license": ("copyright_license",),
    "attribution": ("attribution",),
}


@dataclass(frozen=True)
class Metadata:
    """A metadata file: text only, columns by name.

    Attributes:
        file: where it was read from, for errors.
        rows: one row a line, every value a str without surrounding blanks, indexed by the line's
            number in the file.
    """

    file: Path
    rows: pd.DataFrame

    def find(self, *names: str) -> str | None:
        """The column that has the first of ``names`` that is there, whatever its case."""
        by_lower = {str(column).lower(): str(column) for column in reversed(self.rows.columns)}
        for name in names:
            column = name if name in self.rows.columns else by_lower.get(name.lower())
            if column is not None:
                return column
        return None

    def get(self, *names: str) -> pd.Series:
        """The values of the first of these columns that is there; else "" in every row.

        What stands for no value ("NaN", "-1", ...) is "" too, so that another column can say more.
        """
        column = self.find(*names)
        if column is None:
            return pd.Series("", index=self.rows.index)
        return self.rows[column].mask(self.rows[column].map(says_nothing), "")

    def require(self, *names: str, remedy: str) -> pd.Series:
        """The values of the first of these columns that is there.

        Raises:
            UserError: none is there; the message lists the file's columns and ends in ``remedy``.
        """
        column = self.find(*names)
        if column is None:
            found = [str(name) for name in self.rows.columns]
            wanted = " or ".join(f"'{name}'" for name in names)
            hint = nearest_hint(names[0], found) if len(names) == 1 else ""
            raise UserError(
                f"{self.file}: no column {wanted}{hint}; found: {', '.join(found)}; {remedy}"
            )
        return self.rows[column]

    def require_values(self, *names: str, remedy: str) -> pd.Series:
        """As :meth:`require`, and no value may be empty, or a word for it such as "NaN"."""
        values = self.require(*names, remedy=remedy)
        empty = values.index[values.map(says_nothing)]
        if len(empty):
            word = f"'{values[empty[0]]}', which is no value" if values[empty[0]] else "empty"
            raise UserError(
                f"{self.file}: line {empty[0]}: '{values.name}' is {word}; "
                "fill it in, or leave the row out"
            )
        return values


def read_metadata(
    file: Path, *, header: Sequence[str] | None = None, errors: str = "strict"
) -> Metadata:
    """The content of a CSV file, separated by commas, semicolons or tabs (seen from line 1).

    A byte-order mark is accepted, empty lines are skipped.

    Args:
        file: the file.
        header: the column names of a file that has no header line.
        errors: what becomes of bytes that are no UTF-8, as ``open`` takes it.

    Raises:
        UserError: not UTF-8, no header, a column twice, a line with another number of fields, or
            a quotation mark that swallows the rows after it.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="", errors=errors) as stream:
            return _parse_metadata(file, stream, header)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not a CSV file in UTF-8 ({error}); save it as one") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None


def _parse_metadata(file: Path, stream: Iterable[str], names: Sequence[str] | None) -> Metadata:
    lines = iter(stream)
    first = next(lines, "")
    delimiter = max(_DELIMITERS, key=first.count)
    if names is not None:
        header, lines, before = list(names), chain([first], lines), 0
    else:
        header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
        before = 1
    if not any(header):
        raise UserError(f"{file}: the first line is empty; it must hold the column names")
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise UserError(f"{file}: column '{repeated[0]}' stands there twice; rename one of them")
    values, numbers = [], []
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    for number, row in _read_rows(file, reader, before, _swallows(header, delimiter)):
        while len(row) > len(header) and not row[-1]:
            row.pop()
        if len(row) != len(header):
            raise UserError(
                f"{file}: line {number} has {len(row)} fields, the header has {len(header)}; "
                "mend the line (is the file cut off?)"
            )
        values.append(row)
        numbers.append(number)
    if not values:
        raise UserError(f"{file}: there is no row under the header; is the file cut off?")
    table = pd.DataFrame(values, columns=header, index=numbers, dtype="str")
    return Metadata(file=file, rows=table)


def _read_rows(
    file: Path, reader: Any, before: int, swallows: Callable[[str], bool]
) -> Iterator[tuple[int, list[str]]]:
    """``(line number, fields)`` of every row that is not empty, ``before`` lines were read."""
    start = before + 1
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            line = reader.line_num + before
            if any("\0" in field for field in fields):
                raise UserError(f"{file}: line {line} holds NUL bytes; copy or download it again")
            if any(map(swallows, fields)):
                raise UserError(
                    f"{file}: line {start}: a quotation mark swallows the rows up to line {line}; "
                    "mend its quotation marks"
                )
            if any(fields):
                yield line, fields
            start = line + 1
    except csv.Error as error:
        raise UserError(f"{file}: line {start}: {error}; mend its quotation marks") from None


def _swallows(header: Sequence[str], delimiter: str) -> Callable[[str], bool]:
    """Whether a field holds whole rows of the table: a quotation mark before them was not closed.

    A note may be of several lines; a line within it that has the delimiters of a row is a row.
    """
    most = len(header) - 1

    def swallows(field: str) -> bool:
        _, *further = field.splitlines() or [""]
        return any(line.count(delimiter) >= most for line in further)

    return swallows


def archive_columns(metadata: Metadata) -> dict[str, Any]:
    """What a table of the ISIC Archive says of images besides id and diagnosis."""
    return {name: metadata.get(*names) for name, names in _ARCHIVE_COLUMNS.items()}


def find_metadata(path: Path, names: Sequence[str]) -> Path:
    """The metadata file at ``path``, or the first of ``names`` in the folder ``path``.

    Raises:
        UserError: none of them is there.
    """
    if path.is_file():
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    others = sorted(p.name for p in path.iterdir() if p.suffix.lower() in (".csv", ".tab", ".tsv"))
    found = f" (found: {', '.join(others[:5])})" if others else ""
    raise UserError(f"{path}: no {' or '.join(names)} in this folder{found}; put it there")


def check_unique(metadata: Metadata, ids: pd.Series) -> None:
    """Nothing, when every id stands in one row only.

    Raises:
        UserError: an id twice; the message names the lines.
    """
    repeated = ids[ids.duplicated()]
    if len(repeated):
        first = repeated.iloc[0]
        lines = " and ".join(str(line) for line in ids.index[ids == first][:2])
        raise UserError(
            f"{metadata.file}: {summarise_names(list(dict.fromkeys(repeated)))} stands in more "
            f"than one row (lines {lines}); keep one row an image"
        )
