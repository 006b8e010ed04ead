"""Small shards written record by record, without TFDS."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from tfskin.datasets.shards import Shards

TEXTS = (
    *("lesion_id", "patient_id", "sex", "site", "image_type", "source"),
    *("fitzpatrick", "skin_tone", "clinic"),
)


def make_shards(
    folder: Path, counts: dict[str, dict[str, int]], files: dict[str, list[str]]
) -> Shards:
    return Shards(
        folder=folder,
        name="fake",
        version="1.0.0",
        fingerprint="",
        counts=counts,
        files=files,
        max_side=512,
    )


def encode(pixels: np.ndarray, kind: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def smooth_image(seed: int, height: int = 40, width: int = 48) -> np.ndarray:
    """A random image without fine detail, as a photograph has little: uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    large = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(large)


def record(
    image_id: str,
    image: bytes,
    diagnosis: str,
    label: int,
    *,
    age: float = -1,
    size: tuple[int, int] = (7, 7),
) -> bytes:
    """A serialized record; ``size`` is the width and height that it claims."""

    def text(value: str | bytes) -> tf.train.Feature:
        data = value.encode() if isinstance(value, str) else value
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))

    def whole(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {name: text(f"{name} of {image_id}") for name in TEXTS}
    features |= {"image_id": text(image_id), "image": text(image), "diagnosis": text(diagnosis)}
    features |= {"group": whole(7), "width": whole(size[0]), "height": whole(size[1])}
    features["label"] = whole(label)
    age = tf.train.FloatList(value=[age])
    features["age"] = tf.train.Feature(float_list=age)
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write_fake_shards(
    folder: Path, split_diagnoses: dict[str, list[str]], *, files: int = 3
) -> Shards:
    """Shards with one smooth image for each diagnosis that is listed, named ``<split>-<n>``."""
    known = sorted({name for names in split_diagnoses.values() for name in names} - {""})
    paths: dict[str, list[str]] = {}
    for split, names in split_diagnoses.items():
        paths[split] = []
        for part in range(files):
            path = folder / f"fake-{split}.tfrecord-{part:05d}-of-{files:05d}"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for number in range(part, len(names), files):
                    image = encode(smooth_image(number), quality=95)
                    name = names[number]
                    label = known.index(name) if name else -1
                    writer.write(record(f"{split}-{number}", image, name, label, age=number))
            paths[split].append(str(path))
    counts = {split: dict(Counter(names)) for split, names in split_diagnoses.items()}
    return make_shards(folder, counts, paths)
