"""Training in float32 and in half precision: images a second, and the loss of each step.

Made for a GPU, where TensorFlow need not be installed: what it uses of tfskin (layers, models,
losses, optimisers, loss scaling) is pure Keras and runs on JAX too.

    KERAS_BACKEND=jax python scripts/bench_half_precision.py --output half_precision/

Each network trains under each precision from the same weights, on the same batches of drawn
lesions of two kinds, which lie in memory as uint8. The precisions take turns, a round of steps
each, after a first step that makes the graph and is not counted; a round's time ends when its last
loss is known. Printed per network and precision: images a second (median over rounds), the ratio to
float32, the mean loss of the first and the last tenth of the steps, the largest difference of the
smoothed loss from float32's, and steps that overflow has cost. ``losses.csv`` and ``losses.png`` in
``--output`` hold the curves.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from tfskin.models import build_model
from tfskin.training.fit import compile_model
from tfskin.training.optimizers import build_optimizer
from tfskin.training.precision import dtype_policy, has_gpu
from tfskin.training.updates import skipped_steps

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
NETWORKS: dict[str, dict[str, Any]] = {
    "five_layer_rgb": {"name": "five_layer", "color_space": "rgb"},
    "five_layer_hsv": {"name": "five_layer", "color_space": "hsv"},
    "five_layer_fft": {"name": "five_layer", "color_space": "fft"},
    "resnet18": {"name": "resnet18"},
    "resnet50": {"name": "resnet50"},
    "inception_v3": {"name": "inception_v3"},
}
SMOOTHED = 10
"""Steps of the running mean of the loss."""


def draw_lesions(count: int, size: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Blots on skin, uint8 (count, size, size, 3), and their kind: 0 round, 1 of uneven border."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle, radius = np.arctan2(y, x), np.hypot(y, x)
    labels = rng.integers(0, 2, count)
    images = np.empty((count, size, size, 3), np.uint8)
    skin, brown = np.array([220.0, 180.0, 160.0]), np.array([110.0, 70.0, 50.0])
    for n, label in enumerate(labels):
        waves = (
            label * rng.uniform(0.1, 0.2) * np.cos(rng.integers(4, 8) * angle + rng.uniform(0, 6))
        )
        inside = 1 / (1 + np.exp((radius - rng.uniform(0.4, 0.6) * (1 + waves)) * 20))
        colors = skin + inside[..., None] * (brown - skin) + rng.normal(0, 12, (size, size, 3))
        images[n] = np.clip(colors, 0, 255)
    return images, labels.astype("int32")


def build(arguments: dict[str, Any], policy: str, size: int) -> Any:
    """A compiled network with the weights of the seed."""
    with dtype_policy(policy):
        keras.utils.set_random_seed(0)
        model = build_model(image_size=(size, size), num_classes=2, **arguments)
        compile_model(model, build_optimizer("adamw", learning_rate=1e-3, clip_norm=1.0))
    return model


class Trainer:
    """One network under one precision: its losses, and the seconds of its rounds."""

    def __init__(self, model: Any, images: np.ndarray, labels: np.ndarray, batch: int) -> None:
        self.model, self.images, self.labels, self.batch = model, images, labels, batch
        self.losses: list[float] = []
        self.seconds: list[float] = []

    def run(self, steps: int, *, counted: bool = True) -> None:
        """So many steps on the next batches."""
        start = time.perf_counter()
        for _ in range(steps):
            first = len(self.losses) * self.batch % (len(self.labels) - self.batch + 1)
            part = slice(first, first + self.batch)
            found = self.model.train_on_batch(self.images[part], self.labels[part])
            self.losses.append(float(found[0]))
            self.model.reset_metrics()
        if counted:
            self.seconds.append((time.perf_counter() - start) / steps)


def smooth(losses: list[float]) -> np.ndarray:
    """Running means over :data:`SMOOTHED` steps."""
    width = min(SMOOTHED, len(losses))
    return np.convolve(losses, np.ones(width) / width, mode="valid")


def bench(name: str, options: argparse.Namespace) -> dict[str, Trainer]:
    """Precision -> what one network did under it."""
    images, labels = draw_lesions(options.images, options.image_size)
    trainers = {
        policy: Trainer(
            build(NETWORKS[name], policy, options.image_size), images, labels, options.batch_size
        )
        for policy in options.precisions
    }
    for trainer in trainers.values():
        trainer.run(1, counted=False)
    for _ in range(options.rounds):
        for trainer in trainers.values():
            trainer.run(options.steps)
    return trainers


def describe(name: str, trainers: dict[str, Trainer]) -> list[str]:
    """The rows of the table for one network."""
    plain = trainers["float32"]
    rows = []
    for policy, trainer in trainers.items():
        seconds = statistics.median(trainer.seconds)
        tenth = max(1, len(trainer.losses) // 10)
        first, last = np.mean(trainer.losses[:tenth]), np.mean(trainer.losses[-tenth:])
        apart = np.abs(smooth(trainer.losses) - smooth(plain.losses)).max()
        cells = [
            name,
            policy,
            f"{trainer.batch / seconds:,.0f}",
            f"{statistics.median(plain.seconds) / seconds:.2f}",
            f"{first:.3f}",
            f"{last:.3f}",
            f"{apart:.3f}",
            str(skipped_steps(trainer.model.optimizer) or 0),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def keep_curves(folder: Path, found: dict[str, dict[str, Trainer]]) -> None:
    """``losses.csv`` and ``losses.png``."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "losses.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["network", "precision", "step", "loss"])
        for name, trainers in found.items():
            for policy, trainer in trainers.items():
                table.writerows([name, policy, n, loss] for n, loss in enumerate(trainer.losses, 1))
    figure, axes = plt.subplots(1, len(found), figsize=(4 * len(found), 3), squeeze=False)
    for axis, (name, trainers) in zip(axes[0], found.items(), strict=True):
        for policy, trainer in trainers.items():
            axis.plot(smooth(trainer.losses), label=policy, linewidth=1)
        axis.set(title=name, xlabel="step", ylabel=f"loss, mean of {SMOOTHED} steps")
    axes[0, 0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(folder / "losses.png", dpi=120)
    plt.close(figure)


def main() -> None:
    """Train, print the table, write the curves."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument("--image-size", type=int, default=224, help="side in pixels")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=1024, help="drawn lesions")
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("half_precision"))
    options = parser.parse_args()
    options.precisions = ["float32", *(p for p in options.precisions if p != "float32")]
    for name in options.networks:
        if name not in NETWORKS:
            parser.error(f"'{name}': must be one of {', '.join(NETWORKS)}")
    if options.images < options.batch_size:
        parser.error(f"--images: fewer than a batch of {options.batch_size}")
    device = "a GPU" if has_gpu() else "no GPU"
    print(
        f"Keras {keras.__version__} on {keras.backend.backend()}, {device}; "
        f"{options.image_size} px, batches of {options.batch_size}"
    )
    print("| network | precision | images/s | ratio | first loss | last loss | apart | skipped |")
    print("|---|---|---|---|---|---|---|---|")
    found = {}
    for name in options.networks or NETWORKS:
        found[name] = bench(name, options)
        print("\n".join(describe(name, found[name])), flush=True)
    keep_curves(options.output, found)
    print(f"curves: {options.output / 'losses.png'}")


if __name__ == "__main__":
    main()
