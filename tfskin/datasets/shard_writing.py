"""Records and splits -> TFRecord shards that TFDS reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfskin.datasets.audit import UNKNOWN_FLAG
from tfskin.datasets.folds import fold_number
from tfskin.datasets.options import ShardOptions
from tfskin.datasets.proof import digest_file, prove_disjoint
from tfskin.datasets.records import LINKED_BY
from tfskin.datasets.shard_files import (
    FLAG_FEATURES,
    TEXT_FEATURES,
    count_flags,
    count_values,
    make_features,
    write_split,
    write_tfds_metadata,
)
from tfskin.datasets.shards import FORMAT, SHARDS_FILE, SPLITS_FILE, VERSION, Shards, read_shards
from tfskin.datasets.shards_on_beam import write_splits_on_beam
from tfskin.datasets.splits import check_disjoint
from tfskin.datasets.splits_file import SPLITS, write_splits_csv
from tfskin.datasets.verifying import join_digests, stored_number
from tfskin.errors import UserError
from tfskin.files import read_json, replace_folder, write_json
from tfskin.locks import only_writer
from tfskin.startup import import_tensorflow_quietly

_NAME = re.compile(r"[a-z][a-z0-9_]*")  # TFDS: a name that could be a Python module


def write_shards(
    records: pd.DataFrame,
    splits: pd.Series,
    groups: np.ndarray,
    *,
    name: str,
    version: str = "1.0.0",
    output_dir: Path | str,
    options: ShardOptions | None = None,
) -> Shards:
    """The shards of a data set, written to ``<output_dir>/<name>/<version>/``.

    The folder appears when everything is in it: ``<name>-<split>.tfrecord-00000-of-0000N``,
    ``features.json`` and ``dataset_info.json`` of TFDS, ``splits.csv`` and ``shards.json``. What
    a killed run left behind is removed by the next one. Images are read by threads and only a
    few are in memory at a time. The records of a split lie in an order shuffled by the seed.

    The fingerprint is the SHA-256 of the sorted SHA-256 of every record: its split, its stored
    bytes and its features but ``group``, whose numbers depend on the order of the records. So
    it does not depend on the order, nor on how records are spread over files.

    Args:
        records: as ``check_records`` returns them.
        splits: the split of each record, as ``make_splits`` returns it.
        groups: int (N,), as ``group_records`` returns it.
        name: lower-case letters, digits and underscores.
        version: three numbers with dots.
        output_dir: where ``<name>/<version>`` goes.
        options: size cap, JPEG quality, size of the files, seed.

    Raises:
        UserError: a name or version that TFDS does not take, shards that are there already, a
            group in two splits, no record with a diagnosis, an image that cannot be decoded, a
            folder that cannot be written, or another process writing the same data set.
    """
    options = options or ShardOptions()
    check_name(name, version)
    check_disjoint(groups, splits, records["image_id"].tolist())
    if not (records["diagnosis"] != "").any():
        raise UserError(f"{name}: no image has a diagnosis; name the column that holds it")
    target = Path(output_dir).absolute() / name / version
    rows = _make_rows(records, splits, groups)
    proof = prove_disjoint(
        records,
        splits,
        groups,
        near_duplicates=options.near_duplicates,
        photographs=options.photographs,
    )
    import_tensorflow_quietly()
    with only_preparer(target), _explain_os_errors(target):
        if target.exists() and not options.overwrite:
            raise UserError(f"{target}: is there already; overwrite it, or give another version")
        with replace_folder(target, overwrite=options.overwrite) as folder, _quiet_absl():
            _fill_folder(folder, rows, name, version, options, proof)
    return read_shards(target, read_json(target / SHARDS_FILE))


def check_name(name: str, version: str) -> None:
    """Refuse a name or version that TFDS does not take.

    Raises:
        UserError: says what it must be.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"name '{name}': must be lower-case letters, digits and underscores, and start with "
            "a letter, such as 'ham10000'"
        )
    if not VERSION.fullmatch(version):
        raise UserError(f"version '{version}': must be three numbers, such as '1.0.0'")


def _make_rows(records: pd.DataFrame, splits: pd.Series, groups: np.ndarray) -> pd.DataFrame:
    """Every feature but the image's, and path and split, sorted by image_id."""
    rows = records[["path", *TEXT_FEATURES]].copy()
    rows["age"] = [stored_number(age) for age in records["age"]]
    for name in FLAG_FEATURES:
        rows[name] = records[name].astype(np.int64) if name in records else UNKNOWN_FLAG
    rows[LINKED_BY] = records.get(LINKED_BY, "")
    rows["group"] = np.asarray(groups).astype(np.int64)
    rows["split"] = np.asarray(splits, dtype=object)
    labels = {diagnosis: label for label, diagnosis in enumerate(_list_diagnoses(rows))}
    rows["label"] = [labels.get(diagnosis, -1) for diagnosis in rows["diagnosis"]]
    return rows.sort_values("image_id", ignore_index=True)


def _order_splits(splits: pd.Series) -> list[str]:
    """The four splits, each in its place, and then the folds: the place seeds the order."""
    folds = {split for split in splits if fold_number(split) is not None}
    return [*SPLITS, *sorted(folds, key=lambda split: fold_number(split) or 0)]


def _list_diagnoses(rows: pd.DataFrame) -> list[str]:
    return sorted(set(rows["diagnosis"]) - {""})


def _fill_folder(
    folder: Path,
    rows: pd.DataFrame,
    name: str,
    version: str,
    options: ShardOptions,
    proof: dict[str, Any],
) -> None:
    features = make_features(_list_diagnoses(rows))
    shuffled = {}
    for place, split in enumerate(_order_splits(rows["split"])):
        part = rows[rows["split"] == split].drop(columns=LINKED_BY)
        order = np.random.default_rng([options.seed, place]).permutation(len(part))
        if len(part):
            shuffled[split] = part.iloc[order]
    if options.beam is None:
        parts = {
            split: write_split(folder, name, part, options) for split, part in shuffled.items()
        }
    else:
        parts = write_splits_on_beam(folder, name, list(shuffled.values()), options, options.beam)
    write_tfds_metadata(folder, rows, version, features, parts)
    write_splits_csv(
        folder / SPLITS_FILE,
        rows["image_id"].tolist(),
        rows["split"],
        rows["group"].to_numpy(),
        rows[LINKED_BY].tolist(),
    )
    digests = [digest for part in parts.values() for digest in part.digests]
    about = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "fingerprint": join_digests(digests),
        "counts": {
            split: count_values(rows["diagnosis"][rows["split"] == split]) for split in parts
        },
        "diagnoses": _list_diagnoses(rows),
        "licenses": count_values(rows["license"]),
        "source": ", ".join(sorted(set(rows["source"]))),
        "groups": int(rows["group"].nunique()),
        "disjoint": True,
        "proof": proof | {"splits_sha256": digest_file(folder / SPLITS_FILE)},
        "flags": {split: count_flags(rows[rows["split"] == split]) for split in parts},
        "left_out": dict(options.left_out),
        "max_side": options.max_side,
        "jpeg_quality": options.jpeg_quality,
        "seed": options.seed,
        "files": {
            split: {file: (folder / file).stat().st_size for file in part.files}
            for split, part in parts.items()
        },
    }
    write_json(folder / SHARDS_FILE, about)


@contextmanager
def only_preparer(target: Path) -> Iterator[None]:
    """Hold the folder of a data set and of its version for this process.

    What a killed one left is cleared, and shards that it had moved away are put back.

    Raises:
        UserError: another process writes it.
    """
    with ExitStack() as held:
        with _explain_os_errors(target):
            held.enter_context(only_writer(target.parent, nested=True))
            target.parent.mkdir(parents=True, exist_ok=True)
            held.callback(_remove_empty, target.parent)
            held.enter_context(only_writer(target, nested=True))
        yield


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()  # only when it is empty: nothing was written


@contextmanager
def _explain_os_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written: {error.strerror or error}; make room or change its "
            "permissions, or choose another --output"
        ) from None


@contextmanager
def _quiet_absl() -> Iterator[None]:
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)
