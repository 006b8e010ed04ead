"""What a model relies on: the lesion or its surroundings, artefacts, orientation, image quality."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfskin.evaluation.binary import ranking_intervals
from tfskin.evaluation.figures import Floats, Ints
from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.picture_changes import (
    TURNS,
    Change,
    change_all,
    corruptions,
    hide_lesion,
    keep_lesion,
    pasted,
)
from tfskin.evaluation.resampling import Resampling, ratio_intervals

SHOWN = ("accuracy", "balanced_accuracy", "macro_auc")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The pictures that are changed, and the model that looks at them.

    Attributes:
        predict: (N, H, W, 3) float32 in 0..255 -> (N, C) calibrated probabilities.
        pictures: (N, H, W, 3) float32 in 0..255, at the model's size.
        labels: (N,) int64.
        groups: (N,) values; images with the same value are drawn together.
        class_names: C names.
        malignant: names of the malignant classes; empty where that is not known.
        clean: (N,) whether a picture is free of artefacts; all true where that is not recorded.
        resamples: bootstrap resamples.
        confidence: coverage of the intervals.
        seed: of what is drawn.
    """

    predict: Callable[[npt.NDArray[np.float32]], Floats]
    pictures: npt.NDArray[np.float32]
    labels: Ints
    groups: npt.NDArray[Any]
    class_names: Sequence[str]
    malignant: Sequence[str] = ()
    clean: npt.NDArray[np.bool_] | None = None
    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0


def reliance_figures(
    probe: Probe, *, advance: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Everything that the checks find, each figure with its interval.

    Args:
        probe: pictures and model.
        advance: called with 1 after each pass over the pictures; there are
            :func:`count_passes`.

    Returns:
        - ``images``, ``clean_images``
        - ``unchanged``, ``lesion_hidden``, ``lesion_only``: accuracy, balanced accuracy, macro AUC
          and (None without malignant classes) malignant AUC
        - ``pasted``: artefact -> on clean pictures, what pasting it does: ``changed`` (share with
          another predicted class), ``mean_change`` of the malignant score (None without malignant
          classes)
        - ``consistency``: ``batch`` (largest difference of a probability between a picture alone
          and in a batch), and for each turn ``same`` (share with the same predicted class) and
          ``mean_difference`` (half the sum of absolute differences of the probabilities: the total
          variation)
        - ``corruptions``: kind -> list of ``{"level", ...figures as in unchanged}``
    """
    base = probe.predict(probe.pictures)
    advance(1)

    def seen(change: Change, inside: npt.NDArray[np.bool_] | None = None) -> Floats:
        chosen = probe.pictures if inside is None else probe.pictures[inside]
        probabilities = probe.predict(change_all(chosen, change))
        advance(1)
        return probabilities

    clean = np.ones(len(base), bool) if probe.clean is None else probe.clean
    return {
        "images": len(base),
        "clean_images": int(clean.sum()),
        "unchanged": _figures(probe, base),
        "lesion_hidden": _figures(probe, seen(hide_lesion)),
        "lesion_only": _figures(probe, seen(keep_lesion)),
        "pasted": {
            name: _pasted(probe, base[clean], seen(change, clean), clean)
            for name, change in pasted(probe.seed).items()
        }
        if clean.any()
        else {},
        "consistency": {
            "batch": _batch_difference(probe, base),
            **{name: _turned(probe, base, seen(change)) for name, change in TURNS.items()},
        },
        "corruptions": {
            kind: [
                {"level": level, **_figures(probe, seen(change))}
                for level, change in levels.items()
            ]
            for kind, levels in corruptions(probe.seed).items()
        },
    }


def count_passes() -> int:
    """How often the model looks at all pictures."""
    levels = sum(len(levels) for levels in corruptions().values())
    return 3 + len(pasted()) + len(TURNS) + levels


def _malignant_columns(probe: Probe) -> list[int]:
    return [list(probe.class_names).index(name) for name in probe.malignant]


def _figures(probe: Probe, probabilities: Floats) -> dict[str, Any]:
    options: dict[str, Any] = {"resamples": probe.resamples, "seed": probe.seed}
    figures = bootstrap_intervals(
        probe.labels,
        probabilities,
        probe.groups,
        probe.class_names,
        confidence=probe.confidence,
        **options,
    )
    found = {name: figures[name] for name in SHOWN}
    found["malignant_auc"] = None
    if probe.malignant:
        columns = _malignant_columns(probe)
        positive = np.isin(probe.labels, columns)
        resampling = Resampling.of(positive.astype(int), probe.groups, **options)
        found["malignant_auc"] = ranking_intervals(
            positive,
            probabilities[:, columns].sum(axis=1),
            resampling,
            confidence=probe.confidence,
        )["auc"]
    return found


def _resampling(probe: Probe, inside: npt.NDArray[np.bool_] | slice) -> Resampling:
    return Resampling.of(
        probe.labels[inside], probe.groups[inside], resamples=probe.resamples, seed=probe.seed
    )


def _pasted(
    probe: Probe, before: Floats, after: Floats, clean: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    resampling, every = _resampling(probe, clean), np.ones(len(before), bool)
    changed = before.argmax(axis=1) != after.argmax(axis=1)
    found: dict[str, Any] = ratio_intervals(
        resampling, {"changed": (changed, every)}, confidence=probe.confidence
    )
    found["mean_change"] = None
    if probe.malignant:
        shift = (after - before)[:, _malignant_columns(probe)].sum(axis=1)
        found |= ratio_intervals(
            resampling,
            {"mean_change": (shift, every)},
            confidence=probe.confidence,
            scale=None,
        )
    return found


def _turned(probe: Probe, before: Floats, after: Floats) -> dict[str, Any]:
    resampling, every = _resampling(probe, slice(None)), np.ones(len(before), bool)
    same = before.argmax(axis=1) == after.argmax(axis=1)
    moved = np.abs(before - after).sum(axis=1) / 2
    return {
        **ratio_intervals(resampling, {"same": (same, every)}, confidence=probe.confidence),
        **ratio_intervals(
            resampling,
            {"mean_difference": (moved, every)},
            confidence=probe.confidence,
            scale=None,
        ),
    }


def _batch_difference(probe: Probe, together: Floats, *, images: int = 8) -> float:
    alone = [probe.predict(probe.pictures[i : i + 1]) for i in range(min(images, len(together)))]
    return float(np.abs(np.concatenate(alone) - together[: len(alone)]).max())
