"""A run's batch normalisation: checked on real images, and recalibrated."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfskin.datasets.shards import Shards
from tfskin.ensembling import as_float32
from tfskin.errors import UserError
from tfskin.evaluation.calibration import softmax
from tfskin.evaluation.metrics import compute_metrics
from tfskin.experiment.run_predictions import input_options, load_run_shards, predict_logits
from tfskin.files import replace_file
from tfskin.inputs import count_windows, damage_named, make_dataset, read_labels
from tfskin.layers.parts import part_of
from tfskin.runs import Run, open_run
from tfskin.training.batch_norm_check import check_companions, check_layers, mode_gap
from tfskin.training.recalibration import batch_norm_layers, recalibrate

logger = logging.getLogger(__name__)

BATCH_SIZE = 64


def recalibrate_run(
    run: Run,
    shards: Shards,
    *,
    images: int,
    batch_size: int = BATCH_SIZE,
) -> None:
    """Re-estimate the moving statistics of a run's best model on clean training images.

    On the first ``images`` of them, of which a run that was trained on windows sees all windows.
    Says the log-loss on val before and after, and writes ``model.keras`` again. Doing it twice is
    the same as doing it once.
    """
    model = run.load_model()
    before = _val_loss(model, run, shards, batch_size)
    options = input_options(run.inputs(), batch_size=batch_size)
    windows = count_windows(shards, "train", options=options)[:images]
    with damage_named(shards, "train"):
        batches = _clean_batches(run, shards, "train", int(windows.sum()), batch_size)
        count = recalibrate(model, (batch for batch, _ in batches))
    if not count:
        logger.info("recalibrate: no batch normalisation in the mode 'update'; nothing to do")
        return
    after = _val_loss(model, run, shards, batch_size)
    logger.info(
        f"recalibrated {count} batch normalisations on {len(windows)} training images: "
        f"val log-loss {before:.4f} -> {after:.4f}"
    )
    with replace_file(run.model_path) as temporary:
        model.save(temporary)


def check_batch_norm(run: Run | Path | str, *, images: int = 128) -> dict[str, Any]:
    """What a run's batch normalisations do on its own val images.

    Returns ``layers`` (a row each: name, part, mode, ``mean_shift``, ``variance_ratio``,
    ``state``), ``mode_gap`` (how much probabilities differ between training and inference mode)
    and ``companions`` (the largest change of a probability when an image's batch companions
    change); see :mod:`tfskin.training.batch_norm_check`. ``passed`` is whether none changes.

    Args:
        run: a run directory.
        images: how many images are looked at.

    Raises:
        UserError: not a run, shards missing or changed.
    """
    run = run if isinstance(run, Run) else open_run(run)
    shards = load_run_shards(run)
    model = as_float32(run.load_model())  # half precision rounds by as much as is tolerated
    with damage_named(shards, "val"):
        batches = list(_clean_batches(run, shards, "val", images))
    val_images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    parts, norms = part_of(model), batch_norm_layers(model)
    rows = check_layers(model, [val_images]) if norms else []
    companions = check_companions(model, val_images, labels)
    return {
        "run": str(run.folder),
        "images": len(val_images),
        "layers": [
            {"part": parts[id(layer)], **row} for layer, row in zip(norms, rows, strict=True)
        ],
        "mode_gap": mode_gap(model, val_images),
        "companions": companions,
        "passed": companions["passed"],
    }


def _clean_batches(
    run: Run, shards: Shards, split: str, count: int, batch_size: int = BATCH_SIZE
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The first ``count`` rows of a split without augmentation, and their labels, in batches."""
    inputs = run.inputs()
    if not len(read_labels(shards, split, inputs.classes)):
        raise UserError(f"{shards.folder}: no image of these classes in the {split} split")
    options = input_options(inputs, batch_size=min(batch_size, count))
    batches = make_dataset(shards, split, options=options).unbatch().take(count)
    yield from batches.batch(options.batch_size).as_numpy_iterator()


def _val_loss(model: keras.Model, run: Run, shards: Shards, batch_size: int) -> float:
    labels = read_labels(shards, "val", run.inputs().classes)["label"].to_numpy()
    probabilities = softmax(
        predict_logits(model, shards, "val", run.inputs(), batch_size=batch_size)
    )
    return float(compute_metrics(labels, probabilities, run.class_names())["log_loss"])
