"""Features of a frozen backbone, computed once for each random view and kept on disk."""

import hashlib
import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfskin.datasets.shards import Shards
from tfskin.errors import DivergenceError, UserError
from tfskin.experiment.fitting.data import input_options
from tfskin.files import read_json, replace_file, write_json
from tfskin.inputs import (
    InputOptions,
    damage_named,
    make_dataset,
    read_labels,
    records_order,
)
from tfskin.inputs.features import make_feature_dataset
from tfskin.progress import progress_bar
from tfskin.schema import ExperimentConfig
from tfskin.training.fit import FitData

logger = logging.getLogger(__name__)

VERSION = 1
"""Goes up with what the features of the same weights and images are."""
TIMES_FILE = "features.json"
"""In a run: what computing features has taken, a line for each file that this run computed."""


def feature_seconds(folder: Path) -> tuple[float, float]:
    """Seconds, and seconds of processors, that a run has spent on features."""
    path = folder / TIMES_FILE
    spent = read_json(path).values() if path.is_file() else []
    return sum(one["seconds"] for one in spent), sum(one["cpu_seconds"] for one in spent)


def check_views(config: ExperimentConfig) -> None:
    """Refuse ``train.feature_views`` where it does not go with the other keys.

    Raises:
        UserError: no stage trains the head alone, or images are mixed, sampled or cut into
            windows.
    """
    if not config.train.feature_views:
        return
    if all(stage.unfreeze != "head" for stage in config.train.stages):
        raise UserError(
            "train.feature_views: no stage trains the head alone; write "
            "train.stages=[{unfreeze: head, epochs: ...}], or leave it out"
        )
    if config.data.augment.mixup or config.data.augment.cutmix:
        raise UserError(
            "train.feature_views: mixed images have no features of their own; set "
            "data.augment.mixup and cutmix to 0"
        )
    if config.data.sampling != "none" or config.data.windows is not None:
        raise UserError(
            "train.feature_views: features are kept once an image; set data.sampling=none and "
            "data.windows=null"
        )


def few_views(data: FitData, config: ExperimentConfig, shards: Shards) -> FitData:
    """The data of a fit with few views of each image: epoch ``e`` sees view ``e % views``.

    A view is the random changes of the epoch of that number, in an order of its own.
    """
    options, views = input_options(config), config.train.feature_views

    def make_epoch(epoch: int, steps: int) -> Any:
        view = {"epoch": epoch, "view": epoch % views, "skip_batches": steps}
        return make_dataset(shards, "train", options=options, **view)

    return replace(data, make_epoch=make_epoch)


def kept_features(
    data: FitData, config: ExperimentConfig, shards: Shards, folder: Path, backbone: keras.Model
) -> FitData:
    """The same with the features of a frozen backbone in place of images, computed once.

    Files lie in ``train.feature_folder``, or in ``<folder>/features`` of the run.
    """
    options, views = input_options(config), config.train.feature_views
    where = Path(config.train.feature_folder or folder / "features")
    cache = FeatureCache(where, backbone, shards, options, times=folder / TIMES_FILE)
    labels = read_labels(shards, "train", options.classes)["label"].to_numpy()
    kept = [cache.load("train", view) for view in range(views)]

    def make_epoch(epoch: int, steps: int) -> Any:
        return make_feature_dataset(
            kept[epoch % views], labels, options=options, epoch=epoch, skip_batches=steps
        )

    val = make_feature_dataset(cache.load("val", None), data.val_labels, options=options)
    return replace(data, make_epoch=make_epoch, val_batches=val)


class FeatureCache:
    """Pooled features of a backbone, one file for each split and view.

    The name of a file is a digest of everything that its content depends on: the backbone's
    layers and weights, the content of the shards, what of them is read and in which order, the
    size, the random changes and their seed. So a file of other weights, data or changes is never
    read.

    Args:
        folder: where files are kept.
        backbone: RGB -> features (N, ...).
        shards: the images.
        options: how they are read.
        times: where it is noted what computing took; None: nowhere.
    """

    def __init__(
        self,
        folder: Path,
        backbone: keras.Model,
        shards: Shards,
        options: InputOptions,
        *,
        times: Path | None = None,
    ) -> None:
        self.folder = folder
        self.times = times
        self.backbone = backbone
        self.shards = shards
        self.options = options
        self._weights = digest_model(backbone)
        self._orders: dict[str, str] = {}

    def load(self, split: str, view: int | None) -> np.ndarray:
        """(N, ...) float32 in file order, mapped from disk; computed first where they are not."""
        path = self.path(split, view)
        count = len(read_labels(self.shards, split, self.options.classes))
        shape = (count, *self.backbone.output_shape[1:])
        what = f"features of {split}" + ("" if view is None else f", view {view}")
        try:
            found = np.load(path, mmap_mode="r")
            if found.shape == shape and found.dtype == np.float32:
                logger.info(f"{what}: from {path}")
                return found
        except (OSError, ValueError, EOFError):
            pass  # not there, or damaged: made again
        clocks = time.monotonic(), time.process_time()
        with replace_file(path) as temporary:
            self._compute(temporary, split, view, shape, what)
        if self.times is not None:
            spent = {
                "seconds": round(time.monotonic() - clocks[0], 1),
                "cpu_seconds": round(time.process_time() - clocks[1], 1),
            }
            noted = read_json(self.times) if self.times.is_file() else {}
            write_json(self.times, noted | {path.stem: spent})
        return np.load(path, mmap_mode="r")

    def path(self, split: str, view: int | None) -> Path:
        """The file of a split and view."""
        options = self.options
        if split not in self._orders:
            self._orders[split] = records_order(self.shards, (split,), options.classes)
        changes = None if view is None or options.augment is None else options.augment.model_dump()
        facts = {
            "version": VERSION,
            "keras": keras.__version__,
            "weights": self._weights,
            "shards": self.shards.fingerprint,
            "exclude": self.shards.exclude,
            "fold": self.shards.fold,
            "split": split,
            "order": self._orders[split],
            "classes": options.classes,
            "image_size": options.image_size,
            "resize": options.resize,
            "augment": changes,
            "view": view,
            "seed": None if view is None else options.seed,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{split}-{digest[:32]}.npy"

    def _compute(
        self, path: Path, split: str, view: int | None, shape: tuple[int, ...], what: str
    ) -> None:
        size = self.options.batch_size
        batches = make_dataset(self.shards, split, options=self.options, view=view)
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        start = 0
        title = f"{what} ({shape[0]} images)"
        with damage_named(self.shards, split), progress_bar(title, total=shape[0]) as advance:
            for images, _ in batches.as_numpy_iterator():
                # A last batch of another size would be traced anew, which takes longer.
                whole = np.resize(images, (size, *images.shape[1:]))
                found = self.backbone.predict_on_batch(whole)[: len(images)]
                features = np.asarray(keras.ops.convert_to_numpy(found), np.float32)
                if not np.isfinite(features).all():
                    raise DivergenceError(
                        f"{what}: the backbone gives no number (NaN or infinity); look at "
                        "model.weights, or set train.precision=float32"
                    )
                array[start : start + len(features)] = features
                start += len(features)
                advance(len(features))
        array.flush()
        logger.info(f"{what}: computed for {start} images")


def digest_model(model: keras.Model) -> str:
    """A digest of a model's layers, how they follow one another, their precision and weights.

    Names are left out: those that Keras gives count up with each model of a process.
    """
    place = {id(layer): number for number, layer in enumerate(model.layers)}
    digest = hashlib.sha256()
    for layer in model.layers:
        config = {key: value for key, value in layer.get_config().items() if key != "name"}
        before = [place.get(id(node.operation)) for node in layer._inbound_nodes[0].parent_nodes]
        facts = [type(layer).__name__, before, config]
        digest.update(json.dumps(facts, sort_keys=True, default=repr).encode())
        for variable in layer.variables:
            value = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
            digest.update(f"{value.dtype}{value.shape}".encode())
            digest.update(value.tobytes())
    return digest.hexdigest()
