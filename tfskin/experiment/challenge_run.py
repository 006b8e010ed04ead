"""Predictions of a run -> a challenge's submission file and its official score."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfskin.evaluation.challenges import (
    CLASSES,
    ID_COLUMNS,
    METRICS,
    Challenge,
    match_classes,
    score_submission,
    submission_table,
)
from tfskin.evaluation.predictions import Predictions
from tfskin.files import replace_file


def write_challenge(
    year: Challenge,
    predictions: Predictions,
    classes: Mapping[str, Sequence[str]],
    malignant: Sequence[str],
    folder: Path,
) -> dict[str, Any]:
    """The official score of predictions: ``{"year", "metric", "score", "submission", ...}``.

    Writes ``<folder>/submission_<year>.csv``, with every digit, so that no ties are made, and
    ``truth_<year>.csv`` in the same columns, on which other scorers can be run.

    Args:
        year: of the challenge.
        predictions: of the images that are submitted.
        classes: class -> diagnoses in it.
        malignant: the malignant classes; empty where that is not known.
        folder: where both files go.

    Raises:
        UserError: classes that the challenge does not have, or truth of one kind only.
    """
    columns = match_classes(year, classes, malignant)
    names, ids = predictions.class_names, predictions.facts["image_id"].tolist()
    submission = submission_table(year, ids, predictions.probabilities, columns, names)
    if year == "2024" and predictions.scores is not None:
        # The malignant score of an external data set is not the sum of its folded classes.
        submission["target"] = np.clip(predictions.scores, 0, 1)
    truth = submission_table(year, ids, np.eye(len(names))[predictions.labels], columns, names)
    score = score_submission(year, submission, truth)
    paths = {name: folder / f"{name}_{year}.csv" for name in ("submission", "truth")}
    for name, table in (("submission", submission), ("truth", truth)):
        _write(paths[name], table)
    missing = [c for c in CLASSES.get(year, ()) if not columns.get(c)]
    return {
        "year": year,
        "metric": METRICS[year],
        "images": len(ids),
        "image_column": ID_COLUMNS[year],
        "score": score["score"],
        "per_category": score.get("per_category"),
        "columns": columns,
        "columns_without_a_class": missing,
        "submission": paths["submission"].name,
    }


def _write(path: Path, table: pd.DataFrame) -> None:
    with replace_file(path) as temporary:
        table.to_csv(temporary, index=False)
