"""How a model does on parts of the images: age, sex, site, skin type, source, artefacts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import pandas as pd

from tfskin.datasets.artefacts import DETECTORS
from tfskin.evaluation.binary import score_metrics
from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.intervals import metric_intervals
from tfskin.evaluation.metric_table import metrics_shown
from tfskin.evaluation.predictions import Predictions

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


def subgroup_metrics(
    predictions: Predictions, bootstrap: Bootstrap, *, threshold: float | None = None
) -> dict[str, Any]:
    """Heading -> ``{"recorded", "groups": {value: metrics}}`` for all that subgroups are made of.

    ``recorded`` is false where the shards lack the column, or it is empty for every image; then
    there are no groups. An image without a value is in the group "unknown". Artefacts are the
    columns of :data:`ARTEFACTS`; ``any artefact`` is present where one of them is.

    Of a group there are ``images``, ``groups``, ``malignant`` (images, None where unknown), every
    metric that the table of metrics shows for subgroups, with its interval (None for those of the
    malignant score where that is not known, and for those of an operating point without a
    threshold), and ``warning``: why the group is too small to say anything, or empty.

    Args:
        predictions: whose facts hold whatever columns are recorded.
        bootstrap: how the intervals are made.
        threshold: of the malignant score, for sensitivity and specificity; None without one.
    """
    found: dict[str, Any] = {}
    for heading, values in _columns(predictions.facts).items():
        if values is None:
            found[heading] = {"recorded": False, "groups": {}}
            continue
        names = [name for name in dict.fromkeys(_sorted(values)) if name]
        found[heading] = {
            "recorded": True,
            "groups": {
                name: _metrics(predictions.take(values == name), bootstrap, threshold)
                for name in names
            },
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


def _metrics(
    predictions: Predictions, bootstrap: Bootstrap, threshold: float | None
) -> dict[str, Any]:
    found = metric_intervals(predictions, bootstrap)
    found |= score_metrics(predictions, bootstrap, threshold=threshold)
    known = predictions.malignant_scores is not None
    result = {
        "images": len(predictions),
        "groups": found["groups"],
        "malignant": int(predictions.positive.sum()) if known else None,
        **{metric.name: found[metric.name] for metric in metrics_shown("subgroups")},
    }
    return result | {"warning": _warning(result)}


def _warning(found: Mapping[str, Any]) -> str:
    if found["groups"] < FEW_GROUPS:
        return f"only {found['groups']} groups: too few"
    malignant = found["malignant"]
    if malignant is None:
        return ""
    for count, kind in ((malignant, "malignant"), (found["images"] - malignant, "benign")):
        if count < FEW_OF_A_KIND:
            return f"only {count} {kind} images: too few"
    return ""
