"""Shards and a config -> the batches that its network is trained and validated on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfskin.datasets.shards import Shards, load_shards
from tfskin.errors import UserError
from tfskin.evaluation.metrics import (
    CLASS_METRICS,
    SUMMARY_METRICS,
    compute_metrics,
    metrics_from_confusion,
)
from tfskin.experiment.preparing import PHANTOM, prepare
from tfskin.inputs import (
    InputOptions,
    ReplicaShare,
    average_windows,
    class_quotas,
    count_rows,
    count_windows,
    local_rows,
    make_dataset,
    read_labels,
)
from tfskin.schema import RANDOM_CHANGES, ExperimentConfig
from tfskin.training.fit import FitData
from tfskin.training.progressive import Progress
from tfskin.training.replicas import ALONE, Replicas


def find_shards(
    shards: str,
    *,
    exclude: Sequence[str] = (),
    fold: int | None = None,
    verify: bool = False,
) -> Shards:
    """The shards that a config names; the embedded phantoms are generated when first asked for.

    Args:
        shards: their folder, or "phantom".
        exclude: artefacts whose images are left out.
        fold: which fold is val, where they hold folds.
        verify: whether every byte is compared with their fingerprint.

    Raises:
        UserError: as ``load_shards``; or they hold folds and none was chosen.
    """
    found = load_shards(_find_folder(shards), exclude=exclude, fold=fold, verify=verify)
    if "train" not in found.counts:
        raise UserError(
            f"{found.folder}: holds folds; choose which one is val, such as data.fold=0"
        )
    return found


def _find_folder(shards: str) -> Path:
    if shards != PHANTOM:
        return Path(shards)
    folder = Path("tfrecords") / PHANTOM
    if not any(folder.glob("*/shards.json")):
        prepare(PHANTOM, output=folder.parent)
    return folder


def input_options(config: ExperimentConfig, replicas: Replicas = ALONE) -> InputOptions:
    """How images are fed while the network of a config trains, to this process's replicas."""
    return InputOptions(
        image_size=config.model.image_size,
        resize=config.model.resize,
        batch_size=config.train.batch_size,
        classes=config.data.classes,
        augment=config.data.augment,
        seed=config.seed,
        shuffle_buffer=config.data.shuffle_buffer,
        sampling=config.data.sampling,
        windows=config.data.windows,
        share=ReplicaShare(replicas.replicas, replicas.first, replicas.local),
    )


def at_progress(config: ExperimentConfig, progress: Progress) -> ExperimentConfig:
    """The config with the images and the random changes of a stage."""
    augment = config.data.augment
    strengths = {
        name: getattr(augment, name) * progress.strength
        for name in ("rand_magnitude", "mixup", "cutmix", "erasing", *RANDOM_CHANGES)
    }
    changed = config.data.model_copy(update={"augment": augment.model_copy(update=strengths)})
    model = config.model.model_copy(update={"image_size": progress.size})
    return config.model_copy(update={"data": changed, "model": model})


def fit_data(
    config: ExperimentConfig,
    shards: Shards,
    names: list[str],
    distribution: Replicas = ALONE,
) -> FitData:
    """The batches of a config, and how their figures are computed.

    Raises:
        UserError: a split has no image of the classes; an epoch's last step has fewer images than
            there are replicas.
    """
    labels = {split: read_labels(shards, split, config.data.classes) for split in ("train", "val")}
    for split, table in labels.items():
        if table.empty:
            raise UserError(f"{shards.folder}: no image of these classes in the {split} split")
    of_val = labels["val"]["label"].unique()
    if len(of_val) < 2 and config.train.monitor == "auc":
        raise UserError(
            f"{shards.folder}: all images of the val split are {names[of_val[0]]}, so there is no "
            "AUC to choose the best epoch by; set train.monitor=loss, or split the data anew"
        )
    train_options = input_options(config, distribution)
    share = train_options.share
    images = count_rows(shards, "train", options=train_options, epoch=0)
    windows = count_windows(shards, "val", options=train_options)
    step = config.train.batch_size * share.replicas
    _check_last_step(images, step, share.replicas)
    of_train = labels["train"]["label"].to_numpy()
    counts = _class_counts(shards, of_train, len(names), train_options)

    def make_epoch(epoch: int, steps: int) -> Any:
        return make_dataset(shards, "train", options=train_options, epoch=epoch, skip_batches=steps)

    def score(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
        return _flat(compute_metrics(truth, average_windows(probabilities, windows), names))

    def score_confusion(matrix: np.ndarray) -> dict[str, float | None]:
        return _flat(metrics_from_confusion(matrix, names))

    return FitData(
        make_epoch=make_epoch,
        steps_per_epoch=-(-images // step),
        images_per_epoch=images,
        class_counts=dict(zip(names, counts, strict=True)),
        val_batches=make_dataset(shards, "val", options=train_options),
        val_labels=labels["val"]["label"].to_numpy(),
        score=score,
        score_confusion=score_confusion,
        images_per_step=step,
        val_rows=(*local_rows(int(windows.sum()), share), int(windows.sum())),
    )


def _class_counts(
    shards: Shards, labels: np.ndarray, classes: int, options: InputOptions
) -> list[int]:
    """Images of each class in an epoch, windows one by one."""
    quotas = class_quotas(labels, options.sampling)
    if options.windows is None:
        return [quotas.get(index, 0) for index in range(classes)]
    windows = count_windows(shards, "train", options=options)
    if options.sampling == "none":
        return np.bincount(labels, windows, classes).astype(int).tolist()
    if np.ptp(windows):
        raise UserError(
            f"data.sampling: images have {windows.min()} to {windows.max()} windows each, so "
            "epochs would differ in length; set data.sampling=none (and "
            "train.class_weights=balanced) or data.windows=null"
        )
    return [quotas.get(index, 0) * int(windows[0]) for index in range(classes)]


def _check_last_step(images: int, step: int, replicas: int) -> None:
    left = images % step
    if 0 < left < replicas:
        raise UserError(
            f"train.batch_size: the last step of an epoch of {images} images has {left} for "
            f"{replicas} replicas; choose another batch size"
        )


def _flat(figures: dict[str, Any]) -> dict[str, float | None]:
    """``{"macro_auc": a, "per_class": {c: {...}}}`` -> ``{"auc": a, "recall_c": ...}``."""
    short = {"macro_auc": "auc", "macro_f1": "f1", "log_loss": "loss"}
    flat = {short.get(k, k): figures[k] for k in SUMMARY_METRICS if k in figures}
    for name, values in figures["per_class"].items():
        flat |= {f"{k}_{name}": values[k] for k in CLASS_METRICS if k in values}
    return flat
