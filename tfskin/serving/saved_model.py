"""A trained model as one SavedModel that TensorFlow Serving loads."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfskin
from tfskin.ensembling import as_float32, computes_in_float32
from tfskin.errors import UserError
from tfskin.evaluation.calibration import Calibration
from tfskin.files import replace_folder
from tfskin.inputs import Sample
from tfskin.locks import only_writer
from tfskin.runs import first_not_finite
from tfskin.serving.checks import check_companions, check_export
from tfskin.serving.graph import GraphOptions, Served, make_signatures
from tfskin.serving.model_card import ModelFacts, write_licenses, write_model_card
from tfskin.serving.surroundings import MODELS_FILE, list_models, write_surroundings
from tfskin.serving.versions import next_version
from tfskin.serving.warm_up import write_warm_up

_ATTEMPTS = 20


@dataclass(frozen=True)
class ExportOptions:
    """Where a SavedModel goes and what it does besides the network."""

    graph: GraphOptions
    output_dir: Path | str
    name: str
    version: int | None = None
    """TensorFlow Serving's number of the model; none for the next free one."""
    facts: ModelFacts | None = None
    """What the model card says; none for a card without figures."""


def export_saved_model(
    model: keras.Model, *, options: ExportOptions, samples: Sequence[Sample]
) -> Path:
    """The folder ``<output_dir>/<name>/<version>`` of a new SavedModel, checked before it appears.

    Its signatures are those of :func:`tfskin.serving.graph.make_signatures`. Mixed-precision
    models are rebuilt in float32. The folder also holds ``assets/class_names.txt`` and, under
    ``assets.extra``, warm-up requests, ``export.json``, ``MODEL_CARD.md`` and ``LICENSES.md``.
    Around it, ``README.md``, ``models.config`` and ``batching.config`` say how to serve it. A
    version appears whole and is never overwritten.

    Args:
        model: float32 (N, h, w, 3) in 0..255 to the output of its layer "logits".
        options: names, sizes and place.
        samples: encoded images, at least one of them readable, for comparing the SavedModel
            with ``model`` and for the warm-up requests.

    Raises:
        UserError: another process exports under this name; a weight is no number; the version
            exists; no sample can be read; the model's predictions change
            with the other images of a batch; the SavedModel differs from the model by more than
            ``MAX_DIFFERENCE``. Nothing is left behind.
    """
    _check_options(model, options)
    if name := first_not_finite(model):
        raise UserError(f"{options.name}: {name} is no number (NaN or infinity); train it again")
    exported = as_float32(model)
    encoded = [sample.data for sample in samples]
    check_companions(exported, encoded, options=options.graph, name=options.name)
    # A mixed-precision model differs from its rebuild by the rounding of half precision.
    reference = model if computes_in_float32(model) else exported
    if options.graph.float16_weights:
        exported = reference = _round_weights(exported)
    with only_writer(Path(options.output_dir) / options.name):
        for _ in range(_ATTEMPTS if options.version is None else 1):
            folder = _version_folder(options)
            try:
                written = _write_version(exported, reference, folder, options, samples)
            except FileExistsError:
                continue
            write_surroundings(Path(options.output_dir), options.name, **written)
            return folder
    raise UserError(f"{folder}: exists already; choose another version")


def _write_version(
    model: keras.Model,
    reference: keras.Model,
    folder: Path,
    options: ExportOptions,
    samples: Sequence[Sample],
) -> dict[str, Any]:
    """What :func:`write_surroundings` has to say of the version that was written."""
    graph = replace(options.graph, model_version=int(folder.name))
    created = [parent for parent in (folder.parent, *folder.parents[1:]) if not parent.exists()]
    encoded = [sample.data for sample in samples]
    try:
        with replace_folder(folder) as temporary:
            signatures = _write(model, temporary, graph)
            checked = check_export(temporary, reference, encoded, options=graph, name=options.name)
            readable = [encoded[row] for row in checked.readable]
            write_warm_up(temporary, readable, name=options.name, signatures=signatures)
            description = _describe(options.name, graph, signatures, checked.difference)
            _write_json(temporary / "assets.extra" / "export.json", description)
            facts = options.facts or ModelFacts(title=options.name)
            write_model_card(temporary / "assets.extra" / "MODEL_CARD.md", facts, description)
            write_licenses(temporary / "assets.extra" / "LICENSES.md", facts, samples)
    except BaseException:
        for parent in created:
            if parent.exists() and not any(parent.iterdir()):
                parent.rmdir()
        raise
    return {"description": description, "outputs": checked.outputs, "example": readable[0]}


def _check_options(model: keras.Model, options: ExportOptions) -> None:
    if not options.name or Path(options.name).name != options.name:
        raise UserError(f"'{options.name}': a model's name is one folder name, without slashes")
    if options.version is not None and options.version < 1:
        raise UserError(f"version {options.version}: a version is a whole number from 1")
    list_models(Path(options.output_dir) / MODELS_FILE)  # refused before anything is written
    layer = getattr(model.outputs[0], "_keras_history", (None,))[0]
    if len(model.outputs) != 1 or getattr(layer, "name", None) != "logits":
        raise ValueError("the model's one output must be its layer 'logits'")
    classes, names = model.outputs[0].shape[-1], options.graph.decision.class_names
    if classes != len(names):
        raise UserError(
            f"{options.name}: the model has {classes} outputs, but {len(names)} "
            f"class names were given ({', '.join(names)})"
        )


def _version_folder(options: ExportOptions) -> Path:
    parent = Path(options.output_dir) / options.name
    if parent.exists() and not parent.is_dir():
        raise UserError(f"{parent}: is a file; choose another output folder or name")
    version = next_version(parent) if options.version is None else options.version
    return parent / str(version)


def _round_weights(model: keras.Model) -> keras.Model:
    """A copy whose float32 weights hold what float16 can hold of them."""
    copy = as_float32(model)
    weights = [
        weight.astype(np.float16).astype(np.float32) if weight.dtype == np.float32 else weight
        for weight in model.get_weights()
    ]
    copy.set_weights(weights)
    return copy


def _write(model: keras.Model, folder: Path, options: GraphOptions) -> list[str]:
    """The names of the signatures of the SavedModel that is written to ``folder``."""
    served = Served(model, options)
    functions = make_signatures(served)
    archive = keras.export.ExportArchive()
    for name, function in functions.items():
        function.get_concrete_function()
        archive.add_endpoint(name, function)
    with _quiet_tensorflow():
        archive.write_out(str(folder), verbose=False)
    (folder / "assets").mkdir(exist_ok=True)
    text = "".join(f"{name}\n" for name in options.decision.class_names)
    (folder / "assets" / "class_names.txt").write_text(text, encoding="utf-8")
    return list(functions)


def _describe(
    name: str, options: GraphOptions, signatures: Sequence[str], difference: float
) -> dict[str, Any]:
    """What ``export.json`` says about a SavedModel to people and tools."""
    decision = options.decision
    return {
        "name": name,
        "version": options.model_version,
        "class_names": list(decision.class_names),
        "image_size": list(options.image_size),
        "resize": options.resize,
        "temperature": decision.temperature,
        "calibration": (decision.calibration or Calibration()).method,
        "malignant": list(decision.malignant),
        "thresholds": decision.levels,
        "conformal_coverage": decision.conformal.coverage if decision.conformal else None,
        "test_time_augmentation": options.test_time_augmentation,
        "float16_weights": options.float16_weights,
        "max_pixels": options.max_pixels,
        "signatures": list(signatures),
        "max_difference_from_keras": difference,
        "tfskin": tfskin.__version__,
        "tensorflow": tf.__version__,
    }


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


@contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Keeps TensorFlow's "Assets written to" off the terminal."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)
