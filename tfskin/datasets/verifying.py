"""Whether shard files hold what their metadata says: ids, labels and, on request, every byte."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfskin.datasets.artefacts import DETECTORS
from tfskin.errors import UserError

_ADVICE = "copy the shards again, or run tfskin-prepare again"
_HEAD, _TAIL = 12, 4
_NEEDED = {"image", "image_id", "group", "label", "diagnosis", "age"}
_checked: set[tuple[tuple[str, int, int], ...]] = set()
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
    files = [folder / name for part in about["files"].values() for name in part]
    version = tuple(
        (str(file), *_version(file))
        for file in [*files, *folder.glob("*.csv"), *folder.glob("*.json")]
    )
    if version in _checked:
        return
    for split in about["files"]:
        _check_split(folder, about, split, table[table["split"] == split])
    _checked.add(version)


def _check_split(folder: Path, about: Mapping[str, Any], split: str, part: pd.DataFrame) -> None:
    names = _diagnoses(about)
    what = f"{folder}: the {split} split"
    missing = Counter(zip(part["image_id"], part["group"], strict=True))
    counts = Counter(about["counts"][split])
    for file in about["files"][split]:
        for value, _ in _read_values(folder / file):
            label, diagnosis = value["label"], value["diagnosis"]
            if not -1 <= label < len(names) or (names[label] if label >= 0 else "") != diagnosis:
                raise UserError(
                    f"{folder / file}: image '{value['image_id']}': its label {label} is not its "
                    f"diagnosis '{diagnosis}'; {_ADVICE}"
                )
            missing[value["image_id"], str(value["group"])] -= 1
            counts[diagnosis] -= 1
    for lot, fault in ((+missing, "lacks"), (-missing, "should not hold")):
        if lot:
            raise UserError(
                f"{what} {fault} {lot.total()} of its records, such as that of "
                f"'{next(iter(lot))[0]}'; {_ADVICE}"
            )
    for diagnosis, left in counts.items():
        if left:
            expected = about["counts"][split].get(diagnosis, 0)
            raise UserError(
                f"{what} has {expected - left} images of '{diagnosis}' instead of {expected}; "
                f"{_ADVICE}"
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
        for files in about["files"].values():
            for name in files:
                _check_sums(folder / name)
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


def _version(file: Path) -> tuple[int, int]:
    """What tells a file apart from one of its name that was there before."""
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns


def _read_values(file: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """``(features but the image, stored bytes)`` of every record of a file.

    Without TensorFlow's runtime, which several machines must set up before anything uses it.
    """
    number = 0
    try:
        for record in _read_frames(file):
            number += 1
            value: dict[str, Any] = {}
            for name, feature in _parse(record).features.feature.items():
                kind = feature.WhichOneof("kind")
                item = getattr(feature, kind).value[0]
                value[name] = item
                if kind == "float_list":
                    value[name] = stored_number(item)
                elif kind == "bytes_list" and name != "image":
                    value[name] = item.decode()
            if missing := _NEEDED - value.keys():
                raise KeyError(missing)
            yield value, value.pop("image")
    except (ValueError, KeyError, IndexError, TypeError):
        raise UserError(f"{file}: record {number} is damaged; {_ADVICE}") from None


def _read_frames(file: Path) -> Iterator[bytes]:
    """The records of a TFRecord file: length 8, its checksum 4, the record, its checksum 4."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        while head := stream.read(_HEAD):
            length = int.from_bytes(head[:8], "little")
            if len(head) < _HEAD or stream.tell() + length + _TAIL > size:
                yield b""  # is parsed as a record without features
                return
            yield stream.read(length)
            stream.seek(_TAIL, os.SEEK_CUR)


def _parse(record: bytes) -> Any:
    import tensorflow as tf

    try:
        return tf.train.Example.FromString(record)
    except Exception as error:  # protobuf's DecodeError, whose module differs between versions
        raise ValueError("not a tf.train.Example") from error


def _check_sums(file: Path) -> None:
    """Nothing, when the checksum of every record in a TFRecord file fits.

    Raises:
        UserError: the number of the record whose checksum does not.
    """
    import tensorflow as tf

    number = 0
    try:
        for _ in tf.data.TFRecordDataset(str(file)):
            number += 1
    except tf.errors.OpError:
        raise UserError(f"{file}: record {number + 1} is damaged; {_ADVICE}") from None
