"""Diagnoses of the shards -> classes of the network; by counts alone, without reading a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfskin.datasets.diagnoses import match_diagnoses
from tfskin.errors import UserError, nearest_hint

if TYPE_CHECKING:
    from tfskin.datasets.shards import Shards

Classes = dict[str, list[str]]


def diagnoses(shards: Shards) -> list[str]:
    """The diagnoses of the shards, sorted: a record's ``label`` is an index into this list.

    Images without a diagnosis (label -1) are in no class and are never read.
    """
    return sorted({name for counts in shards.counts.values() for name in counts if name})


def class_names(shards: Shards, classes: Classes | None) -> list[str]:
    """The names of the network's classes: the keys of ``classes``, or the diagnoses, sorted.

    Raises:
        UserError: a diagnosis that the shards do not have or that is in two classes; fewer than
            two classes; a class without a training image.
    """
    names = list(classes) if classes is not None else diagnoses(shards)
    images = _count_training_images(shards, classes, len(names))
    if len(names) < 2:
        raise UserError(f"data.classes: a classifier needs two classes or more, got {names}")
    empty = [name for name, count in zip(names, images, strict=True) if not count]
    if len(names) - len(empty) < 2 or (classes is not None and empty):
        raise UserError(
            f"{shards.folder}: no training image of class '{empty[0]}'; leave it out of "
            "data.classes or prepare shards that have some"
        )
    return names


def describe_thin_classes(shards: Shards, classes: Classes | None) -> str:
    """A line about the classes that have no training image, or one; "" where all have more."""
    names = class_names(shards, classes)
    counts = _count_training_images(shards, classes, len(names))
    few = {name: count for name, count in zip(names, counts, strict=True) if count < 2}
    if not few:
        return ""
    shown = ", ".join(f"'{name}' ({count})" for name, count in list(few.items())[:5])
    more = f" and {len(few) - 5} more" if len(few) > 5 else ""
    return (
        f"{shards.folder}: {len(few)} of {len(names)} classes have no training image, or one: "
        f"{shown}{more}; the network can't learn them; leave them out with data.classes"
    )


def _count_training_images(shards: Shards, classes: Classes | None, number: int) -> np.ndarray:
    """The training images of each class: int (number,)."""
    images = np.zeros(number, int)
    train = shards.counts.get("train", {})
    for diagnosis, label in zip(diagnoses(shards), label_table(shards, classes), strict=True):
        if label >= 0:
            images[label] += train.get(diagnosis, 0)
    return images


def label_table(shards: Shards, classes: Classes | None) -> np.ndarray:
    """The class of each diagnosis, -1 where it is in none: int32 (diagnoses,).

    A class may name a diagnosis of the shards, a short name of ``datasets.diagnoses`` for all
    spellings of it, or a name of the archive's tree for everything under it.
    """
    known = diagnoses(shards)
    if classes is None:
        return np.arange(len(known), dtype=np.int32)
    table = np.full(len(known), -1, np.int32)
    for label, (name, members) in enumerate(classes.items()):
        for member in members:
            found = match_diagnoses(member, known)
            if not found:
                hint = nearest_hint(member, known)
                raise UserError(
                    f"data.classes.{name}: '{member}' is no diagnosis of {shards.folder}{hint}; "
                    f"they are {', '.join(known)}"
                )
            for diagnosis in found:
                place = known.index(diagnosis)
                if table[place] not in (-1, label):
                    other = list(classes)[table[place]]
                    raise UserError(
                        f"data.classes: '{diagnosis}' is in '{other}' and in '{name}'; "
                        "a diagnosis belongs to one class"
                    )
                table[place] = label
    return table


def count_images(shards: Shards, split: str, classes: Classes | None) -> int:
    """The number of images of a split that are in a class."""
    table = label_table(shards, classes)
    counts = shards.counts.get(split, {})
    return sum(
        counts.get(diagnosis, 0)
        for diagnosis, label in zip(diagnoses(shards), table, strict=True)
        if label >= 0
    )
