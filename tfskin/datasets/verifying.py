"""Whether shard files hold what their metadata says: ids, labels and, on request, every byte."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfskin.datasets.artefacts import DETECTORS
from tfskin.errors import UserError

_ADVICE = "copy the shards again, or run tfskin-prepare again"
_AT_ONCE = 512
_EXACT_DIGITS = 6
"""Significant digits of an age that float32, as records hold it, gives back exactly."""


def check_records_there(folder: Path, about: Mapping[str, Any], table: pd.DataFrame) -> None:
    """Nothing, when the files hold the images that ``shards.json`` and ``splits.csv`` name.

    Ids, groups and labels are compared split by split; no image is decoded, and files that were
    read before are not read again.

    Args:
        folder: of the shards.
        about: the content of ``shards.json``.
        table: of ``splits.csv``: image_id, split and group, as text.

    Raises:
        UserError: an image that is missing, strange, twice, of another group or of another label;
            a damaged file.
    """
    names = _diagnoses(about)
    for split, files in about["files"].items():
        part = table[table["split"] == split]
        expected = Counter(zip(part["image_id"], part["group"], strict=True))
        found: Counter[tuple[str, str]] = Counter()
        labels: Counter[str] = Counter()
        for name in files:
            rows = _read_rows(folder / name)
            found.update((image_id, str(group)) for image_id, group, _, _ in rows)
            for image_id, _, label, diagnosis in rows:
                if (
                    not -1 <= label < len(names)
                    or (names[label] if label >= 0 else "") != diagnosis
                ):
                    raise UserError(
                        f"{folder / name}: image '{image_id}': its label {label} is not its "
                        f"diagnosis '{diagnosis}'; {_ADVICE}"
                    )
                labels[diagnosis] += 1
        _compare(f"{folder}: the {split} split", expected, found, about["counts"][split], labels)


def _compare(
    what: str,
    expected: Counter[tuple[str, str]],
    found: Counter[tuple[str, str]],
    counts: Mapping[str, int],
    labels: Counter[str],
) -> None:
    for lot, fault in ((expected - found, "lacks"), (found - expected, "should not hold")):
        if lot:
            raise UserError(
                f"{what} {fault} {lot.total()} of its records, such as that of "
                f"'{next(iter(lot))[0]}'; {_ADVICE}"
            )
    for diagnosis in sorted({*counts, *labels}):
        if counts.get(diagnosis, 0) != labels[diagnosis]:
            raise UserError(
                f"{what} has {labels[diagnosis]} images of '{diagnosis}' instead of "
                f"{counts.get(diagnosis, 0)}; {_ADVICE}"
            )


def check_fingerprint(folder: Path, about: Mapping[str, Any]) -> None:
    """Nothing, when the content of all files has the fingerprint that ``shards.json`` names.

    Every image is read and hashed, none is decoded.

    Raises:
        UserError: it has another; a damaged file.
    """
    digests, exact = [], True
    for split, files in about["files"].items():
        for name in files:
            for value, image in _read_values(folder / name):
                exact &= len(repr(value["age"]).replace(".", "").strip("-0")) <= _EXACT_DIGITS
                digests.append(digest_record(split, value, image))
    # Former versions took the digits of an age that a record, which is float32, can't hold.
    if exact and join_digests(digests) != about["fingerprint"]:
        raise UserError(
            f"{folder}: the images or labels in it are not those that were written (their "
            f"fingerprint is another); {_ADVICE}"
        )


def digest_record(split: str, value: Mapping[str, Any], image: bytes) -> str:
    """SHA-256 of a record, in hexadecimal: its split, its stored bytes and its features but group.

    Args:
        split: of the record.
        value: feature -> str, int or float; all but the image.
        image: its stored bytes.
    """
    # A flag that is unknown was no part of the record in earlier versions.
    left_out = {"group", *(name for name in DETECTORS if value.get(name, -1) < 0)}
    # One feature held the skin type on either scale, and none the clinic.
    left_out |= {name for name in ("skin_tone", "clinic") if not value.get(name)}
    former = {"skin_type": value.get("fitzpatrick", "")} | dict(value)
    named = {key: former[key] for key in sorted(former) if key not in left_out | {"fitzpatrick"}}
    stored = hashlib.sha256(image).hexdigest()
    return hashlib.sha256(json.dumps([split, stored, named]).encode()).hexdigest()


def join_digests(digests: list[str]) -> str:
    """The fingerprint of shards whose records have these digests, in whatever order."""
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def stored_number(number: float) -> float:
    """A number as a record, which holds float32, gives it back: the shortest that is the same."""
    return float(str(np.float32(number)))


def _diagnoses(about: Mapping[str, Any]) -> list[str]:
    known = {name for counts in about["counts"].values() for name in counts if name}
    return sorted(known)


def _read_rows(file: Path) -> list[tuple[str, int, int, str]]:
    """``(image_id, group, label, diagnosis)`` of every record of a file."""
    stat = file.stat()
    return _read_version(str(file), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _read_version(file: str, size: int, changed: int) -> list[tuple[str, int, int, str]]:
    """``size`` and ``changed`` tell a file apart from one of its name that was there before."""
    import tensorflow as tf

    features = {
        **{name: tf.io.FixedLenFeature([], tf.string) for name in ("image_id", "diagnosis")},
        **{name: tf.io.FixedLenFeature([], tf.int64) for name in ("group", "label")},
    }
    rows: list[tuple[str, int, int, str]] = []
    try:
        for records in tf.data.TFRecordDataset(file).batch(_AT_ONCE):
            batch = {k: v.numpy() for k, v in tf.io.parse_example(records, features).items()}
            rows += zip(
                [text.decode() for text in batch["image_id"]],
                batch["group"].tolist(),
                batch["label"].tolist(),
                [text.decode() for text in batch["diagnosis"]],
                strict=True,
            )
    except (tf.errors.OpError, ValueError):
        raise _damaged(file) from None
    return rows


def _read_values(file: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """``(features but the image, stored bytes)`` of every record of a file."""
    import tensorflow as tf

    try:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            value: dict[str, Any] = {}
            for name, feature in tf.train.Example.FromString(record).features.feature.items():
                kind = feature.WhichOneof("kind")
                item = getattr(feature, kind).value[0]
                value[name] = item
                if kind == "float_list":
                    value[name] = stored_number(item)
                elif kind == "bytes_list" and name != "image":
                    value[name] = item.decode()
            yield value, value.pop("image")
    except (tf.errors.OpError, ValueError, KeyError, IndexError, TypeError):
        raise _damaged(str(file)) from None


def _damaged(file: str) -> UserError:
    import tensorflow as tf

    number = 0
    try:
        for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
            tf.train.Example.FromString(record)
            number += 1
    except Exception:
        return UserError(f"{file}: record {number + 1} is damaged; {_ADVICE}")
    return UserError(f"{file}: a record in it is damaged; {_ADVICE}")
