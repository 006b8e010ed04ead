"""What kept features of a frozen InceptionV3 save: 50 epochs of its head, against the long way.

On images of HAM10000, copied into a folder for each diagnosis and prepared as shards:

- the long way: epochs in which every image passes the backbone, as many as ``--long-epochs``;
  all epochs cost the same, so 50 of them are taken to last 50 times the median;
- with ``train.feature_views=K``: all 50 epochs, features of the K views included;
- the same weights: a few epochs both ways over the same K views, and the largest difference.

    python scripts/bench_feature_cache.py --images 480 --views 1 --source ../shared/data/ham10000
        --weights ../shared/weights/inception_v3_notop.weights.h5
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd

EPOCHS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="folder of HAM10000")
    parser.add_argument("--weights", required=True, help="weights of InceptionV3")
    parser.add_argument("--images", type=int, default=300, help="images")
    parser.add_argument("--size", type=int, default=299, help="side in pixels")
    parser.add_argument("--views", type=int, nargs="+", default=[1, 2, 4], help="values of K")
    parser.add_argument("--long-epochs", type=int, default=2, help="epochs of the long way")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench(Path(folder), options)


def bench(folder: Path, options: argparse.Namespace) -> None:
    shards = prepare(folder, options.source, options.images)
    train = Trainer(folder, shards, options)
    # The first epoch traces the graph, in both ways; what is compared is the others.
    epochs, long_weights = train("off", views=max(options.views), epochs=options.long_epochs)
    epoch = statistics.median(epochs[1:] or epochs)
    print(f"the long way: {epoch:.2f} s an epoch, so {EPOCHS * epoch:.0f} s for {EPOCHS}")
    print("| views K | seconds with kept features | speed-up | 50/K | of 50/K |")
    print("|---|---|---|---|---|")
    for views in sorted(options.views):
        seconds = sum(train("on", views=views, epochs=EPOCHS)[0])
        gain = EPOCHS * epoch / seconds
        ideal = EPOCHS / views
        print(f"| {views} | {seconds:.1f} | {gain:.1f} | {ideal:.1f} | {gain / ideal:.0%} |")
    kept = train.folder / f"run-{train.calls}" / "features"
    _, weights = train("on", views=max(options.views), epochs=options.long_epochs, kept=kept)
    largest = max(np.abs(a - b).max() for a, b in zip(weights, long_weights, strict=True))
    print(
        f"{options.long_epochs} epochs of {max(options.views)} views both ways: weights differ by "
        f"{largest:.1e} at most"
    )


class Trainer:
    """Fits the probe of configs/ham10000_inception.yaml."""

    def __init__(self, folder: Path, shards: Path, options: argparse.Namespace) -> None:
        from tfskin.config import list_experiments, read_config
        from tfskin.schema import ComparisonConfig

        overrides = [
            *(f"data.shards={shards}", f"model.image_size={options.size}"),
            *(f"model.weights={options.weights}", "train.schedule=constant"),
        ]
        config = read_config("ham10000_inception.yaml", overrides, ComparisonConfig)
        self.config = list_experiments(config)["probe"]
        self.folder = folder
        self.calls = 0

    def __call__(
        self, cache: str, *, views: int, epochs: int, kept: Path | None = None
    ) -> tuple[list[float], list[np.ndarray]]:
        """Seconds of each epoch (the last entry: all that is no epoch), and the weights."""
        import tfskin
        from tfskin.config import change_config
        from tfskin.experiment.fitting.network import build_network, start_weights
        from tfskin.experiment.fitting.stages import TrainingData, plan_stages
        from tfskin.inputs import class_names
        from tfskin.training.checkpoints import FitState
        from tfskin.training.fit import FitOptions, fit
        from tfskin.training.stages import list_tasks

        norms = "{backbone: frozen, head: update}"
        planned = f"[{{unfreeze: head, epochs: {epochs}, batch_norm: {norms}}}]"
        keys = [
            *(f"train.stages={planned}", f"train.feature_views={views}"),
            f"train.feature_cache='{cache}'",
        ]
        if kept:
            keys.append(f"train.feature_folder='{kept}'")
        config = change_config(self.config, keys, name="probe", source="bench")
        shards = tfskin.load_shards(config.data.shards)
        names = class_names(shards, None)
        self.calls += 1
        folder = self.folder / f"run-{self.calls}"
        stages = plan_stages(config, TrainingData(config, shards, names, folder))
        model, _ = build_network(config, num_classes=len(names))
        start_weights(model, config.model)
        start = time.monotonic()
        options, state = FitOptions(folder, monitor=config.train.monitor), FitState()
        for task in list_tasks(model, stages, state):
            fit(task, options=options, state=state)
        times = [row["seconds"] for row in state.history]
        if cache == "on":
            times.append(time.monotonic() - start - sum(times))
        return times, [variable.numpy() for variable in model.trainable_variables]


def prepare(folder: Path, source: Path, images: int) -> Path:
    """Shards of the first so many images in a random order."""
    import tfskin

    table = pd.read_csv(source / "HAM10000_metadata.csv").sample(images, random_state=0)
    for image, diagnosis in zip(table["image_id"], table["dx"], strict=True):
        place = folder / "images" / diagnosis
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "images" / f"{image}.jpg", place)
    options = tfskin.PrepareOptions(near_duplicates=False, photographs=False, artefacts=False)
    return tfskin.prepare(
        "image_folder",
        folder / "images",
        output=folder / "tfrecords",
        options=options,
    ).folder


if __name__ == "__main__":
    main()
