"""How a model does on parts of the images: age, sex, site, skin type, source, artefacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tfskin.datasets.artefacts import DETECTORS
from tfskin.evaluation.binary import malignant_figures
from tfskin.evaluation.figures import Floats, Ints
from tfskin.evaluation.intervals import bootstrap_intervals

AGE_BANDS = ((0, 30), (30, 45), (45, 60), (60, 75), (75, 200))
FEW_GROUPS = 30
FEW_OF_A_KIND = 10
UNKNOWN = "unknown"

# What subgroups are made of: heading -> column of the table.
COLUMNS = {
    "age": "age",
    "sex": "sex",
    "site": "site",
    "Fitzpatrick type": "fitzpatrick",
    "skin tone": "skin_tone",
    "image type": "image_type",
    "clinic": "clinic",
    "source": "source",
}
ARTEFACTS = tuple(DETECTORS)
"""Columns that say whether an artefact is present: 1 or true, 0 or false, -1 where unknown."""
SHOWN = ("accuracy", "balanced_accuracy", "macro_auc")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Predictions and what is known of their images.

    Attributes:
        labels: (N,) int64.
        probabilities: (N, C) float64.
        class_names: C names.
        groups: (N,) values; images with the same value are drawn together.
        facts: N rows with whatever columns are recorded.
        malignant: names of the malignant classes; empty where that is not known.
        scores: (N,) the malignant score; None for the sum over the malignant classes.
        threshold: of the malignant score, for sensitivity and specificity; None without one.
        resamples: bootstrap resamples.
        confidence: coverage of the intervals.
    """

    labels: Ints
    probabilities: Floats
    class_names: Sequence[str]
    groups: npt.NDArray[Any]
    facts: pd.DataFrame
    malignant: Sequence[str] = ()
    scores: Floats | None = None
    threshold: float | None = None
    resamples: int = 1000
    confidence: float = 0.95


def subgroup_figures(judged: Judged) -> dict[str, Any]:
    """Heading -> ``{"recorded", "groups": {value: figures}}`` for all that subgroups are made of.

    ``recorded`` is false where the shards lack the column, or it is empty for every image; then
    there are no groups. An image without a value is in the group "unknown". Artefacts are the
    columns of :data:`ARTEFACTS`; ``any artefact`` is present where one of them is.

    Figures of a group: ``images``, ``groups``, ``malignant`` (images, None where unknown),
    ``accuracy``, ``balanced_accuracy``, ``macro_auc``, ``malignant_auc``, ``sensitivity``,
    ``specificity`` with intervals (None for the last three without malignant classes or
    threshold), and ``warning``: why the group is too small to say anything, or empty.
    """
    found: dict[str, Any] = {}
    for heading, values in _columns(judged.facts).items():
        if values is None:
            found[heading] = {"recorded": False, "groups": {}}
            continue
        names = [name for name in dict.fromkeys(_sorted(values)) if name]
        found[heading] = {
            "recorded": True,
            "groups": {name: _figures(judged, values == name) for name in names},
        }
    return found


def age_band(age: float) -> str:
    """``30-44`` for ages from 30 to below 45, ``75+`` from 75 on, "unknown" below 0."""
    for low, high in AGE_BANDS:
        if low <= age < high:
            return f"{low}+" if high >= 200 else f"{low}-{high - 1}"
    return UNKNOWN


def artefact_columns(facts: pd.DataFrame) -> list[str]:
    """The columns of :data:`ARTEFACTS` that are there and known for some image."""
    return [name for name in ARTEFACTS if name in facts and (facts[name].astype(int) >= 0).any()]


def _columns(facts: pd.DataFrame) -> dict[str, npt.NDArray[Any] | None]:
    columns: dict[str, npt.NDArray[Any] | None] = {}
    for heading, column in COLUMNS.items():
        columns[heading] = None
        if column in facts:
            texts = facts[column].map(age_band if column == "age" else _text)
            if (texts != UNKNOWN).any():
                columns[heading] = texts.to_numpy(dtype=object)
    flags = artefact_columns(facts)
    if not flags:
        columns["artefacts"] = None
        return columns
    known = facts[flags].astype(int)
    columns["any artefact"] = _presence(known.max(axis=1))
    for name in flags:
        columns[name.replace("_", " ")] = _presence(known[name])
    return columns


def _presence(flags: pd.Series) -> npt.NDArray[Any]:
    words = {1: "present", 0: "absent"}
    return flags.map(lambda flag: words.get(flag, UNKNOWN)).to_numpy(dtype=object)


def _text(value: Any) -> str:
    return str(value).strip() or UNKNOWN


def _sorted(values: npt.NDArray[Any]) -> list[str]:
    """In alphabetical order, "unknown" last."""
    return sorted(set(values), key=lambda name: (name == UNKNOWN, name))


def _figures(judged: Judged, inside: npt.NDArray[np.bool_]) -> dict[str, Any]:
    labels, probabilities = judged.labels[inside], judged.probabilities[inside]
    groups = judged.groups[inside]
    options: Mapping[str, Any] = {
        "resamples": judged.resamples,
        "confidence": judged.confidence,
    }
    all_figures = bootstrap_intervals(labels, probabilities, groups, judged.class_names, **options)
    result = {"images": int(inside.sum()), "groups": all_figures["groups"], "malignant": None}
    result |= {name: all_figures[name] for name in SHOWN}
    result |= dict.fromkeys(("malignant_auc", "sensitivity", "specificity"))
    if judged.malignant:
        chosen = [list(judged.class_names).index(name) for name in judged.malignant]
        positive = np.isin(labels, chosen)
        known = judged.scores
        scores = probabilities[:, chosen].sum(axis=1) if known is None else known[inside]
        points = {}
        if judged.threshold is not None:
            points["point"] = {"threshold": judged.threshold, "target": {}}
        binary = malignant_figures(positive, scores, groups, points, **options)
        result |= {"malignant": int(positive.sum()), "malignant_auc": binary["auc"]}
        if points:
            point = binary["operating_points"]["point"]
            result |= {name: point[name] for name in ("sensitivity", "specificity")}
    return result | {"warning": _warning(result)}


def _warning(figures: Mapping[str, Any]) -> str:
    if figures["groups"] < FEW_GROUPS:
        return f"only {figures['groups']} groups: too few"
    malignant = figures["malignant"]
    if malignant is None:
        return ""
    for count, kind in ((malignant, "malignant"), (figures["images"] - malignant, "benign")):
        if count < FEW_OF_A_KIND:
            return f"only {count} {kind} images: too few"
    return ""
