"""A run's model on the images of a split: logits, probabilities, tables."""

from collections.abc import Sequence

import keras
import numpy as np
import pandas as pd

from tfskin.datasets.folds import fold_number
from tfskin.datasets.shards import Shards, load_shards
from tfskin.datasets.splits_file import SPLITS
from tfskin.datasets.words import find_near_spellings, forbidden_in_name
from tfskin.errors import UserError, nearest_hint
from tfskin.evaluation.decision import decide
from tfskin.evaluation.predictions import ID_COLUMNS, Predictions
from tfskin.files import is_formula
from tfskin.inputs import (
    InputOptions,
    average_window_logits,
    count_windows,
    damage_named,
    make_dataset,
    read_labels,
)
from tfskin.runs import Run, RunInputs
from tfskin.schema import ExternalConfig


def check_class_names(names: list[str]) -> None:
    """Refuse class names that can't be told apart, or that a table of predictions can't hold.

    Raises:
        UserError: names the class.
    """
    for one, other in find_near_spellings(names):
        raise UserError(
            f"data.classes: '{one}' and '{other}' differ in case, blanks or Unicode form alone; "
            f"join them, such as data.classes={{{one}: [{one}, {other}], ...}}, or prepare anew"
        )
    for name in names:
        if what := forbidden_in_name(name):
            raise UserError(f"data.classes: {name!r} holds {what}; give the class another name")
        if name in (*ID_COLUMNS, "path", "predicted", "probability", "error"):
            raise UserError(
                f"data.classes: '{name}' is a column of every table of predictions; give the "
                f"class another name, such as data.classes={{my_{name}: [{name}], ...}}"
            )
        if is_formula(name):
            raise UserError(
                f"data.classes: '{name}' would be a formula in a spreadsheet; give the class "
                "another name"
            )


def run_classes(run: Run) -> dict[str, list[str]]:
    """Class -> diagnoses in it, of a run."""
    return run.inputs().classes or {name: [name] for name in run.class_names()}


def input_options(inputs: RunInputs, *, batch_size: int = 64) -> InputOptions:
    """How a run's model is fed when it is judged."""
    return InputOptions(
        image_size=inputs.image_size,
        resize=inputs.resize,
        batch_size=batch_size,
        classes=inputs.classes,
        windows=inputs.windows,
    )


def predict_logits(
    model: keras.Model, shards: Shards, split: str, inputs: RunInputs, *, batch_size: int = 64
) -> np.ndarray:
    """(N, C) float32 logits of a split, in file order.

    For a run that was trained on windows, those whose softmax is the mean of the windows' own.
    """
    options = input_options(inputs, batch_size=batch_size)
    with damage_named(shards, split):
        logits = model.predict(make_dataset(shards, split, options=options), verbose=0)
        if inputs.windows is None:
            return logits
        return average_window_logits(logits, count_windows(shards, split, options=options))


def read_images(
    shards: Shards, split: str, inputs: RunInputs, rows: Sequence[int] | np.ndarray
) -> np.ndarray:
    """(n, H, W, 3) float32 images of some rows of ``read_labels``, in the order of ``rows``."""
    wanted = {int(row): place for place, row in enumerate(rows)}
    found = np.zeros((len(wanted), *inputs.image_size, 3), np.float32)
    last, start = max(wanted, default=-1), 0
    with damage_named(shards, split):
        for images, _ in make_dataset(shards, split, options=input_options(inputs)):
            inside = [row for row in wanted if start <= row < start + len(images)]
            if inside:
                batch = images.numpy()
                for row in inside:
                    found[wanted[row]] = batch[row - start]
            start += len(images)
            if start > last:
                break
    return found


def check_logits(logits: np.ndarray, facts: pd.DataFrame, where: str) -> None:
    """Refuse a model that gives no numbers.

    Raises:
        UserError: names the first image with a logit that is not finite.
    """
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        bad = facts["image_id"].iloc[int(np.argmin(finite))]
        raise UserError(
            f"{where}: the model gives no number (NaN or infinity) for image '{bad}' and "
            f"{int((~finite).sum()) - 1} more; train it again, with a lower train.learning_rate "
            "or train.precision=float32"
        )


def load_run_shards(run: Run) -> Shards:
    """The shards that a run was trained on.

    Raises:
        UserError: they are gone, or their content changed.
    """
    inputs = run.inputs()
    shards = load_shards(inputs.shards, exclude=inputs.exclude, fold=inputs.fold)
    if shards.fingerprint != inputs.fingerprint:
        raise UserError(
            f"{inputs.shards}: has changed since {run.folder} was trained (another content "
            "fingerprint); prepare the same data again, or train anew"
        )
    return shards


def own_logits(
    run: Run, model: keras.Model, shards: Shards, batch_size: int
) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """Split -> facts and logits, for every split that has images."""
    inputs, found = run.inputs(), {}
    for split in SPLITS:
        facts = read_labels(shards, split, inputs.classes)
        if len(facts):
            logits = predict_logits(model, shards, split, inputs, batch_size=batch_size)
            check_logits(logits, facts, f"{run.folder} on {split}")
            found[split] = (facts, logits)
    return found


def external_parts(shards: Shards, external: ExternalConfig) -> list[str]:
    """The parts of another data set that are read; the folds of one are its train and val.

    Raises:
        UserError: of shards that hold folds, one of train and val is asked for without the other.
    """
    folds = [part for part in shards.counts if fold_number(part) is not None]
    dealt = [split for split in external.splits if split in ("train", "val")]
    if not folds or not dealt:
        return list(external.splits)
    if len(set(dealt)) == 1:
        raise UserError(
            f"{external.shards}: train and val are dealt into folds there, so {dealt[0]} can't be "
            "told apart; name both in splits, or neither"
        )
    return [*folds, *(split for split in external.splits if split not in dealt)]


def external_predictions(
    run: Run,
    model: keras.Model,
    shards: Shards,
    external: ExternalConfig,
    *,
    malignant: Sequence[str] = (),
    batch_size: int = 64,
) -> Predictions:
    """The chosen splits of another data set, with the run's classes folded.

    The malignant score is that of the run's own classes, before they are folded: its thresholds
    were chosen for it.

    Args:
        run: a finished run.
        model: of the run.
        shards: of the other data set.
        external: its splits, its classes, and which of the run's are folded into them.
        malignant: those of its classes that are malignant; empty where that is not known.
        batch_size: images a step.

    Raises:
        UserError: no image of these classes, a class to fold that the run does not have, or as
            :func:`external_parts`.
    """
    own, names = run.class_names(), list(external.classes)
    weights = _fold_matrix(own, external)
    inputs = run.inputs().model_copy(update={"classes": external.classes})
    parts = []
    for split in external_parts(shards, external):
        facts = read_labels(shards, split, external.classes)
        if len(facts):
            logits = predict_logits(model, shards, split, inputs, batch_size=batch_size)
            parts.append((facts, logits))
    if not parts:
        raise UserError(f"{external.shards}: no image of these classes in {external.splits}")
    facts = pd.concat([part[0] for part in parts], ignore_index=True)
    logits = np.concatenate([part[1] for part in parts])
    check_logits(logits, facts, f"{run.folder} on {external.name}")
    answer = decide(logits, run.decision())
    folded = answer.probabilities @ weights
    return Predictions(
        split=external.name,
        facts=facts,
        class_names=names,
        logits=logits,
        probabilities=folded / folded.sum(axis=1, keepdims=True),
        malignant=malignant,
        scores=answer.malignancy,
    )


def _fold_matrix(own: list[str], external: ExternalConfig) -> np.ndarray:
    """(classes of the run, classes of the other data set): 1 where one is folded into the other."""
    weights = np.zeros((len(own), len(external.classes)))
    for column, name in enumerate(external.classes):
        for member in external.fold[name]:
            if member not in own:
                hint = nearest_hint(member, own)
                raise UserError(f"fold.{name}: the run has no class '{member}'{hint}")
            weights[own.index(member), column] = 1
    return weights
