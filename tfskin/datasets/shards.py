"""Finished shards: their folder, its proof, and what is chosen when they are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfskin.datasets.artefacts import DETECTORS
from tfskin.datasets.folds import fold_name, fold_number
from tfskin.datasets.proof import count_faults, digest_file
from tfskin.datasets.splits import check_disjoint
from tfskin.datasets.splits_file import read_splits_table
from tfskin.datasets.verifying import check_fingerprint, check_records_there
from tfskin.errors import UserError, nearest_hint
from tfskin.files import read_json

SHARDS_FILE = "shards.json"
SPLITS_FILE = "splits.csv"
FORMAT = 1
VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}")  # TFDS: three numbers


@dataclass(frozen=True)
class Shards:
    """A finished folder of shards.

    Attributes:
        folder: ``<output_dir>/<name>/<version>``, absolute.
        name: of the data set.
        version: three numbers with dots.
        fingerprint: of the content: SHA-256 in hexadecimal.
        counts: split -> diagnosis -> number of images.
        files: split -> absolute paths of its shard files, in order.
        max_side: the size cap of the stored images in pixels.
        exclude: artefacts whose images are passed over; ``counts`` are without them.
        fold: which of the folds is val, where the shards hold folds.
    """

    folder: Path
    name: str
    version: str
    fingerprint: str
    counts: dict[str, dict[str, int]]
    files: dict[str, list[str]]
    max_side: int
    exclude: tuple[str, ...] = ()
    fold: int | None = None


def load_shards(
    folder: Path | str,
    *,
    exclude: Sequence[str] = (),
    fold: int | None = None,
    verify: bool = False,
) -> Shards:
    """The finished shards in a folder: ``<name>/<version>``, or ``<name>`` with one version in it.

    Args:
        folder: where they are.
        exclude: artefacts (``datasets.artefacts.DETECTORS``) whose images are passed over, in
            every split.
        fold: the fold to take as val, the other folds being train, for shards that hold folds.
        verify: whether every stored byte is compared with the fingerprint too, as a training does
            when it begins. Ids, groups and labels always are.

    Raises:
        UserError: no such folder, no shards or unfinished ones in it, more than one version, a
            shard file that is missing or of the wrong size or holds other records than were
            written, a proof that its splits share nothing which fails, an artefact that was not
            looked for, or a fold that is not there.

    Example:
        >>> shards = tfskin.load_shards("tfrecords/phantom")
        >>> sorted(shards.counts["train"])
        ['melanoma', 'nevus']
    """
    folder = _find_version(Path(folder).absolute())
    about = folder / SHARDS_FILE
    try:
        values = read_json(about)
        if values["format"] != FORMAT:
            raise UserError(
                f"{about}: written by another version of tfskin (format {values['format']}); "
                "run tfskin-prepare again"
            )
        shards = _select(read_shards(folder, values), values, exclude=exclude, fold=fold)
        sizes = {file: size for part in values["files"].values() for file, size in part.items()}
        fault = "" if values["disjoint"] is True else "its splits share lesions or patients"
        proof = values.get("proof")  # shards of earlier versions have none
        fault = fault or (count_faults(proof) if proof else "")
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        raise UserError(f"{about}: is damaged; run tfskin-prepare again") from None
    if fault:
        raise UserError(f"{about}: {fault}; run tfskin-prepare again")
    table = read_splits_table(folder / SPLITS_FILE, ["image_id", "split", "group"])
    check_disjoint(table["group"].to_numpy(), table["split"], table["image_id"].tolist())
    if proof and proof["splits_sha256"] != digest_file(folder / SPLITS_FILE):
        raise UserError(
            f"{folder / SPLITS_FILE}: was changed after the shards were written; "
            "run tfskin-prepare again"
        )
    for file, size in sizes.items():
        _check_file(folder / file, size)
    check_records_there(folder, values, table)
    if verify:
        check_fingerprint(folder, values)
    return shards


def read_shards(folder: Path, values: dict[str, Any]) -> Shards:
    """The shards in a folder whose ``shards.json`` holds ``values``; nothing is checked."""
    return Shards(
        folder=folder,
        name=values["name"],
        version=values["version"],
        fingerprint=values["fingerprint"],
        counts={split: dict(counts) for split, counts in values["counts"].items()},
        files={
            split: [str(folder / file) for file in sorted(sizes)]
            for split, sizes in values["files"].items()
        },
        max_side=values["max_side"],
    )


def _find_version(folder: Path) -> Path:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; write shards with tfskin-prepare")
    if (folder / SHARDS_FILE).is_file() and not folder.name.startswith("."):
        return folder
    versions = [child for child in sorted(folder.iterdir()) if VERSION.fullmatch(child.name)]
    finished = [child for child in versions if (child / SHARDS_FILE).is_file()]
    if len(finished) == 1:
        return finished[0]
    if finished:
        names = ", ".join(child.name for child in finished)
        raise UserError(f"{folder}: has versions {names}; name one, such as {finished[-1]}")
    if versions or any(folder.glob(".writing-*")) or folder.name.startswith(".writing-"):
        raise UserError(f"{folder}: its shards are unfinished; run tfskin-prepare again")
    raise UserError(f"{folder}: holds no shards; write them with tfskin-prepare")


def _check_file(path: Path, size: int) -> None:
    if not path.is_file():
        raise UserError(f"{path}: the shard file is missing; run tfskin-prepare again")
    if path.stat().st_size != size:
        raise UserError(
            f"{path}: the shard file has {path.stat().st_size} bytes instead of {size}; "
            "copy it again, or run tfskin-prepare again"
        )


def _select(
    shards: Shards, about: dict[str, Any], *, exclude: Sequence[str], fold: int | None
) -> Shards:
    """The shards without the images that have an artefact, with one fold as val.

    Args:
        shards: all of them.
        about: the content of ``shards.json``.
        exclude: names of artefacts.
        fold: which fold is val; None for shards without folds.

    Raises:
        UserError: an artefact that was not looked for, shards without folds, or no such fold.
    """
    if exclude:
        shards = _leave_out(shards, about.get("flags", {}), tuple(exclude))
    return _choose_fold(shards, fold)


def _leave_out(shards: Shards, flags: dict[str, Any], exclude: tuple[str, ...]) -> Shards:
    for name in exclude:
        if name not in DETECTORS:
            hint = nearest_hint(name, list(DETECTORS)) or f"; known: {', '.join(DETECTORS)}"
            raise UserError(f"data.exclude: '{name}' is no artefact{hint}")
    if any(flags.get(split) is None for split in shards.counts):
        raise UserError(
            f"{shards.folder}: nobody has looked for artefacts in these shards, so data.exclude "
            "can't leave any out; run tfskin-prepare again, with --find-artefacts"
        )
    counts = {
        split: {
            diagnosis: sum(
                number
                for found, number in flags[split].get(diagnosis, {}).items()
                if not set(found.split("+")) & set(exclude)
            )
            for diagnosis in of_split
        }
        for split, of_split in shards.counts.items()
    }
    return replace(shards, counts=counts, exclude=exclude)


def _choose_fold(shards: Shards, fold: int | None) -> Shards:
    numbers = sorted(n for n in map(fold_number, shards.counts) if n is not None)
    if not numbers:
        if fold is not None:
            raise UserError(
                f"{shards.folder}: these shards have no folds; leave data.fold out, or run "
                "tfskin-prepare with --folds"
            )
        return shards
    if fold is None:
        return shards
    if fold not in numbers:
        raise UserError(
            f"{shards.folder}: there is no fold {fold}; data.fold is one of 0 to {numbers[-1]}"
        )
    counts = {name: part for name, part in shards.counts.items() if fold_number(name) is None}
    files = {name: part for name, part in shards.files.items() if fold_number(name) is None}
    train = [fold_name(number) for number in numbers if number != fold]
    total: dict[str, int] = {}
    for name in train:
        for diagnosis, number in shards.counts[name].items():
            total[diagnosis] = total.get(diagnosis, 0) + number
    counts |= {"train": total, "val": shards.counts[fold_name(fold)]}
    files |= {
        "train": [file for name in train for file in shards.files[name]],
        "val": shards.files[fold_name(fold)],
    }
    return replace(shards, counts=counts, files=files, fold=fold)
