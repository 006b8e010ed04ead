"""Section: the images that the model is most wrong about, explained."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfskin.evaluation.explanations import explain_images
from tfskin.evaluation.report import Block, Case, Paragraph
from tfskin.experiment.explaining import find_known, nearest_images, views_of
from tfskin.experiment.run_predictions import external_parts, read_images
from tfskin.experiment.sections.base import Evaluation, ReportSection
from tfskin.inputs import read_labels


class CaseSection(ReportSection):
    """The images whose own class was given the lowest probability, and why."""

    heading = "Hardest cases"

    def applies(self, evaluation: Evaluation) -> bool:
        """Unless explanations are turned off."""
        return evaluation.config.explained_images > 0

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """Each image with its explanations and the training images nearest to it."""
        cases, note = _explain_worst(evaluation)
        text = (
            f"The images of {evaluation.split} whose own class was given the lowest probability, "
            "and why the predicted class was chosen. Grad-CAM: bright where the network saw it. "
            "Integrated gradients: orange pixels speak for it, blue ones against. Beside them the "
            "training images that are nearest to it for the network (cosine of the features before "
            "the last layer)."
        )
        warning = [Paragraph(text=note, warning=True)] if note else []
        return [Paragraph(text=text), *warning, *cases]


def _explain_worst(evaluation: Evaluation) -> tuple[list[Case], str]:
    """The images of the highest log-loss with explanations, and what must be known of these."""
    run, headline, model = evaluation.run, evaluation.headline, evaluation.model
    names, own = headline.class_names, run.class_names()
    split, rows = _looked_at(evaluation)
    inputs = run.inputs()
    if evaluation.external is not None:
        inputs = inputs.model_copy(update={"classes": evaluation.external.classes})
    truth = headline.probabilities[rows, headline.labels[rows]]
    worst = rows[np.argsort(truth, kind="stable")][: evaluation.config.explained_images]
    images = read_images(evaluation.shards, split, inputs, worst)
    known, reason = find_known(run, model)
    found = explain_images(model, images, headline.known_logits[worst].argmax(axis=1))
    near = nearest_images(model, images, known)
    cases = []
    for n, row in enumerate(worst):
        label, chosen = headline.labels[row], headline.chosen[row]
        probabilities = headline.probabilities[row]
        cases.append(
            Case(
                heading=f"{headline.facts['image_id'].iloc[row]}: {names[label]}, "
                f"called {names[chosen]}",
                text=f"Probability of {names[label]}: {probabilities[label]:.3f}, of "
                f"{names[chosen]}: {probabilities[chosen]:.3f}.",
                images=[*views_of(images[n], found, n, own), *near[n]],
            )
        )
    return cases, " ".join(part for part in (found.note, reason) if part)


def _looked_at(evaluation: Evaluation) -> tuple[str, np.ndarray]:
    """The part of the shards that is looked at, and its rows among the predictions.

    Of another data set it is the first part that holds an image.
    """
    rows = np.arange(len(evaluation.headline))
    external, shards = evaluation.external, evaluation.shards
    if external is None:
        return evaluation.split, rows
    for part in external_parts(shards, external):
        count = len(read_labels(shards, part, external.classes))
        if count:
            return part, rows[:count]
    raise ValueError(f"{external.shards}: no image in {external.splits}")
