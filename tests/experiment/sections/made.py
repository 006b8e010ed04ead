"""Evaluations made of numbers alone, without a run, shards or a model."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from tfskin.evaluation.decision import Decision
from tfskin.evaluation.predictions import Predictions
from tfskin.experiment.sections.base import Evaluation
from tfskin.runs import Run
from tfskin.schema import EvaluateConfig

SMALL = EvaluateConfig(resamples=100, reliance_images=0, explained_images=0)


def made_predictions(
    names: list[str], *, labels=None, probabilities=None, groups=None, facts=None, images=24
) -> Predictions:
    """Predictions of random probabilities, the first class being malignant."""
    labels = np.arange(images) % len(names) if labels is None else np.asarray(labels)
    images = len(labels)
    if probabilities is None:
        probabilities = np.random.default_rng(0).dirichlet(np.ones(len(names)), images)
    table = pd.DataFrame(facts if facts is not None else {}, index=range(images))
    table["image_id"] = [f"ISIC_{number}" for number in range(images)]
    table["group"] = np.arange(images) if groups is None else groups
    table["label"] = labels
    return Predictions(
        facts=table,
        class_names=names,
        logits=np.log(probabilities),
        probabilities=probabilities,
        malignant=names[:1],
        scores=probabilities[:, 0],
    )


def made_evaluation(
    predictions: dict[str, Predictions], decision: Decision, *, folder: Path = Path("made")
) -> Evaluation:
    """An evaluation of a run that is nowhere."""
    nowhere: Any = None
    return Evaluation(
        run=Run(Path("made")),
        model=cast(Any, nowhere),
        shards=cast(Any, nowhere),
        predictions=predictions,
        decision=decision,
        config=SMALL,
        folder=folder,
    )
