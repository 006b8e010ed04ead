"""Predictions as a table, and as a file that grows and goes on after a stop."""

import csv
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tfskin.errors import UserError
from tfskin.files import read_json, replace_file, write_json
from tfskin.prediction.answers import Prediction

SUFFIXES = (".csv", ".jsonl")
_LINE_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_EXTRAS = ("malignancy", "prediction_set")
_FIXED = ("path", "predicted", "probability", *_EXTRAS, "error")


def predictions_table(
    predictions: Iterable[Prediction], *, class_names: Sequence[str]
) -> pd.DataFrame:
    """A table with one row an image: path, predicted, probability, each class, and more.

    ``probability`` is the predicted class's; the probabilities of an image with an ``error`` are
    empty (NaN). The column of a class that is named like another column is ``class <name>``.
    Where the model knows them, ``malignancy`` and ``prediction_set`` (class names with "; "
    between) follow the classes; ``error`` is the last column.
    """
    rows = list(predictions)
    extras = [name for name in _EXTRAS if any(getattr(one, name) is not None for one in rows)]
    columns = _columns(class_names, extras)
    return pd.DataFrame([_cells(one, columns, class_names) for one in rows], columns=columns)


def write_predictions(
    predictions: Sequence[Prediction], path: Path | str, *, class_names: Sequence[str]
) -> None:
    """Write a ``.csv`` or ``.jsonl`` file (UTF-8) of predictions, atomically.

    Raises:
        UserError: another suffix.
    """
    suffix = _check_suffix(Path(path))
    with replace_file(path) as temporary:
        if suffix == ".csv":
            table = predictions_table(predictions, class_names=class_names)
            table.to_csv(temporary, index=False, float_format="%.6g")
        else:
            temporary.write_bytes(_encode("".join(map(_as_line, predictions))))


class RowWriter:
    """A ``.csv`` or ``.jsonl`` file of predictions that goes on after a stop.

    Rows go to ``<name>.part`` and are on the disk after every :meth:`write`; :meth:`finish`
    renames it to ``<name>``. A writer of the same file and the same ``identity`` finds the rows
    of a killed one: :meth:`skip_done` passes over the images that have one. A row that was cut
    off is dropped.

    Args:
        path: the file, ending in ``.csv`` or ``.jsonl``.
        class_names: index -> class.
        extras: of ``malignancy`` and ``prediction_set``, what predictions have.
        identity: what must be the same for rows of one file: model, options.

    Raises:
        UserError: another suffix; or a ``.part`` of another identity.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        class_names: Sequence[str],
        identity: dict[str, Any],
        extras: Sequence[str] = (),
    ) -> None:
        self.path = Path(path)
        _check_suffix(self.path)
        self.part = self.path.with_name(f"{self.path.name}.part")
        self._state = self.path.with_name(f"{self.path.name}.part.json")
        self.class_names = list(class_names)
        self._columns = _columns(class_names, extras)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        identity = {**identity, "class_names": self.class_names}
        if self.part.exists() and self._state.exists():
            if read_json(self._state) != identity:
                raise UserError(
                    f"{self.part}: was begun with another model or other options; delete it to "
                    "begin anew, or name another --output"
                )
        else:
            self.part.unlink(missing_ok=True)
            write_json(self._state, identity)

    def skip_done(
        self, paths: Iterator[Path], *, pass_over: Callable[[Path], None] | None = None
    ) -> int:
        """The number of images that have a row already, passed over in ``paths``.

        Args:
            paths: of all images, in the order of the stopped call.
            pass_over: called with each of those images whose row has no error.

        Raises:
            UserError: the rows are of other images.
        """
        if not self.part.exists():
            return 0
        count = 0
        for written, error in self._whole_rows():
            path = next(paths, None)
            if path is None or printable(path) != written:
                raise UserError(
                    f"{self.part}: row {count + 1} is of '{written}', not of "
                    f"'{printable(path) if path else 'anything'}'; give the same images in the "
                    "same order, or delete it to begin anew"
                )
            count += 1
            if pass_over is not None and not error:
                pass_over(path)
        return count

    def write(self, predictions: Sequence[Prediction]) -> None:
        """Add rows, and see that they are on the disk."""
        stream = io.StringIO()
        if self.path.suffix == ".jsonl":
            stream.writelines(map(_as_line, predictions))
        else:
            writer = csv.writer(stream, lineterminator="\n")
            if not self.part.exists() or not self.part.stat().st_size:
                writer.writerow(self._columns)
            for one in predictions:
                cells = _cells(one, self._columns, self.class_names)
                writer.writerow([_short(cell) for cell in cells])
        with self.part.open("ab") as file:
            file.write(_encode(stream.getvalue()))
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> Path:
        """The finished file."""
        self.part.touch()
        self.part.replace(self.path)
        self._state.unlink(missing_ok=True)
        return self.path

    def _whole_rows(self) -> Iterator[tuple[str, str]]:
        """Path and error of every whole row; what follows the last of them is cut off."""
        end = 0
        with self.part.open("rb") as file:
            lines = _Lines(file)
            if self.path.suffix == ".jsonl":
                for line in lines:
                    try:
                        row = json.loads(line)
                        written = row["path"], row.get("error", "")
                    except (ValueError, KeyError):
                        break
                    end = lines.end
                    yield written
            else:
                for number, row in enumerate(csv.reader(lines)):
                    if len(row) != len(self._columns) or not lines.is_whole:
                        break
                    end = lines.end
                    if number:  # the first one holds the names of the columns
                        yield row[0], row[-1]
        os.truncate(self.part, end)


class _Lines:
    """The lines of a file as text, and where the last one ended."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.end = 0
        self.is_whole = True

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.is_whole = line.endswith(b"\n")
            if not self.is_whole:
                return
            self.end += len(line)
            yield line.decode("utf-8")


def printable(path: Path) -> str:
    """A path as one line of text that any file can hold.

    Bytes that are no UTF-8, and characters that begin a new line or control a terminal, are
    escaped as Python escapes them. ``=x.jpg`` becomes ``./=x.jpg``, the same file, which no
    spreadsheet takes for a formula.
    """
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    text = _LINE_BREAKS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return f"./{text}" if text.startswith(("=", "+", "-", "@")) else text


def _columns(class_names: Sequence[str], extras: Sequence[str]) -> list[str]:
    names = [f"class {name}" if name in _FIXED else name for name in class_names]
    more = [name for name in _EXTRAS if name in extras]
    return ["path", "predicted", "probability", *names, *more, "error"]


def _cells(one: Prediction, columns: Sequence[str], class_names: Sequence[str]) -> list[Any]:
    missing = [math.nan] * len(class_names)
    cells = [printable(one.path), one.predicted, one.probability]
    cells += list(one.probabilities) or missing
    if "malignancy" in columns:
        cells.append(math.nan if one.malignancy is None else one.malignancy)
    if "prediction_set" in columns:
        cells.append("" if one.prediction_set is None else "; ".join(one.prediction_set))
    return [*cells, one.error]


def _check_suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: must end in {' or '.join(SUFFIXES)}")
    return path.suffix


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def _as_line(one: Prediction) -> str:
    return json.dumps(_as_object(one), ensure_ascii=False) + "\n"


def _as_object(one: Prediction) -> dict[str, Any]:
    """One line of a ``.jsonl`` file."""
    values: dict[str, Any] = {"path": printable(one.path)}
    if one.error:
        return {**values, "error": one.error}
    values |= {"predicted": one.predicted, "probability": _short(one.probability)}
    pairs = zip(one.class_names, one.probabilities, strict=True)
    values["probabilities"] = {name: _short(value) for name, value in pairs}
    if one.malignancy is not None:
        values["malignancy"] = _short(one.malignancy)
    if one.prediction_set is not None:
        values["prediction_set"] = list(one.prediction_set)
    return values


def _short(cell: Any) -> Any:
    """A number of six digits; empty for NaN."""
    if not isinstance(cell, float):
        return cell
    return "" if math.isnan(cell) else float(f"{cell:.6g}")
