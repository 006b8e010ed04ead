"""Tiny images and records for the tests of this room."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tfskin.datasets.groups import group_records
from tfskin.datasets.options import ShardOptions
from tfskin.datasets.records import RECORD_COLUMNS
from tfskin.datasets.shard_writing import write_shards
from tfskin.datasets.shards import Shards
from tfskin.datasets.splits import make_splits


def make_image(seed: int, *, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A smooth random RGB image: blobs, so that JPEG and resizing change it little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def make_records(folder: Path, count: int, *, suffix: str = ".png") -> pd.DataFrame:
    """Records of ``count`` images of 3 diagnoses, two images a lesion."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = [f"image_{index:03d}" for index in range(count)]
    for index, image_id in enumerate(ids):
        make_image(index).save(folder / f"{image_id}{suffix}")
    unknown = dict.fromkeys(RECORD_COLUMNS, "")
    return pd.DataFrame(
        {
            **unknown,
            "image_id": ids,
            "path": [str(folder / f"{image_id}{suffix}") for image_id in ids],
            "diagnosis": [("bcc", "mel", "nv")[index // 2 % 3] for index in range(count)],
            "lesion_id": [f"lesion_{index // 2}" for index in range(count)],
            "age": [float(index) for index in range(count)],
            "license": "CC-0",
            "source": "tiny",
        }
    )


def no_duplicates() -> pd.DataFrame:
    return pd.DataFrame({"first": [], "second": [], "distance": []}, dtype=np.int64)


def split_evenly(records: pd.DataFrame) -> tuple[pd.Series, np.ndarray]:
    """Splits and groups of records."""
    groups = group_records(records, no_duplicates())
    return make_splits(records, groups), groups


def write_tiny(records: pd.DataFrame, folder: Path, **options) -> Shards:
    """The shards of records, named "tiny"; ``options`` are those of ``ShardOptions``."""
    splits, groups = split_evenly(records)
    return write_shards(
        records, splits, groups, name="tiny", output_dir=folder, options=ShardOptions(**options)
    )


def read_examples(file: str) -> list[dict]:
    """Every record of a file: feature name -> value."""
    import tensorflow as tf

    examples = []
    for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        kinds = {name: value.WhichOneof("kind") for name, value in feature.items()}
        examples.append(
            {name: getattr(feature[name], kind).value[0] for name, kind in kinds.items()}
        )
    return examples
