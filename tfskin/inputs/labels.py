"""What the records say beside their image, and which of them are damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf

from tfskin.datasets.artefacts import DETECTORS
from tfskin.errors import UserError
from tfskin.inputs.classes import Classes, diagnoses, label_table
from tfskin.inputs.decode import decode_image
from tfskin.inputs.reading import flag_features, read_records

if TYPE_CHECKING:
    from tfskin.datasets.shards import Shards

_TEXTS = (
    *("image_id", "lesion_id", "patient_id", "diagnosis"),
    *("sex", "site", "image_type", "source", "license"),
    *("fitzpatrick", "skin_tone", "clinic", "skin_type"),
)
_COLUMNS = (
    *("image_id", "lesion_id", "patient_id", "group", "diagnosis", "label", "age", "sex"),
    *("site", "image_type", "fitzpatrick", "skin_tone", "clinic", "source", "license"),
    *("width", "height"),
)
ARTEFACTS = tuple(DETECTORS)
# Features that not all versions wrote.
_LATER = ("license", "fitzpatrick", "skin_tone", "clinic", "skin_type")
_SOURCE_OF_TONES = "milk10k"
_CREDITS = ("image_id", "license", "attribution")
# Whence a few images are taken for checks: the test split is looked at last.
_LEAST_PRECIOUS = ("train", "val", "calibration", "test")


def read_labels(shards: Shards, split: str, classes: Classes | None) -> pd.DataFrame:
    """One row an image, in the order of ``make_dataset(..., epoch=None)``; no image is decoded.

    Columns: ``image_id, lesion_id, patient_id, group, diagnosis, label`` (int: the class),
    ``age, sex, site, image_type, fitzpatrick, skin_tone, clinic, source, license, width, height``,
    and a flag for each artefact (1 there, 0 not, -1 nobody has looked); empty text or -1 where
    unknown. A split that is not there gives no rows.

    Raises:
        UserError: a diagnosis in ``classes`` that the shards do not have; a damaged shard file.
    """
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in _TEXTS}
    for name in _LATER:
        features[name] = tf.io.FixedLenFeature([], tf.string, default_value="")
    for name in ("group", "label", "width", "height"):
        features[name] = tf.io.FixedLenFeature([], tf.int64)
    features["age"] = tf.io.FixedLenFeature([], tf.float32)
    features |= flag_features(ARTEFACTS)
    batches = read_records(shards, split).batch(512)
    rows = batches.map(lambda index, record: tf.io.parse_example(record, features))
    parts = []
    with damage_named(shards, split):
        for batch in rows.as_numpy_iterator():
            for name in _TEXTS:
                batch[name] = [text.decode() for text in batch[name]]
            part = _part_skin(pd.DataFrame(batch))
            excluded = (part[list(shards.exclude)] == 1).any(axis=1)
            parts.append(part.loc[~excluded, [*_COLUMNS, *ARTEFACTS]])
    if not parts:
        return pd.DataFrame(
            {name: pd.Series(dtype=_dtype(name)) for name in (*_COLUMNS, *ARTEFACTS)}
        )
    table = pd.concat(parts, ignore_index=True)
    if not table["label"].between(-1, len(diagnoses(shards)) - 1).all():
        with damage_named(shards, split):
            raise IndexError("a label that is none of the diagnoses")
    # Label -1, an image without a diagnosis, finds the -1 in front.
    labels = np.array([-1, *label_table(shards, classes)])
    table["label"] = labels[table["label"] + 1].astype("int64")
    return table[table["label"] >= 0].reset_index(drop=True)


def _part_skin(part: pd.DataFrame) -> pd.DataFrame:
    """Rows of former shards, which held both scales of skin in one feature, with a column each."""
    is_tone = part["source"] == _SOURCE_OF_TONES
    for name, chosen in (("skin_tone", is_tone), ("fitzpatrick", ~is_tone)):
        part[name] = part[name].where((part[name] != "") | ~chosen, part["skin_type"])
    return part


def records_order(shards: Shards, splits: Sequence[str], classes: Classes | None) -> str:
    """A digest of the images of some splits in file order.

    The fingerprint of shards does not depend on it: it names the content, not its layout.
    """
    digest = hashlib.sha256()
    for split in splits:
        ids = read_labels(shards, split, classes)["image_id"]
        digest.update(f"{split} {len(ids)}\n".encode())
        digest.update("\n".join(ids).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Sample:
    """One stored image, and whose it is.

    Attributes:
        data: encoded.
        image_id: of the image.
        license: under which it was published; empty where unknown.
        attribution: who is to be named; empty where unknown.
    """

    data: bytes
    image_id: str = ""
    license: str = ""
    attribution: str = ""


def read_samples(shards: Shards, *, limit: int) -> list[Sample]:
    """The first images of the shards, at most ``limit``, training images first."""
    samples: list[Sample] = []
    for split in _LEAST_PRECIOUS:
        records = read_records(shards, split).take(limit - len(samples))
        with damage_named(shards, split):
            for _, record in records.as_numpy_iterator():
                feature = _parse(record).features.feature
                texts = (feature[name].bytes_list.value for name in _CREDITS)
                words = (values[0].decode() if values else "" for values in texts)
                samples.append(Sample(feature["image"].bytes_list.value[0], *words))
    return samples


@contextmanager
def damage_named(shards: Shards, split: str) -> Iterator[None]:
    """What fails inside because the shards are damaged is said as :func:`find_damage` says it."""
    try:
        yield
    except (tf.errors.OpError, UnicodeDecodeError, IndexError) as error:
        raise find_damage(shards, split) or error from None


def find_damage(shards: Shards, split: str) -> UserError | None:
    """What to tell the user about the first damaged record or image of a split, if any is.

    Reads and decodes everything: call it when iterating over a dataset raised
    ``tf.errors.OpError``.
    """
    advice = "prepare the shards again"
    for file in shards.files.get(split, []):
        number = 0
        try:
            for record in tf.data.TFRecordDataset(file):
                example = _parse(record.numpy())
                number += 1
                if problem := _damage_of(example, len(diagnoses(shards))):
                    return UserError(f"{file}: record {number}: {problem}; {advice}")
        except tf.errors.NotFoundError:
            return UserError(f"{file}: no such file; {advice}")
        except (tf.errors.OpError, ValueError):
            return UserError(f"{file}: record {number + 1} is damaged; {advice}")
    return None


def _damage_of(example: tf.train.Example, labels: int) -> str | None:
    feature = example.features.feature
    texts = [name for name in ("image", *_TEXTS) if name not in _LATER]
    for name in texts:
        if len(feature[name].bytes_list.value) != 1:
            return f"has no feature '{name}'"
    for name in ("group", "label", "width", "height"):
        if len(feature[name].int64_list.value) != 1:
            return f"has no feature '{name}'"
    if len(feature["age"].float_list.value) != 1:
        return "has no feature 'age'"
    try:
        for name in texts[1:]:
            feature[name].bytes_list.value[0].decode()
    except UnicodeDecodeError:
        return f"its feature '{name}' is no text"
    name = feature["image_id"].bytes_list.value[0].decode()
    label = feature["label"].int64_list.value[0]
    if not -1 <= label < labels:
        return f"image '{name}' has the label {label}, and there are {labels} diagnoses"
    try:
        decode_image(tf.constant(feature["image"].bytes_list.value[0]))
    except tf.errors.OpError:
        return f"the image of image '{name}' cannot be decoded"
    return None


def _parse(record: bytes) -> tf.train.Example:
    try:
        return tf.train.Example.FromString(record)
    except Exception as error:  # protobuf's DecodeError, whose module differs between versions
        raise ValueError("not a tf.train.Example") from error


def _dtype(name: str) -> str:
    if name in _TEXTS:
        return "str"
    return "float32" if name == "age" else "int64"
