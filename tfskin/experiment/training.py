"""Shards and a config -> a trained run directory."""

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from tfskin.config import QUICKSTART, describe_difference, dump_config, read_config
from tfskin.datasets.shards import Shards
from tfskin.ensembling import as_float32, fit_temperature
from tfskin.errors import UserError
from tfskin.evaluation.decision import Decision
from tfskin.experiment.checking_batch_norm import recalibrate_run
from tfskin.experiment.evaluating import evaluate
from tfskin.experiment.fitting.features import feature_seconds
from tfskin.experiment.fitting.job import (
    check_same_job,
    find_shards_together,
    start_distribution,
)
from tfskin.experiment.fitting.network import build_network, check_parts, start_weights
from tfskin.experiment.fitting.stages import TrainingData, plan_stages
from tfskin.experiment.lineage import (
    describe_overlap,
    find_overlap,
    run_of_weights,
    taught_images,
    write_former,
)
from tfskin.experiment.run_predictions import check_class_names, predict_logits
from tfskin.files import write_json, write_text
from tfskin.inputs import (
    class_names,
    damage_named,
    describe_thin_classes,
    read_labels,
    records_order,
)
from tfskin.locks import only_writer
from tfskin.progress import silence
from tfskin.runs import (
    Run,
    RunInputs,
    check_removable,
    only_trainer,
    open_run,
    write_environment,
)
from tfskin.schema import ExperimentConfig
from tfskin.training.checkpoints import Checkpoint, FitState, read_checkpoint
from tfskin.training.fit import FitOptions, fit, stalled
from tfskin.training.replicas import Replicas
from tfskin.training.stages import Stage, list_tasks

logger = logging.getLogger(__name__)


def train(
    config: ExperimentConfig | None = None,
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
) -> Run:
    """Train an experiment, or continue its unfinished run, and return the finished run.

    Args:
        config: what to train; without it the quickstart's: a five-layer net on phantoms.
        output: the run directory; ``runs/<name>`` unless given.
        overwrite: start afresh where a run is there already.

    Raises:
        UserError: the shards are missing or leak, the config does not fit them, or another run
            is in the way.

    Example:
        >>> config = tfskin.read_config("five_layer_rgb.yaml", ["train.epochs=1"])
        >>> run = tfskin.train(config, output="runs/first")
        >>> run.finished
        True
    """
    config = config or read_config(QUICKSTART)
    run = Run(Path(output) if output else Path("runs") / config.name)
    if overwrite:
        check_removable(run.folder)
    elif _is_done(run, config):
        logger.info(f"{run.folder}: is finished; give --overwrite to train it again")
        return run
    distribution = start_distribution(config)
    start = time.monotonic()
    with silence(not distribution.is_chief), ExitStack() as held:
        if distribution.is_chief:
            held.enter_context(only_writer(run.folder))
        begun = _begin(run, config, distribution, overwrite=overwrite)
        if distribution.is_chief:
            # An old run is not removed before the new one is known to be possible.
            held.enter_context(only_trainer(run.folder, overwrite=overwrite))
            _write_facts(run, config, begun)
        distribution.wait_for_all()
        options, state = _fit_options(config, run, distribution), begun.state
        with damage_named(begun.shards, "train"), damage_named(begun.shards, "val"):
            for task in list_tasks(begun.model, begun.stages, state, begun.checkpoint):
                fit(task, options=options, state=state)
        if distribution.is_chief:
            _judge(run, config, begun.shards, state, start=start)
    distribution.wait_for_all()
    return run


@dataclass(frozen=True)
class _Begun:
    """All that a training needs before its first step.

    Attributes:
        shards: its images.
        names: index -> class.
        model: the network, with the weights that it begins with.
        stages: in which it is trained, each with its data.
        facts: precision, replicas and weights, for ``environment.json``.
        checkpoint: where it goes on from; none for a fresh run.
        state: how far it has come.
        before: what the run of its start weights was taught on; None without such a run.
    """

    shards: Shards
    names: list[str]
    model: keras.Model
    stages: list[Stage]
    facts: dict[str, Any]
    checkpoint: Checkpoint | None
    state: FitState
    before: pd.DataFrame | None = None


def _begin(
    run: Run, config: ExperimentConfig, distribution: Replicas, *, overwrite: bool
) -> _Begun:
    """Read and build everything without writing; what does not fit raises an error here."""
    check_parts(config)
    # A run that goes on knows where its shards lie, whatever the working directory is now.
    there = not overwrite and (run.folder / "inputs.json").is_file()
    folder = run.inputs().shards if there else config.data.shards
    shards = find_shards_together(folder, config, distribution)
    names = class_names(shards, config.data.classes)
    check_class_names(names)
    if thin := describe_thin_classes(shards, config.data.classes):
        logger.warning(thin)
    checkpoint = None if overwrite else read_checkpoint(run.folder / "checkpoints")
    check_same_job(run, config, shards, distribution, checkpoint)
    former = _began_with(run) if checkpoint else {}
    if former:
        # "auto" on another machine would be another precision, and another training.
        train = config.train.model_copy(update={"precision": former["precision"]})
        config = config.model_copy(update={"train": train})
    data = TrainingData(config, shards, names, run.folder, distribution)
    stages = plan_stages(config, data)
    model, facts = build_network(config, num_classes=len(names), distribution=distribution)
    facts |= former if checkpoint else start_weights(model, config.model)
    before = None if checkpoint else _check_lineage(config, shards)
    state = checkpoint.state if checkpoint else FitState()
    return _Begun(shards, names, model, stages, facts, checkpoint, state, before)


def _check_lineage(config: ExperimentConfig, shards: Shards) -> pd.DataFrame | None:
    """The images that start weights of a run were taught on; None where there are none.

    Raises:
        UserError: some of their groups are in the held-out splits, and nobody asked for it.
    """
    former = run_of_weights(config.model.weights)
    if former is None:
        return None
    try:
        images = taught_images(former)
    except UserError as error:
        logger.warning(f"model.weights: not known what {former.folder} was taught on: {error}")
        return None
    overlap = find_overlap(images, shards)
    if overlap and not config.data.allow_overlap:
        raise UserError(
            f"model.weights: {former.folder}, or a run before it, was taught on "
            f"{describe_overlap(overlap)} of {shards.folder}, or on others of their groups, so "
            "its figures there would mean nothing; choose other weights, split these data as "
            "those were (tfskin-prepare --split), or set data.allow_overlap=true"
        )
    return images


def _began_with(run: Run) -> dict[str, Any]:
    """The precision and first weights that the process which began the run recorded."""
    facts = run.environment()
    if "precision" not in facts:
        return {}
    kept = ("precision", "precision_reason", "weights")
    return {key: facts[key] for key in kept if key in facts}


def _judge(
    run: Run,
    config: ExperimentConfig,
    shards: Shards,
    state: FitState,
    *,
    start: float,
) -> None:
    """Write what a run holds beside its weights."""
    if config.train.recalibrate:
        recalibrate_run(
            run,
            shards,
            images=config.train.recalibrate,
            batch_size=config.evaluate.batch_size,
        )
    of_epochs = [sum(row[key] for row in state.history) for key in ("seconds", "cpu_seconds")]
    of_features = feature_seconds(run.folder)
    pd.DataFrame(state.history).to_csv(run.folder / "history.csv", index=False)
    warning = stalled(state.history, len(run.class_names()))
    if warning:
        logger.warning(f"{warning}")
    _write_decision(run, config, shards)
    facts = {
        "best_epoch": state.best_epoch,
        "epochs": state.epoch,
        "minutes": round((of_epochs[0] + of_features[0]) / 60, 2),
        "cpu_minutes": round((of_epochs[1] + of_features[1]) / 60, 2),
        "seconds_this_call": round(time.monotonic() - start, 1),
    }
    evaluate(run, facts={"training": facts})


def resume(folder: Path | str) -> Run:
    """Continue the training of a stopped run, and return the finished run."""
    run = open_run(folder)
    config = read_config(run.folder / "config.yaml")
    return train(config, output=run.folder)


def _is_done(run: Run, config: ExperimentConfig) -> bool:
    """Whether the run is finished; refuses a folder that holds something else."""
    if not run.folder.exists() or not any(run.folder.iterdir()):
        return False
    if not (run.folder / "inputs.json").is_file():
        raise UserError(f"{run.folder}: is not empty and not a run; choose another --output")
    if not (run.folder / "config.yaml").is_file():
        return False
    there = read_config(run.folder / "config.yaml")
    difference = describe_difference(there, config)
    if difference:
        raise UserError(
            f"{run.folder}: holds a run of another config ({difference}); "
            "give --overwrite, --output DIR or another name=..."
        )
    return run.finished


def _write_facts(run: Run, config: ExperimentConfig, begun: _Begun) -> None:
    """Everything that resumption and later commands need is written before the first step."""
    shards = begun.shards
    inputs = RunInputs(
        shards=str(shards.folder),
        fingerprint=shards.fingerprint,
        classes=config.data.classes,
        image_size=config.model.image_size,
        resize=config.model.resize,
        exclude=config.data.exclude,
        fold=config.data.fold,
        windows=config.data.windows,
        max_side=shards.max_side,
        order=records_order(shards, ("train", "val"), config.data.classes),
    )
    path = run.folder / "inputs.json"
    before = run.inputs() if path.is_file() else inputs
    # Of a run that did not note the order it isn't known.
    if before.fingerprint != shards.fingerprint or before.order not in (None, inputs.order):
        raise UserError(
            f"{run.folder}: its shards have changed since it began; give --overwrite to start anew"
        )
    write_json(path, inputs.model_dump(mode="json"))  # first: it is what makes a folder a run
    write_text(run.folder / "config.yaml", dump_config(config))
    write_json(run.folder / "class_names.json", begun.names)
    if begun.before is not None:
        write_former(run, begun.before)
    write_environment(run, seed=config.seed, fingerprint=shards.fingerprint, more=begun.facts)


def _fit_options(config: ExperimentConfig, run: Run, distribution: Replicas) -> FitOptions:
    return FitOptions(
        folder=run.folder,
        distribution=distribution,
        monitor=config.train.monitor,
        patience=config.train.patience,
        checkpoint_minutes=config.train.checkpoint_minutes,
        plateau_patience=config.train.plateau_patience,
        plateau_factor=config.train.step_factor,
    )


def _write_decision(run: Run, config: ExperimentConfig, shards: Shards) -> None:
    """Fit the temperature on the calibration split (Guo et al., arXiv:1706.04599)."""
    labels = read_labels(shards, "calibration", config.data.classes)
    names = tuple(run.class_names())
    decision = Decision(class_names=names, temperature=1.0, split=None)
    if len(labels):
        logits = predict_logits(
            as_float32(run.load_model()),
            shards,
            "calibration",
            run.inputs(),
            batch_size=config.evaluate.batch_size,
        )
        temperature = fit_temperature(logits, labels["label"].to_numpy())
        decision = Decision(class_names=names, temperature=temperature, split="calibration")
    write_json(run.folder / "decision.json", decision.to_dict())
