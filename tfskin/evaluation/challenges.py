"""The ISIC challenges: submission files in their format, and their official scores.

======  ==================================================  ======================================
year    submission                                          score
======  ==================================================  ======================================
2018    task 3: image, MEL, NV, BCC, AKIEC, BKL, DF, VASC   balanced accuracy, ties counted wrong
2019    image, MEL, NV, BCC, AK, BKL, DF, VASC, SCC, UNK    balanced accuracy, ties counted wrong
2020    image_name, target (of melanoma)                    AUC
2024    isic_id, target (of malignancy)                     partial AUC above 80 % sensitivity
======  ==================================================  ======================================

2018 and 2019 are scored as the package ``isic-challenge-scoring`` (version 5.6.0) does, 2024 as
its organisers' Kaggle notebook does. A class without an image in the truth is left out of a
balanced accuracy, as that package does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from tfskin.errors import UserError
from tfskin.evaluation.diagnoses import challenge_class
from tfskin.evaluation.metric_table import PARTIAL_FROM
from tfskin.evaluation.sums import Floats

Challenge = Literal["2018", "2019", "2020", "2024"]
YEARS: tuple[Challenge, ...] = get_args(Challenge)

CLASSES: dict[str, tuple[str, ...]] = {
    "2018": ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"),
    "2019": ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"),
}
# What a diagnosis is called in the year's table; 2018 has no class of its own for SCC.
RENAMED: dict[str, dict[str, str]] = {"2018": {"AK": "AKIEC"}, "2019": {}}
ID_COLUMNS = {"2018": "image", "2019": "image", "2020": "image_name", "2024": "isic_id"}
METRICS = {
    "2018": "balanced_accuracy",
    "2019": "balanced_accuracy",
    "2020": "auc",
    "2024": "partial_auc",
}


def submission_table(
    year: Challenge,
    image_ids: Sequence[str],
    probabilities: Floats,
    columns: Mapping[str, Sequence[str]],
    class_names: Sequence[str],
) -> pd.DataFrame:
    """The submission of a challenge: one row an image, in the columns that the year asks for.

    Args:
        year: of the challenge.
        image_ids: N names.
        probabilities: (N, C) floats.
        columns: column of the challenge -> classes whose probabilities are added, as
            :func:`match_classes` returns it.
        class_names: C names.
    """
    place = list(class_names)
    table = pd.DataFrame({ID_COLUMNS[year]: list(image_ids)})
    for column, members in columns.items():
        own = probabilities[:, [place.index(name) for name in members]].sum(axis=1)
        table[column] = np.clip(own, 0, 1)
    return table


def match_classes(
    year: Challenge, classes: Mapping[str, Sequence[str]], malignant: Sequence[str] | None
) -> dict[str, list[str]]:
    """Column of the challenge -> the classes that belong to it.

    Args:
        year: of the challenge.
        classes: class -> diagnoses in it.
        malignant: the malignant classes; None where they are not known. Needed for 2024.

    Raises:
        UserError: a class that is none of the challenge's (2018), that is of two of them, a model
            without a melanoma class (2020), or malignant classes that are not known (2024).
    """
    if year == "2024":
        if not malignant:
            raise UserError(
                "--challenge 2024: which classes are malignant is not known; name them in "
                "evaluate.malignant"
            )
        return {"target": list(malignant)}
    found = {name: _find_column(year, name, diagnoses) for name, diagnoses in classes.items()}
    if year == "2020":
        melanoma = [name for name, column in found.items() if column == "MEL"]
        if not melanoma:
            raise UserError(
                f"--challenge 2020: no class of {list(classes)} is melanoma, which is its target"
            )
        return {"target": melanoma}
    columns: dict[str, list[str]] = {column: [] for column in CLASSES[year]}
    for name, column in found.items():
        if column not in columns and "UNK" not in columns:
            raise UserError(
                f"--challenge {year}: class '{name}' is none of {', '.join(CLASSES[year])}; leave "
                "it out with data.classes, or judge on another challenge"
            )
        columns[column if column in columns else "UNK"].append(name)
    return columns


def score_submission(
    year: Challenge, submission: pd.DataFrame, truth: pd.DataFrame
) -> dict[str, Any]:
    """The official score of a submission, and for 2018 and 2019 what is reported beside it.

    Args:
        year: of the challenge.
        submission: as :func:`submission_table` returns it, or as read from a file.
        truth: the same columns; 1 for the true class (2018, 2019), 1 or 0 as ``target``.

    Returns:
        ``{"metric", "score"}``; for 2018 and 2019 also ``per_category`` (accuracy, sensitivity,
        specificity, dice, ppv, npv of a probability above 0.5; auc, auc_sens_80, ap).

    Raises:
        UserError: missing or additional images or columns, values that are not within 0 and 1,
            a truth of one kind only.
    """
    key = ID_COLUMNS[year]
    names = list(CLASSES.get(year, ("target",)))
    ours, theirs = _indexed(submission, key, names), _indexed(truth, key, names)
    if set(ours.index) != set(theirs.index):
        odd = sorted(set(ours.index) ^ set(theirs.index))[0]
        raise UserError(f"image '{odd}' is in only one of submission and truth; give the same")
    values = ours.loc[theirs.index].to_numpy(np.float64)
    true = theirs.to_numpy(np.float64) > 0.5
    if year in CLASSES:
        score = _balanced_accuracy(true, values)
        return {
            "metric": METRICS[year],
            "score": score,
            "per_category": {
                name: _category(true[:, c], values[:, c]) for c, name in enumerate(names)
            },
        }
    positive, scores = true[:, 0], values[:, 0]
    if positive.all() or not positive.any():
        raise UserError(f"--challenge {year}: its score needs images with target 0 and with 1")
    found = _auc(positive, scores) if year == "2020" else partial_auc(positive, scores)
    return {"metric": METRICS[year], "score": found}


def partial_auc(
    positive: npt.NDArray[np.bool_], scores: Floats, *, min_sensitivity: float = PARTIAL_FROM
) -> float:
    """The area below the ROC curve and above a sensitivity: 0 to 1 - ``min_sensitivity``.

    The 2024 definition: the ROC curve of turned labels and scores, up to a false positive rate of
    ``1 - min_sensitivity``, the last point interpolated.
    """
    from sklearn.metrics import auc, roc_curve

    limit = 1 - min_sensitivity
    false_rate, true_rate, _ = roc_curve(~positive, -scores)
    stop = int(np.searchsorted(false_rate, limit, "right"))
    last = np.interp(limit, false_rate[stop - 1 : stop + 1], true_rate[stop - 1 : stop + 1])
    return float(auc([*false_rate[:stop], limit], [*true_rate[:stop], last]))


def _find_column(year: Challenge, name: str, diagnoses: Sequence[str]) -> str | None:
    found = {challenge_class(diagnosis) for diagnosis in diagnoses} - {None}
    if not found:
        found = {challenge_class(name)}
    renamed = {RENAMED.get(year, {}).get(column or "", column) for column in found}
    if len(renamed) > 1 and year != "2020":
        raise UserError(
            f"--challenge {year}: class '{name}' joins diagnoses of {sorted(map(str, renamed))}; "
            "train with classes that keep them apart"
        )
    return renamed.pop() if len(renamed) == 1 else None


def _indexed(table: pd.DataFrame, key: str, names: Sequence[str]) -> pd.DataFrame:
    wanted = [key, *names]
    if set(table.columns) != set(wanted):
        raise UserError(f"columns {list(table.columns)}: expected {', '.join(wanted)}")
    found = table.set_index(key)[list(names)]
    if found.index.has_duplicates:
        raise UserError(f"image '{found.index[found.index.duplicated()][0]}' is there twice")
    values = found.to_numpy(np.float64)
    bad = ~(np.isfinite(values) & (values >= 0) & (values <= 1)).all(axis=1)
    if bad.any():
        raise UserError(f"image '{found.index[bad][0]}': values must be numbers from 0 to 1")
    return found


def _balanced_accuracy(true: npt.NDArray[np.bool_], values: Floats) -> float:
    highest = values.max(axis=1, keepdims=True)
    decided = (values == highest).sum(axis=1) == 1
    right = decided & true[np.arange(len(true)), values.argmax(axis=1)]
    counts = true.sum(axis=0)
    recalls = [right[true[:, c]].mean() for c in np.flatnonzero(counts)]
    return float(np.mean(recalls))


def _category(true: npt.NDArray[np.bool_], values: Floats) -> dict[str, float | None]:
    from sklearn.metrics import average_precision_score

    called = values > 0.5
    hits, alarms = int((true & called).sum()), int((~true & called).sum())
    misses, passes = int((true & ~called).sum()), int((~true & ~called).sum())
    one_sided = bool(true.all() or not true.any())
    return {
        "accuracy": (hits + passes) / len(true),
        "sensitivity": _or_one(hits, hits + misses),
        "specificity": _or_one(passes, passes + alarms),
        "dice": _or_one(2 * hits, 2 * hits + alarms + misses),
        "ppv": _or_one(hits, hits + alarms),
        "npv": _or_one(passes, passes + misses),
        "auc": None if one_sided else _auc(true, values),
        "auc_sens_80": None if one_sided else _auc_above(true, values),
        "ap": None if one_sided else float(average_precision_score(true, values)),
    }


def _or_one(part: int, whole: int) -> float:
    """The official package gives a share of nothing as 1."""
    return part / whole if whole else 1.0


def _auc(positive: npt.NDArray[np.bool_], scores: Floats) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, scores))


def _auc_above(positive: npt.NDArray[np.bool_], scores: Floats) -> float:
    """The area below the whole curve, to the right of where it reaches a sensitivity of 0.8."""
    from sklearn.metrics import auc, roc_curve

    false_rate, true_rate, _ = roc_curve(positive, scores, drop_intermediate=False)
    first = int(true_rate.searchsorted(PARTIAL_FROM, side="left"))
    start = np.interp(
        PARTIAL_FROM, true_rate[first - 1 : first + 1], false_rate[first - 1 : first + 1]
    )
    return float(auc([start, *false_rate[first:]], [PARTIAL_FROM, *true_rate[first:]]))
