"""Runs -> one run whose model holds them all."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfskin.config import dump_config, read_config
from tfskin.datasets.shards import Shards
from tfskin.ensembling import (
    Fitted,
    as_float32,
    build_ensemble,
    fit_combiner,
    fit_temperature,
)
from tfskin.errors import UserError
from tfskin.evaluation.calibration import softmax
from tfskin.evaluation.decision import Decision
from tfskin.experiment.evaluating import evaluate
from tfskin.experiment.fitting.job import refuse_distribution
from tfskin.experiment.lineage import (
    allows_overlap,
    describe_overlap,
    former_images,
    run_overlap,
    write_former,
)
from tfskin.experiment.run_predictions import load_run_shards, predict_logits
from tfskin.experiment.training import train
from tfskin.files import replace_file, replace_folder, write_json, write_text
from tfskin.inputs import read_labels
from tfskin.locks import only_writer
from tfskin.runs import (
    HELD_OUT_FILE,
    Run,
    RunInputs,
    check_removable,
    open_run,
    write_environment,
)
from tfskin.schema import EnsembleConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Joined:
    """The members as one model, and the temperature that is applied after it.

    Attributes:
        model: of the members and their combiner.
        fitted: the combiner, and what it says of images that it has not seen.
        temperature: of the mean over an image's windows, which comes after the model; 1 for whole
            images, whose temperature is the combiner's own.
    """

    model: keras.Model
    fitted: Fitted
    temperature: float


def ensemble(
    config: EnsembleConfig,
    *,
    overrides: Sequence[str] = (),
    output: Path | str | None = None,
    overwrite: bool = False,
) -> Run:
    """Combine members into a finished run, whose model holds them and their combination.

    The combination and the temperature are fitted on the calibration split. Members that are
    given as YAML files are trained first where their run is missing or unfinished.

    Args:
        config: members, how they are combined.
        overrides: ``key=value`` for every member that is given as a YAML file.
        output: the run directory; ``runs/<name>`` unless given.
        overwrite: replace a run that is there already.

    Raises:
        UserError: members with other classes, other shards or other splits; no calibration split;
            overrides for runs.

    Example:
        >>> config = tfskin.read_config("five_layer_hsv.yaml", ["train.epochs=1"])
        >>> second = tfskin.train(config, output="runs/second")
        >>> both = tfskin.EnsembleConfig(members=["runs/first", "runs/second"])
        >>> run = tfskin.ensemble(both, output="runs/both")
        >>> run.finished
        True
    """
    run = Run(Path(output) if output else Path("runs") / config.name)
    if overrides and not any(map(_is_config, config.members)):
        raise UserError(
            f"{overrides[0]}: every member is a run, which is there already; leave it out, or name "
            "the YAML files that members are trained from"
        )
    with only_writer(run.folder):
        return _ensemble(run, config, overrides, overwrite=overwrite)


def _ensemble(
    run: Run, config: EnsembleConfig, overrides: Sequence[str], *, overwrite: bool
) -> Run:
    members = [_member(member, overrides) for member in config.members]
    if not overwrite and run.folder.exists() and any(run.folder.iterdir()):
        if not _same(run, config):
            raise UserError(f"{run.folder}: is there already; give --overwrite or --output DIR")
        if run.finished:
            logger.info(f"{run.folder}: is finished; give --overwrite to make it again")
            return run
    check_members(members)
    for member in members:
        _check_lineage(member, config)
    _check_output(run, members)
    shards = load_run_shards(members[0])
    inputs = _inputs(members, shards)
    joined = _join(members, shards, config)
    member_facts = [_member_facts(member) for member in members]
    combination = _describe(joined, [member.name for member in members])
    logger.info(f"combination: {combination}")
    facts = {
        "combination": combination,
        "members": member_facts,
    }
    # What is overwritten goes when the new run is whole.
    with replace_folder(run.folder, overwrite=True) as temporary:
        new = Run(temporary, destination=run.folder)
        _write_run(new, members, inputs, joined, config)
        evaluate(new, facts=facts)
        check_removable(run.folder)
    return run


def check_members(members: Sequence[Run]) -> None:
    """Refuse members that can't be joined or set side by side.

    Raises:
        UserError: names the two members, and what differs: classes, shards, splits; or a member
            that is an ensemble, whose own members embedding and heat maps would not tell apart.
    """
    first = members[0]
    if len({member.folder.resolve() for member in members}) < len(members):
        raise UserError("a run is given twice; members of an ensemble must differ")
    for member in members:
        if member.decision(before_evaluation=True).inside_the_model:
            raise UserError(f"{member.folder}: is an ensemble; name its members instead")
    for other in members[1:]:
        pair = f"{first.folder} and {other.folder}"
        if first.class_names() != other.class_names():
            raise UserError(
                f"{pair}: their classes differ: {first.class_names()} and {other.class_names()}"
            )
        if first.inputs().classes != other.inputs().classes:
            raise UserError(f"{pair}: their classes hold other diagnoses (data.classes)")
        if first.inputs().fingerprint != other.inputs().fingerprint:
            raise UserError(
                f"{pair}: were trained on other shards or splits ({first.inputs().shards} and "
                f"{other.inputs().shards}); train them on the same"
            )
        if first.inputs().exclude != other.inputs().exclude:
            raise UserError(
                f"{pair}: leave out other artefacts, so what one has not seen the other has; "
                "train them on the same data.exclude"
            )
        if _fed(first) != _fed(other):
            raise UserError(
                f"{pair}: differ in model.image_size, model.resize or data.windows; members are "
                "fed by one decode and resize, so train them with the same"
            )


def _check_lineage(member: Run, config: EnsembleConfig) -> None:
    """Refuse a member whose start weights were taught on its held-out splits, unless asked for."""
    overlap = run_overlap(member)
    if overlap and not (config.allow_overlap or allows_overlap(member)):
        raise UserError(
            f"{member.folder}: its start weights were taught on {describe_overlap(overlap)}, or on "
            "others of their groups; train it from other weights, or set allow_overlap=true"
        )


def _fed(run: Run) -> tuple[Any, ...]:
    inputs = run.inputs()
    return inputs.image_size, inputs.resize, inputs.windows


def _check_output(run: Run, members: Sequence[Run]) -> None:
    check_removable(run.folder)
    output = run.folder.resolve()
    for member in members:
        if output in (member.folder.resolve(), *member.folder.resolve().parents):
            raise UserError(
                f"{run.folder}: is or holds the member {member.folder}; choose another --output"
            )


def _describe(joined: _Joined, names: Sequence[str]) -> str:
    """One line: how the members are combined."""
    combiner = joined.fitted.combiner
    text = combiner.method.replace("_", " ")
    if combiner.method == "weights":
        shares = (f"{n} {w:.3f}" for n, w in zip(names, combiner.weights, strict=True))
        text += f" ({', '.join(shares)})"
    return f"{text}; temperature {combiner.temperature * joined.temperature:.3f}"


def _is_config(member: str) -> bool:
    return member.endswith((".yaml", ".yml"))


def _member(member: str, overrides: Sequence[str]) -> Run:
    if not _is_config(member):
        run = open_run(member)
        if not run.finished:
            raise UserError(f"{member}: is not finished; tfskin-train --resume {member}")
        return run
    config = read_config(member, overrides)
    refuse_distribution(config, "a member that an ensemble trains", mirrored=True)
    logger.info(f"member {config.name}")
    return train(config)


def _same(run: Run, config: EnsembleConfig) -> bool:
    """Whether the folder holds this ensemble, finished or not."""
    path = run.folder / "config.yaml"
    return path.is_file() and read_config(path, (), EnsembleConfig) == config


def _join(members: Sequence[Run], shards: Shards, config: EnsembleConfig) -> _Joined:
    """The members as one model, fitted on the calibration split.

    Raises:
        UserError: no calibration split; stacking of members that were trained on windows.
    """
    inputs = members[0].inputs()
    on_windows = inputs.windows is not None
    if on_windows and config.combination == "stacking":
        raise UserError(
            f"{members[0].folder}: was trained on windows (data.windows), and stacking, fitted on "
            "images, would be applied to windows; choose another combination"
        )
    facts = read_labels(shards, "calibration", inputs.classes)
    if not len(facts):
        raise UserError(f"{shards.folder}: no calibration split, which an ensemble is fitted on")
    labels = facts["label"].to_numpy()
    models = [as_float32(member.load_model()) for member in members]
    logits = [predict_logits(model, shards, "calibration", inputs) for model in models]
    fitted = fit_combiner(
        np.stack([softmax(one) for one in logits]),
        labels,
        method=config.combination,
        groups=facts["group"].to_numpy(),
        temperature=config.temperature and not on_windows,
        seed=config.seed,
    )
    model = build_ensemble(models, fitted.combiner)
    temperature = 1.0
    if config.temperature and on_windows:
        temperature = fit_temperature(predict_logits(model, shards, "calibration", inputs), labels)
    return _Joined(model, fitted, temperature)


def _inputs(members: Sequence[Run], shards: Shards) -> RunInputs:
    """What the ensemble is fed. Where members held out different folds, no fold is its val.

    Every fold is one that most members were trained on, so only calibration and test, which none
    has seen, are judged.

    Raises:
        UserError: such members, and no test split.
    """
    inputs = members[0].inputs().model_copy(update={"order": None})
    if len({member.inputs().fold for member in members}) == 1:
        return inputs
    if not len(read_labels(shards, "test", inputs.classes)):
        raise UserError(
            f"{shards.folder}: has no test split, and members that held out different folds can't "
            "be judged together on any of them"
        )
    return inputs.model_copy(update={"fold": None})


def _write_run(
    run: Run,
    members: Sequence[Run],
    inputs: RunInputs,
    joined: _Joined,
    config: EnsembleConfig,
) -> None:
    combiner = joined.fitted.combiner
    write_json(run.folder / "inputs.json", inputs.model_dump(mode="json"))
    write_text(run.folder / "config.yaml", dump_config(config))
    with replace_file(run.model_path) as temporary:
        joined.model.save(temporary)
    if combiner.method == "stacking":
        np.save(run.folder / HELD_OUT_FILE, np.log(joined.fitted.held_out))
    write_json(run.folder / "class_names.json", members[0].class_names())
    decision = Decision(
        class_names=tuple(members[0].class_names()),
        temperature=joined.temperature,
        split="calibration",
        inside_the_model=combiner.to_dict(),
    )
    write_json(run.folder / "decision.json", decision.to_dict())
    more = {"members": [str(member.folder) for member in members]}
    imports = sorted({module for member in members for module in member.imports()})
    more |= {"imports": imports} if imports else {}
    former = [former_images(member) for member in members if run_overlap(member) is not None]
    if former:
        write_former(run, pd.concat(former, ignore_index=True))
    write_environment(run, seed=config.seed, fingerprint=inputs.fingerprint, more=more)


def _member_facts(member: Run) -> dict[str, Any]:
    metrics = member.metrics()
    return {
        "name": member.name,
        "folder": str(member.folder),
        "model": metrics["model"],
        "splits": metrics["splits"],
    }
