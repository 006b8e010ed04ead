"""Shards and a config -> a trained run directory."""

import logging
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tfskin.config import QUICKSTART, describe_difference, dump_config, read_config
from tfskin.datasets.shards import Shards
from tfskin.ensembling import as_float32, fit_temperature
from tfskin.errors import UserError
from tfskin.evaluation.decision import Decision
from tfskin.evaluation.metrics import (
    CLASS_METRICS,
    SUMMARY_METRICS,
    compute_metrics,
    metrics_from_confusion,
)
from tfskin.experiment.batch_norm_run import recalibrate_run
from tfskin.experiment.evaluating import evaluate
from tfskin.experiment.feature_cache import feature_seconds, input_options, with_features
from tfskin.experiment.job import (
    check_same_job,
    find_shards_together,
    replica_share,
    start_distribution,
)
from tfskin.experiment.network import at_progress, build_compiled, plan_stages, start_weights
from tfskin.experiment.run_predictions import check_class_names, predict_logits
from tfskin.files import read_json, write_json, write_text
from tfskin.inputs import (
    InputOptions,
    average_windows,
    class_names,
    class_quotas,
    count_rows,
    count_windows,
    damage_named,
    local_rows,
    make_dataset,
    read_labels,
    records_order,
)
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
from tfskin.training.checkpoints import FitState, read_checkpoint
from tfskin.training.fit import FitData, FitOptions, stalled
from tfskin.training.stages import fit_stages

if TYPE_CHECKING:
    from tfskin.training.distribution import Distribution

logger = logging.getLogger(__name__)


def train(
    config: ExperimentConfig | None = None,
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
) -> Run:
    """The finished run of an experiment; an unfinished run of the same config is gone on with.

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
    writes = distribution is None or distribution.is_chief
    if distribution is not None:
        logger.info(str(distribution))
    start = time.monotonic()
    with silence(not writes), ExitStack() as held:
        shards, state = _fit(run, config, distribution, held, overwrite=overwrite)
        if writes:
            _judge(run, config, shards, state, start=start)
    if distribution is not None:
        distribution.wait_for_all()
    return run


def _fit(
    run: Run,
    config: ExperimentConfig,
    distribution: "Distribution | None",
    held: ExitStack,
    *,
    overwrite: bool,
) -> tuple[Shards, FitState]:
    """Train the run's weights; its shards, and how it went. ``held`` then holds its folder."""
    # A run that goes on knows where its shards lie, whatever the working directory is now.
    begun = not overwrite and (run.folder / "inputs.json").is_file()
    folder = run.inputs().shards if begun else config.data.shards
    shards = find_shards_together(folder, config, distribution)
    names = class_names(shards, config.data.classes)
    check_class_names(names)
    data = fit_data(config, shards, names, distribution)
    data = with_features(data, config, shards, run.folder)
    checkpoint = None if overwrite else read_checkpoint(run.folder / "checkpoints")
    check_same_job(run, config, shards, distribution, checkpoint)
    steps, counts = data.steps_per_epoch, data.class_counts
    former = _began_with(run) if checkpoint else {}
    fitted = config
    if former:
        # "auto" on another machine would be another precision, and another training.
        train = config.train.model_copy(update={"precision": former["precision"]})
        fitted = config.model_copy(update={"train": train})
    model, precision = build_compiled(
        fitted,
        num_classes=len(names),
        steps_per_epoch=steps,
        class_counts=counts,
        distribution=distribution,
    )
    if checkpoint is None:
        precision |= start_weights(model, config.model)
    else:
        precision |= former
    options = _fit_options(config, run, distribution)
    if options.writes:
        # An old run is not removed before the new one is known to be possible.
        held.enter_context(only_trainer(run.folder, overwrite=overwrite))
        _write_facts(run, config, shards, names, more=precision)
    if distribution is not None:
        distribution.wait_for_all()
    stages = plan_stages(
        fitted, steps_per_epoch=steps, class_counts=counts, distribution=distribution
    )
    with damage_named(shards, "train"), damage_named(shards, "val"):
        return shards, fit_stages(model, data, stages, options=options)


def _began_with(run: Run) -> dict[str, Any]:
    """What the process that began the run wrote of its precision, and of weights it put in."""
    path = run.folder / "environment.json"
    facts = read_json(path) if path.is_file() else {}
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
    """The finished run of a run directory whose training was stopped."""
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


def _write_facts(
    run: Run, config: ExperimentConfig, shards: Shards, names: list[str], *, more: dict[str, Any]
) -> None:
    """Everything that resumption and later commands need is written before the first step."""
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
    write_json(run.folder / "class_names.json", names)
    write_environment(run, seed=config.seed, fingerprint=shards.fingerprint, more=more)


def fit_data(
    config: ExperimentConfig,
    shards: Shards,
    names: list[str],
    distribution: "Distribution | None" = None,
) -> FitData:
    """The batches of a config, and how their figures are computed.

    Raises:
        UserError: a split has no image of the classes; an epoch's last step has fewer images than
            there are replicas.
    """
    labels = {split: read_labels(shards, split, config.data.classes) for split in ("train", "val")}
    for split, table in labels.items():
        if table.empty:
            raise UserError(f"{shards.folder}: no image of these classes in the {split} split")
    of_val = labels["val"]["label"].unique()
    if len(of_val) < 2 and config.train.monitor == "auc":
        raise UserError(
            f"{shards.folder}: all images of the val split are {names[of_val[0]]}, so there is no "
            "AUC to choose the best epoch by; set train.monitor=loss, or split the data anew"
        )
    share = replica_share(distribution)
    train_options = input_options(config, share)
    images = count_rows(shards, "train", options=train_options, epoch=0)
    windows = count_windows(shards, "val", options=train_options)
    step = config.train.batch_size * share.replicas
    _check_last_step(images, step, share.replicas)
    of_train = labels["train"]["label"].to_numpy()
    counts = _class_counts(shards, of_train, len(names), train_options)

    def make_epoch(epoch: int, steps: int) -> Any:
        return make_dataset(shards, "train", options=train_options, epoch=epoch, skip_batches=steps)

    def score(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float | None]:
        return _flat(compute_metrics(truth, average_windows(probabilities, windows), names))

    def score_confusion(matrix: np.ndarray) -> dict[str, float | None]:
        return _flat(metrics_from_confusion(matrix, names))

    return FitData(
        make_epoch=make_epoch,
        steps_per_epoch=-(-images // step),
        images_per_epoch=images,
        class_counts=dict(zip(names, counts, strict=True)),
        val_batches=make_dataset(shards, "val", options=train_options),
        val_labels=labels["val"]["label"].to_numpy(),
        score=score,
        score_confusion=score_confusion,
        at=lambda progress: fit_data(at_progress(config, progress), shards, names, distribution),
        images_per_step=step,
        val_rows=(*local_rows(int(windows.sum()), share), int(windows.sum())),
    )


def _class_counts(
    shards: Shards, labels: np.ndarray, classes: int, options: InputOptions
) -> list[int]:
    """Images of each class in an epoch, windows one by one."""
    quotas = class_quotas(labels, options.sampling)
    if options.windows is None:
        return [quotas.get(index, 0) for index in range(classes)]
    windows = count_windows(shards, "train", options=options)
    if options.sampling == "none":
        return np.bincount(labels, windows, classes).astype(int).tolist()
    if np.ptp(windows):
        raise UserError(
            f"data.sampling: pictures have {windows.min()} to {windows.max()} windows each, so "
            "epochs would differ in length; set data.sampling=none (and "
            "train.class_weights=balanced) or data.windows=null"
        )
    return [quotas.get(index, 0) * int(windows[0]) for index in range(classes)]


def _check_last_step(images: int, step: int, replicas: int) -> None:
    left = images % step
    if 0 < left < replicas:
        raise UserError(
            f"train.batch_size: the last step of an epoch of {images} images has {left} for "
            f"{replicas} replicas; choose another batch size"
        )


def _flat(figures: dict[str, Any]) -> dict[str, float | None]:
    """``{"macro_auc": a, "per_class": {c: {...}}}`` -> ``{"auc": a, "recall_c": ...}``."""
    short = {"macro_auc": "auc", "macro_f1": "f1", "log_loss": "loss"}
    flat = {short.get(k, k): figures[k] for k in SUMMARY_METRICS if k in figures}
    for name, values in figures["per_class"].items():
        flat |= {f"{k}_{name}": values[k] for k in CLASS_METRICS if k in values}
    return flat


def _fit_options(
    config: ExperimentConfig, run: Run, distribution: "Distribution | None"
) -> FitOptions:
    return FitOptions(
        distribution=distribution,
        epochs=config.train.epochs,
        folder=run.folder,
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
