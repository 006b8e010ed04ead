"""A run -> a SavedModel; a run or a SavedModel and pictures -> predictions."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tfskin.annotation import write_annotated
from tfskin.errors import UserError
from tfskin.experiment.evaluation_run import load_run_shards
from tfskin.inputs import read_encoded
from tfskin.prediction import (
    Predictor,
    find_images,
    keras_predictor,
    predict_images,
    predictions_table,
    saved_model_predictor,
    write_predictions_csv,
)
from tfskin.runs import Run, open_run
from tfskin.serving.saved_model import ExportOptions, export_saved_model

CHECKED_IMAGES = 16


def export(
    run: Run | Path | str,
    *,
    output: Path | str = "exports",
    name: str | None = None,
    version: int | None = None,
) -> Path:
    """The folder ``<output>/<name>/<version>`` of a SavedModel for TensorFlow Serving.

    Its serving signature takes encoded JPEG or PNG bytes and returns class names, probabilities
    and whether each picture could be read. Pictures of the run's shards go through it and through
    the Keras model before it is put in place.

    Args:
        run: a finished run directory.
        output: the folder of all exports.
        name: the model's name; the run's unless given.
        version: the version; the next free number unless given.

    Raises:
        UserError: not a run, the version is there already, the probabilities differ by more than
            1e-5, or depend on what else is in the batch.

    Example:
        >>> folder = tfskin.export("runs/first", output="exports")
        >>> (folder / "saved_model.pb").is_file()
        True
    """
    run = run if isinstance(run, Run) else open_run(run)
    inputs = run.inputs()
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"--name '{name}': must be letters, digits, '.', '_' and '-'")
    options = ExportOptions(
        class_names=run.class_names(),
        image_size=inputs.image_size,
        resize=inputs.resize,
        temperature=run.decision()["temperature"],
        output_dir=Path(output),
        name=name or run.name,
        version=version,
    )
    images = read_encoded(load_run_shards(run), limit=CHECKED_IMAGES)
    return export_saved_model(run.load_model(), options=options, check_images=images)


def predict(
    target: Run | Path | str,
    images: Sequence[Path | str],
    *,
    output: Path | str | None = None,
    annotate: Path | str | None = None,
    batch_size: int = 32,
) -> pd.DataFrame:
    """One row a picture: path, predicted class, its probability, one column per class, error.

    A picture that cannot be read has a reason in ``error`` and no probabilities; it never stops
    the others.

    Args:
        target: a run directory or a SavedModel folder.
        images: files, folders or glob patterns.
        output: a CSV to write.
        annotate: a folder for the pictures with their class probabilities drawn beside them.
        batch_size: pictures a step.

    Raises:
        UserError: the target is neither a run nor a SavedModel, or no picture was found.

    Example:
        >>> table = tfskin.predict("runs/first", ["lesion.jpg"])
        >>> list(table.columns)[:3]
        ['path', 'predicted', 'probability']
    """
    predictor = load_predictor(target)
    paths = find_images(images)
    if output is not None and Path(output).resolve() in {path.resolve() for path in paths}:
        raise UserError(f"{output}: is one of the pictures; give --output another name")
    if output is not None and Path(output).is_dir():
        raise UserError(f"{output}: is a folder; --output names a CSV file")
    rows = list(predict_images(predictor, paths, batch_size=batch_size))
    if annotate is not None:
        write_annotated(rows, annotate)
    table = predictions_table(rows, class_names=predictor.class_names)
    if output is not None:
        write_predictions_csv(table, output)
    return table


def load_predictor(target: Run | Path | str) -> Predictor:
    """What classifies encoded pictures, from a run or from a SavedModel folder."""
    if isinstance(target, Run) or (Path(target) / "inputs.json").is_file():
        run = target if isinstance(target, Run) else open_run(target)
        inputs = run.inputs()
        return keras_predictor(
            run.load_model(),
            class_names=run.class_names(),
            image_size=inputs.image_size,
            resize=inputs.resize,
            temperature=run.decision()["temperature"],
        )
    if not Path(target).is_dir():
        raise UserError(f"{target}: no such folder; give a run or a SavedModel")
    return saved_model_predictor(Path(target))
