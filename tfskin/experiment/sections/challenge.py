"""Section: the submission to an ISIC challenge, and its official score."""

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
from tfskin.evaluation.report import Block, Paragraph, Table
from tfskin.experiment.sections.base import Evaluation, ReportSection
from tfskin.files import replace_file


class ChallengeSection(ReportSection):
    """The official score of a challenge, where one was asked for."""

    heading = "Challenge"

    def applies(self, evaluation: Evaluation) -> bool:
        """Only if it is asked for."""
        return evaluation.challenge is not None

    def compute(self, evaluation: Evaluation) -> dict[str, Any]:
        """``challenge``: the score; submission and truth are written to ``<folder>/challenge``."""
        if evaluation.challenge is None:
            return {}
        found = write_challenge(
            evaluation.challenge,
            evaluation.headline,
            evaluation.classes,
            evaluation.folder / "challenge",
        )
        return {"challenge": found}

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """The score in a sentence, and a row a category."""
        found = metrics["challenge"]
        text = (
            f"ISIC {found['year']}, {found['metric'].replace('_', ' ')}: {found['score']:.4f} on "
            f"{found['images']} images, which are not the challenge's own test set unless the "
            f"shards hold it. The submission is challenge/{found['submission']}."
        )
        if found["columns_without_a_class"]:
            text += f" The model has no class for {', '.join(found['columns_without_a_class'])}."
        blocks: list[Block] = [Paragraph(text=text)]
        if found["per_category"]:
            names = list(next(iter(found["per_category"].values())))
            blocks.append(
                Table(
                    caption="As the official scorer gives them",
                    headings=["Category", *(name.replace("_", " ") for name in names)],
                    rows=[[name, *of.values()] for name, of in found["per_category"].items()],
                )
            )
        return blocks


def write_challenge(
    year: Challenge,
    predictions: Predictions,
    classes: Mapping[str, Sequence[str]],
    folder: Path,
) -> dict[str, Any]:
    """The official score of predictions: ``{"year", "metric", "score", "submission", ...}``.

    Writes ``<folder>/submission_<year>.csv``, with every digit, so that no ties are made, and
    ``truth_<year>.csv`` in the same columns, on which other scorers can be run.

    Args:
        year: of the challenge.
        predictions: of the images that are submitted.
        classes: class -> diagnoses in it.
        folder: where both files go.

    Raises:
        UserError: classes that the challenge does not have, or truth of one kind only.
    """
    columns = match_classes(year, classes, predictions.malignant)
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
