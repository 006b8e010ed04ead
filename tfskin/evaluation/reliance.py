"""What a model relies on: the lesion or its surroundings, artefacts, orientation, image quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfskin.evaluation.binary import score_metrics
from tfskin.evaluation.bootstrap import Bootstrap, Resampling, ratio_intervals
from tfskin.evaluation.image_changes import (
    TURNS,
    Change,
    change_all,
    corruptions,
    hide_lesion,
    keep_lesion,
    pasted,
)
from tfskin.evaluation.intervals import metric_intervals
from tfskin.evaluation.metric_table import metrics_shown
from tfskin.evaluation.predictions import Predictions
from tfskin.evaluation.sums import Flags, Floats


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The images that are changed, and the model that looks at them.

    Attributes:
        predict: (N, H, W, 3) float32 in 0..255 -> (N, C) calibrated probabilities.
        images: (N, H, W, 3) float32 in 0..255, at the model's size.
        clean: (N,) whether an image is free of artefacts; None where that is not recorded, and all
            count as clean.
        seed: of what is drawn on the images.
    """

    predict: Callable[[npt.NDArray[np.float32]], Floats]
    images: npt.NDArray[np.float32]
    clean: Flags | None = None
    seed: int = 0


def reliance_metrics(
    predictions: Predictions,
    bootstrap: Bootstrap,
    probe: Probe,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Everything that the checks find, each metric with its interval.

    Args:
        predictions: of the probe's images; what counts are their true classes and groups, the
            probabilities are computed anew.
        bootstrap: how the intervals are made.
        probe: images and model.
        advance: called with 1 after each pass over the images; there are
            :func:`count_passes`.

    Returns:
        - ``images``, ``clean_images``
        - ``unchanged``, ``lesion_hidden``, ``lesion_only``: every metric that the table of metrics
          shows for reliance; None for the malignant AUC without malignant classes
        - ``pasted``: artefact -> on clean images, what pasting it does: ``changed`` (share with
          another predicted class), ``mean_change`` of the malignant score (None without malignant
          classes)
        - ``consistency``: ``batch`` (largest difference of a probability between an image alone
          and in a batch), and for each turn ``same`` (share with the same predicted class) and
          ``mean_difference`` (half the sum of absolute differences of the probabilities: the total
          variation)
        - ``corruptions``: kind -> list of ``{"level", ...metrics as in unchanged}``
    """
    base = predictions.with_probabilities(probe.predict(probe.images))
    advance(1)

    def seen(change: Change, inside: Flags | None = None) -> Predictions:
        chosen = probe.images if inside is None else probe.images[inside]
        probabilities = probe.predict(change_all(chosen, change))
        advance(1)
        rows = base if inside is None else base.take(inside)
        return rows.with_probabilities(probabilities)

    clean = np.ones(len(base), bool) if probe.clean is None else probe.clean
    return {
        "images": len(base),
        "clean_images": int(clean.sum()),
        "unchanged": _metrics(base, bootstrap),
        "lesion_hidden": _metrics(seen(hide_lesion), bootstrap),
        "lesion_only": _metrics(seen(keep_lesion), bootstrap),
        "pasted": {
            name: _pasted(base.take(clean), seen(change, clean), bootstrap)
            for name, change in pasted(probe.seed).items()
        }
        if clean.any()
        else {},
        "consistency": {
            "batch": _batch_difference(probe, base.probabilities),
            **{name: _turned(base, seen(change), bootstrap) for name, change in TURNS.items()},
        },
        "corruptions": {
            kind: [
                {"level": level, **_metrics(seen(change), bootstrap)}
                for level, change in levels.items()
            ]
            for kind, levels in corruptions(probe.seed).items()
        },
    }


def count_passes() -> int:
    """How often the model looks at all images."""
    levels = sum(len(levels) for levels in corruptions().values())
    return 3 + len(pasted()) + len(TURNS) + levels


def _metrics(predictions: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    found = metric_intervals(predictions, bootstrap)
    found |= score_metrics(predictions, bootstrap)
    return {metric.name: found[metric.name] for metric in metrics_shown("reliance")}


def _resampling(predictions: Predictions, bootstrap: Bootstrap) -> Resampling:
    return bootstrap.plan(predictions.labels, predictions.groups)


def _pasted(before: Predictions, after: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    resampling, every = _resampling(before, bootstrap), np.ones(len(before), bool)
    changed = before.chosen != after.chosen
    found: dict[str, Any] = ratio_intervals(resampling, {"changed": (changed, every)})
    found["mean_change"] = None
    if before.malignant:
        columns = [before.class_names.index(name) for name in before.malignant]
        shift = (after.probabilities - before.probabilities)[:, columns].sum(axis=1)
        found |= ratio_intervals(resampling, {"mean_change": (shift, every)}, scale=None)
    return found


def _turned(before: Predictions, after: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    resampling, every = _resampling(before, bootstrap), np.ones(len(before), bool)
    same = before.chosen == after.chosen
    moved = np.abs(before.probabilities - after.probabilities).sum(axis=1) / 2
    return {
        **ratio_intervals(resampling, {"same": (same, every)}),
        **ratio_intervals(resampling, {"mean_difference": (moved, every)}, scale=None),
    }


def _batch_difference(probe: Probe, together: Floats, *, images: int = 8) -> float:
    alone = [probe.predict(probe.images[i : i + 1]) for i in range(min(images, len(together)))]
    return float(np.abs(np.concatenate(alone) - together[: len(alone)]).max())
