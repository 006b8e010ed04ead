"""What a plain Keras script reaches on the very splits that tfskin's runs are judged on.

Five blocks of convolution, batch normalisation and pooling, random flips, Adam, the rate cut on a
plateau, the weights of the lowest validation loss: nothing of tfskin but its ``splits.csv`` and,
for the figures, its intervals.

    python scripts/compare_plain_keras.py tfrecords/ham10000/1.0.0/splits.csv HAM10000/
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from PIL import Image

from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import SUMMARY_METRICS

WIDTHS = (32, 64, 128, 256, 256)


def read_split(table: pd.DataFrame, split: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N, size, size, 3) images and int64 (N,) labels."""
    rows = table[table["split"] == split]
    images = [Image.open(path).convert("RGB").resize((size, size)) for path in rows["path"]]
    return np.stack([np.asarray(image) for image in images]), rows["label"].to_numpy()


def build_plain(size: int, classes: int) -> keras.Model:
    """The network of a tutorial."""
    layers: list[keras.Layer] = [
        keras.Input((size, size, 3)),
        keras.layers.Rescaling(1 / 255),
        keras.layers.RandomFlip(),
    ]
    for width in WIDTHS:
        layers += [
            keras.layers.Conv2D(width, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
        ]
    layers += [
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(classes, activation="softmax"),
    ]
    return keras.Sequential(layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("splits", type=Path, help="splits.csv beside the shards")
    parser.add_argument("folder", type=Path, help="HAM10000: metadata and images")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    metadata = pd.read_csv(
        next(options.folder.rglob("HAM10000_metadata*")), sep=None, engine="python"
    )
    paths = {path.stem: path for path in options.folder.rglob("*.jpg")}
    table = pd.read_csv(options.splits).merge(metadata, on="image_id", validate="one_to_one")
    names, table["label"] = np.unique(table["dx"], return_inverse=True)
    table["path"] = table["image_id"].map(paths)
    x_train, y_train = read_split(table, "train", options.size)
    x_val, y_val = read_split(table, "val", options.size)
    x_test, y_test = read_split(table, "test", options.size)
    model = build_plain(options.size, len(names))
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    start = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        best = Path(place) / "best.weights.h5"
        callbacks = [
            keras.callbacks.ReduceLROnPlateau(patience=3, factor=0.3),
            keras.callbacks.ModelCheckpoint(best, save_best_only=True, save_weights_only=True),
        ]
        model.fit(
            x_train,
            y_train,
            batch_size=32,
            epochs=options.epochs,
            validation_data=(x_val, y_val),
            callbacks=callbacks,
            verbose=2,
        )
        model.load_weights(best)
    minutes = (time.process_time() - start) / 60
    probabilities = model.predict(x_test, verbose=0).astype(float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    groups = table.loc[table["split"] == "test", "group"]
    figures = bootstrap_intervals(y_test, probabilities, groups, list(names))
    print(f"{model.count_params():,} parameters, {minutes:.0f} processor minutes; test:")
    for name in SUMMARY_METRICS:
        entry = figures[name]
        print(f"{name:24}{entry['value']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})")


if __name__ == "__main__":
    main()
