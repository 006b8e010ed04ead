"""Shard files -> records in file order, which of them are kept, and how often each is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfskin.datasets.images import stored_sides
from tfskin.inputs.classes import Classes, label_table

if TYPE_CHECKING:
    from tfskin.datasets.shards import Shards

# Records parsed by one op: 64 small images are a megabyte.
_PARSED_AT_ONCE = 64
# Shard files read side by side; part of the order, so it is no option.
_FILES_AT_ONCE = 4


def flag_features(names: Sequence[str]) -> dict[str, tf.io.FixedLenFeature]:
    """How to parse the artefacts that are passed over; -1 where a record has no such flag."""
    return {name: tf.io.FixedLenFeature([], tf.int64, default_value=-1) for name in names}


def read_records(shards: Shards, split: str) -> tf.data.Dataset:
    """``(index, serialized record)`` of a split in file order, which is the same in every pass."""
    return _read_files(tuple(shards.files.get(split, [])))


def read_images(
    shards: Shards, split: str, classes: Classes | None, *, repeats: np.ndarray | None = None
) -> tf.data.Dataset:
    """``(place, copy, encoded image, label int32)`` in file order.

    Images of no class, and those with an artefact of ``shards.exclude``, are passed over.
    ``place`` is the same for the same image and copy in every pass, and for no other.

    Args:
        shards: what ``load_shards`` gave.
        split: of the shards.
        classes: class -> diagnoses in it.
        repeats: int64 (records of the split,): how often each is given, ``copy`` counting from 0;
            once unless given.
    """
    table, exclude = tuple(label_table(shards, classes)), tuple(shards.exclude)
    batches = read_records(shards, split).batch(_PARSED_AT_ONCE)
    if repeats is None:
        parse = _compile_parse(table, exclude)
        return batches.map(parse, num_parallel_calls=2, deterministic=True).unbatch()
    again, times = _compile_repeat(table, exclude), tf.constant(repeats, tf.int64)
    batches = batches.map(
        lambda index, record: again(index, record, times), num_parallel_calls=2, deterministic=True
    )
    return batches.unbatch()


def read_places(shards: Shards, split: str, classes: Classes | None) -> tuple[np.ndarray, ...]:
    """``(labels, sides)`` of every record of a split in file order, those left out too.

    ``labels`` is int64 (records,), -1 for one that :func:`read_images` passes over; ``sides``
    int64 (records, 2), width and height of the stored image. No image is decoded; the second
    call for the same files costs nothing.
    """
    table, files = tuple(label_table(shards, classes)), tuple(shards.files.get(split, []))
    stats = [Path(file).stat() for file in files]
    versions = tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)
    labels, sides = _read_places(files, versions, table, tuple(shards.exclude))
    return labels, stored_sides(sides, shards.max_side)


@lru_cache(maxsize=16)
def _read_places(
    files: tuple[str, ...],
    versions: tuple[tuple[int, int], ...],
    label_of_diagnosis: tuple[int, ...],
    exclude: tuple[str, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """``versions`` tell files of the same names apart that were written anew."""
    names = ("label", "width", "height")
    features = {name: tf.io.FixedLenFeature([], tf.int64) for name in names}
    features |= flag_features(exclude)
    table = np.array([-1, *label_of_diagnosis])
    labels, sides = [np.zeros(0, np.int64)], [np.zeros((0, 2), np.int64)]
    batches = _read_files(files).batch(512)
    for batch in batches.map(
        lambda _, record: tf.io.parse_example(record, features)
    ).as_numpy_iterator():
        label = table[batch["label"] + 1]
        for name in exclude:
            label = np.where(batch[name] == 1, -1, label)
        labels.append(label)
        sides.append(np.stack([batch["width"], batch["height"]], axis=1))
    return np.concatenate(labels), np.concatenate(sides)


def _read_files(files: tuple[str, ...]) -> tf.data.Dataset:
    if not files:
        empty = tf.data.Dataset.from_tensor_slices(tf.zeros([0], tf.string))
        return empty.enumerate()
    records = tf.data.TFRecordDataset(list(files), num_parallel_reads=_FILES_AT_ONCE)
    options = tf.data.Options()
    options.deterministic = True
    return records.with_options(options).enumerate()


Parsed = tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]


@lru_cache(maxsize=32)
def _compile_parse(
    label_of_diagnosis: tuple[int, ...], exclude: tuple[str, ...]
) -> Callable[[tf.Tensor, tf.Tensor], Parsed]:
    """``(indices, serialized records) -> (places, copies, encoded, labels)`` of those kept."""

    def parse(index: tf.Tensor, serialized: tf.Tensor) -> Parsed:
        image, label, kept = _parse_kept(serialized, label_of_diagnosis, exclude)
        index = tf.boolean_mask(index, kept)
        return (
            index,
            tf.zeros_like(index),
            tf.boolean_mask(image, kept),
            tf.boolean_mask(label, kept),
        )

    signature = [tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.string)]
    return tf.function(parse, input_signature=signature)


@lru_cache(maxsize=32)
def _compile_repeat(
    label_of_diagnosis: tuple[int, ...], exclude: tuple[str, ...]
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Parsed]:
    """The same, each record as often as ``repeats[index]`` says."""

    def parse(index: tf.Tensor, serialized: tf.Tensor, repeats: tf.Tensor) -> Parsed:
        image, label, kept = _parse_kept(serialized, label_of_diagnosis, exclude)
        times = tf.where(kept, tf.gather(repeats, index), 0)
        rows = tf.repeat(tf.range(tf.size(times)), times)
        first = tf.gather(tf.cumsum(times, exclusive=True), rows)
        copy = tf.range(tf.size(rows, tf.int64)) - first
        place = tf.gather(index, rows) + copy * tf.size(repeats, tf.int64)
        return place, copy, tf.gather(image, rows), tf.gather(label, rows)

    vector = tf.TensorSpec([None], tf.int64)
    return tf.function(parse, input_signature=[vector, tf.TensorSpec([None], tf.string), vector])


def _parse_kept(
    serialized: tf.Tensor, label_of_diagnosis: tuple[int, ...], exclude: tuple[str, ...]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """``(encoded, labels, kept)`` of serialized records."""
    # Label -1, an image without a diagnosis, finds the -1 in front.
    table = (-1, *label_of_diagnosis)
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
        **flag_features(exclude),
    }
    record = tf.io.parse_example(serialized, features)
    label = tf.gather(tf.constant(table, tf.int32), record["label"] + 1)
    kept = label >= 0
    for name in exclude:
        kept &= record[name] != 1
    return record["image"], label, kept
