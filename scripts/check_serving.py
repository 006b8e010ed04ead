r"""Whether a SavedModel answers as ``tfskin-evaluate`` does, and what shrinking for shards changes.

The bytes of a whole split go through the SavedModel and are compared with the run's
``predictions/<split>.csv``. With ``--originals``, full-size images and the same images as they
stand in ``--shards`` go through it: the largest difference of a probability of each is its gap.

    python scripts/check_serving.py runs/ham10000_ensemble exports/ham10000_ensemble/1 \
        --originals isic/ --shards tfrecords/isic_archive
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("model", type=Path, help="a version's folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--originals", type=Path, help="folder of <image_id>.jpg")
    parser.add_argument("--shards", type=Path, help="shards of the same images")
    options = parser.parse_args()
    from tfskin.startup import import_tensorflow_quietly

    import_tensorflow_quietly()
    import tensorflow as tf

    from tfskin.experiment.run_predictions import load_run_shards
    from tfskin.runs import open_run

    run = open_run(options.run)
    loaded = tf.saved_model.load(str(options.model))
    serve = loaded.signatures["serving_default"]
    table = run.predictions(options.split).set_index("image_id")
    stored = read_images(load_run_shards(run), [options.split])
    pairs = [(name, data) for name, data in stored if name in table.index]
    served = answer(serve, [data for _, data in pairs])
    expected = table.loc[[name for name, _ in pairs], run.class_names()].to_numpy(float)
    difference = np.abs(served - expected).max()
    print(f"{len(pairs)} of {len(table)} images of {options.split}: ", end="")
    print(f"served and evaluated probabilities differ by at most {difference:.1e}")
    if options.originals and options.shards:
        measure_gap(serve, options.originals, options.shards)


def measure_gap(serve: Any, originals: Path, folder: Path) -> None:
    from tfskin.datasets.shards import load_shards

    shards = load_shards(folder)
    pairs = [
        (path.read_bytes(), data)
        for name, data in read_images(shards, list(shards.files))
        if (path := originals / f"{name}.jpg").is_file()
    ]
    if not pairs:
        raise SystemExit(f"{originals}: holds no <image_id>.jpg of {folder}")
    whole, stored = (answer(serve, list(files)) for files in zip(*pairs, strict=True))
    gaps = np.abs(whole - stored).max(axis=1)
    changed = int((whole.argmax(axis=1) != stored.argmax(axis=1)).sum())
    print(f"{len(gaps)} originals against shards of at most {shards.max_side} px: gap ", end="")
    print(f"median {np.median(gaps):.4f}, 99th percentile {np.percentile(gaps, 99):.4f}, ", end="")
    print(f"largest {gaps.max():.4f}; {changed} change their most probable class")


def read_images(shards: Any, splits: list[str]) -> Iterator[tuple[str, bytes]]:
    """``(image_id, bytes)`` of every record."""
    import tensorflow as tf

    for split in splits:
        for record in tf.data.TFRecordDataset(shards.files[split]).as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            name = feature["image_id"].bytes_list.value[0].decode()
            yield name, feature["image"].bytes_list.value[0]


def answer(serve: Any, files: list[bytes]) -> np.ndarray:
    """Probabilities of files, all of which must be readable."""
    import tensorflow as tf

    parts = []
    for start in range(0, len(files), BATCH):
        outputs = serve(image_bytes=tf.constant(files[start : start + BATCH]))
        if not outputs["valid"].numpy().all():
            raise SystemExit(f"unreadable: {outputs['reason'].numpy().tolist()}")
        parts.append(outputs["probabilities"].numpy())
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
