"""A run -> what is served."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tfskin.datasets.folds import fold_number
from tfskin.datasets.shards import Shards
from tfskin.errors import UserError
from tfskin.evaluation.predictions import headline_split
from tfskin.experiment.lineage import describe_overlap, run_overlap
from tfskin.experiment.run_predictions import load_run_shards
from tfskin.experiment.sections.summary import member_names
from tfskin.inputs import count_images, read_labels, read_samples
from tfskin.runs import Run, open_run
from tfskin.serving.graph import GraphOptions
from tfskin.serving.model_card import ModelFacts
from tfskin.serving.options import ExportFormat, ServingOptions
from tfskin.serving.runtimes import RuntimeExport, export_runtime
from tfskin.serving.saved_model import ExportOptions, export_saved_model

CHECKED_IMAGES = 16


def export(
    run: Run | Path | str,
    *,
    output: Path | str = "exports",
    name: str | None = None,
    version: int | None = None,
    options: ServingOptions | None = None,
    format: ExportFormat = "saved_model",
) -> Path:
    """The folder ``<output>/<name>/<version>`` of a SavedModel for TensorFlow Serving.

    Its serving signature takes encoded JPEG, PNG, GIF or BMP bytes and returns class names,
    probabilities, what the run's ``decision.json`` makes of them, and whether each image could
    be read. Images of the run's shards go through it and through the Keras model before it is
    put in place. ``<output>/<name>/README.md`` says how it is served and asked.

    Args:
        run: a finished run directory.
        output: the folder of all exports.
        name: the model's name; the run's unless given.
        version: the version; the next free number unless given.
        options: augmentation in the graph, size of the weights.
        format: ``onnx`` or ``litert`` for the file ``<output>/<name>.onnx`` or ``.tflite`` in place
            of the folder; see :func:`tfskin.serving.runtimes.export_runtime`.

    Raises:
        UserError: not a run, a run on windows, the version is there already, the probabilities
            differ by more than 1e-5, or depend on what else is in the batch.

    Example:
        >>> folder = tfskin.export("runs/first", output="exports")
        >>> (folder / "saved_model.pb").is_file()
        True
    """
    run = run if isinstance(run, Run) else open_run(run)
    if run.inputs().windows is not None:
        raise UserError(
            f"{run.folder}: was trained on windows (data.windows), but what is served sees whole "
            "images; predict from the run itself, or train without windows"
        )
    name = check_export_name(name or run.name, given=name is not None)
    shards = load_run_shards(run)
    samples = read_samples(shards, limit=CHECKED_IMAGES)
    if format != "saved_model":
        if version is not None:
            raise UserError("--version: only a SavedModel has versions")
        runtime = RuntimeExport(read_graph_options(run, options), Path(output), name, format)
        return export_runtime(run.load_model(), options=runtime, samples=samples)
    export_options = ExportOptions(
        graph=read_graph_options(run, options),
        output_dir=Path(output),
        name=name,
        version=version,
        facts=read_facts(run, shards),
    )
    return export_saved_model(run.load_model(), options=export_options, samples=samples)


def check_export_name(name: str, *, given: bool = True) -> str:
    """The name of a model, refused where it could leave its folder."""
    if given and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UserError(f"--name '{name}': must be letters, digits, '.', '_' and '-'")
    return name


def read_graph_options(run: Run, options: ServingOptions | None = None) -> GraphOptions:
    """How a run's served graph prepares images and turns logits into decisions."""
    options = options or ServingOptions()
    inputs = run.inputs()
    chosen = {} if options.max_pixels is None else {"max_pixels": options.max_pixels}
    return GraphOptions(
        image_size=inputs.image_size,
        decision=run.decision(),
        resize=inputs.resize,
        test_time_augmentation=options.test_time_augmentation,
        float16_weights=options.float16_weights,
        member_names=tuple(_member_names(run)),
        **chosen,
    )


def read_facts(run: Run, shards: Shards) -> ModelFacts:
    """What a run knows of its model, for the model card."""
    metrics = run.metrics() if run.finished else {"splits": {}}
    split = headline_split(metrics["splits"]) if metrics["splits"] else ""
    classes = run.inputs().classes
    # Members that held out different folds were taught by all of them.
    taught = [part for part in shards.counts if part == "train" or fold_number(part) is not None]
    return ModelFacts(
        title=run.name,
        data=f"{shards.name} {shards.version}",
        fingerprint=shards.fingerprint,
        images={part: count_images(shards, part, classes) for part in shards.counts},
        classes=classes,
        split=split,
        figures=metrics["splits"].get(split, {}),
        combination=metrics.get("combination", ""),
        members=_member_names(run),
        licenses=_count_licenses(shards, taught, classes),
        overlap=describe_overlap(run_overlap(run) or {}),
    )


def _count_licenses(
    shards: Shards, parts: Sequence[str], classes: dict[str, list[str]] | None
) -> dict[str, int]:
    """Licence -> number of images of some parts that are in a class; "" where it is unknown."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(read_labels(shards, part, classes)["license"])
    return dict(sorted(counts.items()))


def _member_names(run: Run) -> list[str]:
    return member_names(run.metrics()) if run.finished else []
