"""The TFRecord files of one split, and the description by which TFDS reads them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfskin.datasets.artefacts import DETECTORS
from tfskin.datasets.images import encode_image, map_images
from tfskin.datasets.options import ShardOptions
from tfskin.datasets.records import RECORD_COLUMNS
from tfskin.datasets.verifying import digest_record

_OTHER = ("path", "age", "diagnosis")
TEXT_FEATURES = (*(name for name in RECORD_COLUMNS if name not in _OTHER), "diagnosis")
FLAG_FEATURES = tuple(DETECTORS)
"""Artefacts: 1 found, 0 not found, -1 not looked for."""
_FRAME_BYTES = 16  # TFRecord: length 8, its checksum 4, the record's checksum 4
_SHARDS_TO_READ_IN_PARALLEL = 4
_MIN_RECORDS_PER_SHARD = 125
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Written:
    """Files of records.

    Attributes:
        files: their names, in order.
        lengths: number of records in each.
        num_bytes: of all records, without the frames of the TFRecord format.
        digests: of each record, for the fingerprint.
    """

    files: list[str]
    lengths: list[int]
    num_bytes: int
    digests: list[str]


class RecordWriter:
    """Writes records into files ``<prefix>-<number>``, a new one when the last is full."""

    def __init__(self, folder: Path, prefix: str, *, max_records: int, max_bytes: int) -> None:
        self._files: list[str] = []
        self._lengths: list[int] = []
        self._num_bytes = 0
        self._digests: list[str] = []
        self._folder, self._prefix = folder, prefix
        self._max_records, self._max_bytes = max_records, max_bytes
        self._shard_bytes = 0
        self._writer: Any = None

    def write(self, record: bytes, digest: str) -> None:
        """Append a record; ``digest`` is kept for the fingerprint."""
        size = len(record) + _FRAME_BYTES
        full = self._writer is not None and (
            self._lengths[-1] == self._max_records or self._shard_bytes + size > self._max_bytes
        )
        if full or self._writer is None:
            self._open_next()
        self._writer.write(record)
        self._shard_bytes += size
        self._lengths[-1] += 1
        self._num_bytes += len(record)
        self._digests.append(digest)

    def _open_next(self) -> None:
        import tensorflow as tf

        self.close()
        name = f"{self._prefix}-{len(self._files)}"
        self._writer = tf.io.TFRecordWriter(str(self._folder / name))
        self._shard_bytes = 0
        self._files.append(name)
        self._lengths.append(0)

    def finish(self) -> Written:
        """Close the last file; what was written."""
        self.close()
        return Written(self._files, self._lengths, self._num_bytes, self._digests)

    def close(self) -> None:
        """Close the file that is open, if any."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def write_split(folder: Path, name: str, part: pd.DataFrame, options: ShardOptions) -> Written:
    """What was written: the records of one split, in the order of ``part``, streamed.

    Args:
        folder: where the files go.
        name: of the data set; the files begin with it.
        part: the features but image, width and height, and the columns path and split.
        options: size cap, JPEG quality, size of the files.

    Raises:
        UserError: an image cannot be decoded.
        OSError: a file cannot be written.
    """
    prefix = f"{name}-{part['split'].iloc[0]}"
    most = math.ceil(len(part) / count_files(len(part)))
    return name_files(folder, prefix, [write_records(folder, prefix, part, options, most)])


def count_files(records: int) -> int:
    """Into how many files a split goes, unless they grow too large."""
    return min(_SHARDS_TO_READ_IN_PARALLEL, max(1, records // _MIN_RECORDS_PER_SHARD))


def write_records(
    folder: Path, prefix: str, part: pd.DataFrame, options: ShardOptions, max_records: int
) -> Written:
    """Records of one split in files ``<prefix>-<number>``, which await their final names.

    Args:
        folder: where the files go.
        prefix: what their names begin with.
        part: as :func:`write_split` takes it.
        options: as :func:`write_split` takes them.
        max_records: in one file.

    Raises:
        UserError: an image cannot be decoded.
        OSError: a file cannot be written.
    """
    import tensorflow as tf

    split = str(part["split"].iloc[0])
    writer = RecordWriter(
        folder, prefix, max_records=max_records, max_bytes=options.max_shard_bytes
    )
    encode = partial(encode_image, max_side=options.max_side, jpeg_quality=options.jpeg_quality)
    paths = part["path"].tolist()
    values = _stream_values(part.drop(columns=["path", "split"]))
    images = map_images(encode, paths, title=f"writing {split}", workers=options.workers)
    try:
        for value, image in zip(values, images, strict=True):
            value |= {"width": image.width, "height": image.height}
            record = serialize_record({**value, "image": image.data})
            writer.write(record, digest_record(split, value, image.data))
        return writer.finish()
    except tf.errors.OpError as error:  # what TensorFlow's file system raises: a full disk
        raise OSError(error.message) from None
    finally:
        with suppress(tf.errors.OpError):  # a full disk would fail again and hide the reason
            writer.close()


def name_files(folder: Path, prefix: str, parts: Sequence[Written]) -> Written:
    """The parts of one split as one, its files named: how many there are stands in each name.

    Args:
        folder: where they go.
        prefix: of the names: data set and split.
        parts: in order; their files are below ``folder``.
    """
    before = [file for part in parts for file in part.files]
    files = [f"{prefix}.tfrecord-{index:05d}-of-{len(before):05d}" for index in range(len(before))]
    for old, new in zip(before, files, strict=True):
        (folder / old).rename(folder / new)
    return Written(
        files=files,
        lengths=[length for part in parts for length in part.lengths],
        num_bytes=sum(part.num_bytes for part in parts),
        digests=[digest for part in parts for digest in part.digests],
    )


def serialize_record(value: Mapping[str, Any]) -> bytes:
    """A ``tf.train.Example`` with the content that TFDS's ``serialize_example`` gives it.

    In a sixth of the time: with small images TFDS would take more than reading, checking and
    hashing them together. Equal values give equal bytes, in whatever process.

    Args:
        value: feature name -> bytes, str, int, or float.
    """
    import tensorflow as tf

    example = tf.train.Example()
    feature = example.features.feature
    for name, item in value.items():
        if isinstance(item, str):
            feature[name].bytes_list.value.append(item.encode())
        elif isinstance(item, bytes):
            feature[name].bytes_list.value.append(item)
        elif isinstance(item, float):
            feature[name].float_list.value.append(item)
        else:
            feature[name].int64_list.value.append(item)
    return example.SerializeToString(deterministic=True)


def _stream_values(part: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """A row at a time as a dict of Python's own types; all rows at once would fill the memory."""
    for start in range(0, len(part), _ROWS_AT_ONCE):
        for row in part.iloc[start : start + _ROWS_AT_ONCE].to_dict("records"):
            yield {str(name): value for name, value in row.items()}


def make_features(diagnoses: list[str]) -> Any:
    """The ``tfds.features.FeaturesDict`` of a record."""
    import tensorflow_datasets as tfds

    text = {name: tfds.features.Text() for name in TEXT_FEATURES}
    whole = ("group", "width", "height", *FLAG_FEATURES)
    numbers = {name: tfds.features.Scalar(np.int64) for name in whole}
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=diagnoses),
            "age": tfds.features.Scalar(np.float32),
            **text,
            **numbers,
        }
    )


def write_tfds_metadata(
    folder: Path, rows: pd.DataFrame, version: str, features: Any, parts: dict[str, Written]
) -> None:
    """Write features.json, dataset_info.json, label.labels.txt and LICENSE."""
    import tensorflow_datasets as tfds

    licenses = [
        f"{name or 'unknown'}: {n} images" for name, n in count_values(rows["license"]).items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        version=version,
        split_infos=[
            tfds.core.SplitInfo(name=split, shard_lengths=part.lengths, num_bytes=part.num_bytes)
            for split, part in parts.items()
        ],
        description=f"{len(rows)} images of skin lesions in {rows['group'].nunique()} groups of "
        "images that ids, near duplicates or photographs link; no group is in two splits.",
        license="\n".join(licenses),
        check_data=False,
    )


def count_values(values: pd.Series) -> dict[str, int]:
    """How often each value occurs, sorted by value."""
    return {str(value): int(number) for value, number in values.value_counts().sort_index().items()}


def count_flags(rows: pd.DataFrame) -> dict[str, dict[str, int]] | None:
    """Diagnosis -> the artefacts of an image joined by "+" -> number of images; None if unknown."""
    if (rows[list(FLAG_FEATURES)] < 0).to_numpy().any():
        return None
    found = [
        "+".join(name for name, hit in zip(FLAG_FEATURES, row, strict=True) if hit)
        for row in rows[list(FLAG_FEATURES)].itertuples(index=False)
    ]
    marked = pd.DataFrame({"diagnosis": rows["diagnosis"].to_numpy(), "flags": found})
    return {
        str(diagnosis): count_values(part["flags"])
        for diagnosis, part in marked.groupby("diagnosis", sort=True)
    }
