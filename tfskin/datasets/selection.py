"""What is chosen when shards are read: which fold is val, and pictures with which artefacts go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tfskin.datasets.artefacts import DETECTORS
from tfskin.datasets.folds import fold_name, fold_number
from tfskin.errors import UserError, nearest_hint

if TYPE_CHECKING:
    from tfskin.datasets.shards import Shards


def select_shards(
    shards: Shards, about: dict[str, Any], *, exclude: Sequence[str], fold: int | None
) -> Shards:
    """The shards without the pictures that have an artefact, with one fold as val.

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
