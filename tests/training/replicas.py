"""One process of a distributed fit on drawn images, for ``test_distribution.py``.

``python -m tests.training.replicas FOLDER FIT...`` trains each FIT in ``FOLDER/FIT`` on the
strategy that the environment asks for: ``TF_CONFIG``, or two logical CPUs. The first word of a FIT
is its network; of ``bn-killed`` process 1 dies in the middle of the second epoch.
"""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import keras
import numpy as np

from tfskin.config import QUICKSTART, read_config
from tfskin.errors import UserError
from tfskin.experiment import training
from tfskin.layers.batch_norm import BatchNorm, BatchNormMode
from tfskin.training.checkpoints import FitState
from tfskin.training.distribution import Distribution
from tfskin.training.fit import FitData, FitOptions, FitTask, compile_model, fit
from tfskin.training.optimizers import build_optimizer
from tfskin.training.precision import dtype_policy
from tfskin.training.replicas import Replicas
from tfskin.training.schedules import make_schedule

IMAGES, ROWS, VAL = 42, 10, 13
"""An epoch has four steps of 10 images and one of 2."""

MODES: dict[str, tuple[BatchNormMode, ...]] = {
    "plain": (),
    "bn": ("update", "affine", "frozen"),
    "half": ("update",),
}


def draw(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size).astype("int32")
    images = rng.normal(size=(size, 8, 8, 3)) * 30 + 100 + 60 * labels[:, None, None, None]
    return images.astype("float32"), labels


def build(kind: str, distribution: Replicas) -> keras.Model:
    """A net without batch normalisation, with one in each mode, or with one in float16."""
    keras.utils.set_random_seed(3)
    with dtype_policy("mixed_float16" if kind == "half" else "float32"), distribution.scope():
        image = keras.Input((8, 8, 3), name="image")
        x = keras.layers.Rescaling(1 / 255)(image)
        # A bias in front of BatchNorm has a gradient of pure rounding, which Adam makes a step of.
        l2 = keras.regularizers.L2(0.01)
        x = keras.layers.Conv2D(4, 3, use_bias=kind == "plain", kernel_regularizer=l2)(x)
        for mode in MODES[kind]:
            x = BatchNorm(mode=mode)(x)
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("relu")(x))
        logits = keras.layers.Dense(2, name="logits", dtype="float32")(x)
        model = keras.Model(image, logits)
        optimizer = build_optimizer(
            "adamw",
            learning_rate=make_schedule("cosine", learning_rate=0.01, steps_per_epoch=3, epochs=2),
            accumulate=2,
            batches_per_epoch=5,
            last_batch=0.2,
            ema=0.9,
            clip_norm=1.0,
            weight_decay=0.01,
        )
    with dtype_policy("mixed_float16" if kind == "half" else "float32"):
        compile_model(model, optimizer)
    if kind == "half":
        model.optimizer.initial_scale = 2.0**40  # overflows until it has been halved often enough
    distribution.adopt(model)
    return model


def make_data(distribution: Replicas, dies: bool) -> FitData:
    """The images of this process; each step's are dealt out replica after replica."""
    replicas, first, local = distribution.replicas, distribution.first, distribution.local
    images, labels = draw(0, IMAGES)

    def make_epoch(epoch: int, steps: int) -> Any:
        order = np.random.default_rng(epoch).permutation(IMAGES)

        def generate() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for step in range(steps, -(-IMAGES // ROWS)):
                if dies and epoch == 1 and step == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                rows = np.array_split(order[step * ROWS : (step + 1) * ROWS], replicas)
                for part in rows[first : first + local]:
                    yield images[part], labels[part]

        return generate()

    val, val_labels = draw(1, VAL)
    start, stop = VAL * first // replicas, VAL * (first + local) // replicas

    def score(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
        hit = probabilities[np.arange(len(truth)), truth]
        loss, mean = float(-np.log(hit).mean()), float(hit.mean())
        return {"loss": loss, "auc": mean, "balanced_accuracy": 0.5}

    return FitData(
        make_epoch=make_epoch,
        steps_per_epoch=5,
        images_per_epoch=IMAGES,
        images_per_step=ROWS,
        val_batches=[
            (val[at : min(at + 4, stop)], val_labels[at : min(at + 4, stop)])
            for at in range(start, stop, 4)
        ],
        val_rows=(start, stop, VAL),
        val_labels=val_labels,
        score=score,
        score_confusion=lambda matrix: {"seen": float(matrix.sum()), "hit": float(matrix.trace())},
    )


class Whole(keras.utils.PyDataset):
    """A list of batches, for ``fit`` and ``predict``."""

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = list(batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


def train(folder: Path, name: str, distribution: Replicas) -> FitState:
    """Train one fit to its end."""
    dies = name == "bn-killed" and bool(os.environ.get("DIES"))
    data = make_data(distribution, dies)
    if not isinstance(distribution, Distribution):
        make = data.make_epoch
        data = replace(
            data,
            make_epoch=lambda epoch, steps: Whole(make(epoch, steps)),
            val_batches=Whole(data.val_batches),
        )
    model = build(name.split("-")[0], distribution)
    options = FitOptions(
        folder / name, distribution=distribution, checkpoint_minutes=1e-9, monitor="loss"
    )
    return fit(FitTask(model, data, 2), options=options)


def train_on_shards(folder: Path, shards: str, *overrides: str) -> None:
    """Fit LeNet for an epoch to shards, as ``tfskin-train`` does; nothing is evaluated."""
    config = read_config(
        QUICKSTART,
        [
            *("model={name: lenet, image_size: 32, dropout: 0}", "train.epochs=1"),
            *("train.schedule=constant", "train.warmup_epochs=0", f"data.shards={shards}"),
            *overrides,
        ],
    )
    with patch.object(training, "_judge"):
        training.train(config, output=folder)


def main() -> None:
    folder, *names = sys.argv[1:]
    if "TF_CONFIG" not in os.environ:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
    if names[0] == "shards":
        train_on_shards(Path(folder), *names[1:])
        return
    distribution = Distribution("multi_worker" if "TF_CONFIG" in os.environ else "mirrored")
    try:
        for name in names:
            train(Path(folder), name, distribution)
            distribution.wait_for_all()
    except UserError as error:
        sys.exit(f"UserError: {error}")


if __name__ == "__main__":
    main()
