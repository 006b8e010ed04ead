"""A run -> predictions, decisions, metrics with intervals, plots and a report."""

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfskin.config import parse_config, read_values
from tfskin.datasets.shards import Shards, load_shards
from tfskin.ensembling import as_float32
from tfskin.errors import UserError
from tfskin.evaluation.challenges import Challenge
from tfskin.evaluation.decision import Decision, decide
from tfskin.evaluation.decision_fit import fit_decision
from tfskin.evaluation.diagnoses import malignant_classes
from tfskin.evaluation.predictions import Predictions
from tfskin.experiment.lineage import (
    describe_overlap,
    run_overlap,
    seen_before,
    taught_images,
)
from tfskin.experiment.run_predictions import (
    check_class_names,
    external_predictions,
    load_run_shards,
    own_logits,
    run_classes,
)
from tfskin.experiment.sections.base import Evaluation
from tfskin.experiment.sections.report import compute_sections, write_run_report
from tfskin.files import write_json
from tfskin.locks import only_writer
from tfskin.models.costs import count_flops, count_parameters
from tfskin.runs import HELD_OUT_FILE, SCHEMA_VERSION, Run, open_run
from tfskin.schema import EvaluateConfig, ExternalConfig

logger = logging.getLogger(__name__)

EXTERNAL_KEYS = frozenset({"batch_size", "resamples", "confidence", "explained_images"})
"""Keys of ``EvaluateConfig`` that count on another data set; the rest is the run's decision."""


def evaluate(
    run: Run | Path | str,
    *,
    resamples: int | None = None,
    config: EvaluateConfig | None = None,
    external: ExternalConfig | None = None,
    challenge: Challenge | None = None,
    output: Path | str | None = None,
    facts: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The metrics of a run, each with a bootstrap interval clustered by group.

    Fits on the calibration split what ``decision.json`` holds (calibration, operating points,
    prediction sets), applies it to all splits, and writes ``predictions/<split>.csv``,
    ``decision.json``, confusion matrices and ROC curves as PNG, ``report.html``, and last
    ``metrics.json``, whose keys docs/metrics-schema.md describes. A data set without a test split
    is reported on val, and says so.

    Args:
        run: a run directory.
        resamples: bootstrap resamples; the config says how many unless given.
        config: how the run is judged; its own config says so unless given.
        external: another data set to judge the run on, its classes folded; see
            ``configs/external_isic_archive.yaml``. Everything is then written to
            ``<run>/external/<name>``, and what was decided on the run's calibration split is
            applied.
        challenge: also write the submission of this ISIC challenge and its official score.
        output: where to write instead.
        facts: what ``metrics.json`` says beside the figures; kept from the former one unless given.

    Raises:
        UserError: not a run, shards missing or changed, a class that is in neither, a model that
            gives no numbers, classes that the challenge does not have.

    Example:
        >>> figures = tfskin.evaluate("runs/first")
        >>> 0 <= figures["splits"]["test"]["macro_auc"]["value"] <= 1
        True
    """
    run = run if isinstance(run, Run) else open_run(run)
    config = config or stored_config(run)
    if resamples is not None:
        config = config.model_copy(update={"resamples": resamples})
    if run.inputs().windows is not None and (config.reliance_images or config.explained_images):
        logger.info(
            "trained on windows: reliance and explanations, made for whole images, are left out"
        )
        config = config.model_copy(update={"reliance_images": 0, "explained_images": 0})
    folder = _folder(run, external, output)
    # A run that is being made is hidden, and its maker has the lock.
    held = only_writer(folder, nested=True) if run.destination is None else nullcontext()
    with held:
        return _evaluate(run, config, external, challenge, folder, facts)


def _evaluate(
    run: Run,
    config: EvaluateConfig,
    external: ExternalConfig | None,
    challenge: Challenge | None,
    folder: Path,
    facts: dict[str, Any] | None,
) -> dict[str, Any]:
    model = as_float32(run.load_model())  # what is served and predicted with
    evaluation = _predict(run, model, config, external, challenge, folder)
    metrics = _describe(evaluation, facts) | compute_sections(evaluation)
    if external is None and evaluation.split != "test":
        logger.info(
            f"{run.inputs().shards}: has no test split; figures are those of {evaluation.split}"
        )
    for split, one in evaluation.predictions.items():
        one.write_csv(evaluation.folder / "predictions" / f"{split}.csv")
    write_run_report(evaluation, metrics)
    if external is None:
        write_json(evaluation.folder / "decision.json", evaluation.decision.to_dict())
    write_json(evaluation.folder / "metrics.json", metrics)
    return metrics


def stored_config(run: Run, changes: Mapping[str, Any] | None = None) -> EvaluateConfig:
    """The run's own evaluation config, with some keys changed."""
    path = run.folder / "config.yaml"
    values = {**read_values(path).get("evaluate", {}), **(changes or {})}
    return parse_config(values, EvaluateConfig, source=str(path))


def _predict(
    run: Run,
    model: keras.Model,
    config: EvaluateConfig,
    external: ExternalConfig | None,
    challenge: Challenge | None,
    folder: Path,
) -> Evaluation:
    """The run with its predictions, of its own splits or of another data set."""
    if external is not None:
        shards = load_shards(external.shards, exclude=external.exclude)
        decision = run.decision()
        predictions = {external.name: _predict_external(run, model, shards, external, config)}
    else:
        shards = load_run_shards(run)
        decision, predictions = _predict_own(run, model, shards, config)
    return Evaluation(
        run=run,
        model=model,
        shards=shards,
        predictions=predictions,
        decision=decision,
        config=config,
        folder=folder,
        external=external,
        challenge=challenge,
    )


def _predict_own(
    run: Run, model: keras.Model, shards: Shards, config: EvaluateConfig
) -> tuple[Decision, dict[str, Predictions]]:
    """What is decided on the calibration split, and the predictions of all splits."""
    logits = own_logits(run, model, shards, config.batch_size)
    fitted = logits.get("calibration")
    if fitted and (run.folder / HELD_OUT_FILE).is_file():
        fitted = fitted[0], _read_held_out(run, fitted[1].shape)
    before = run.decision(before_evaluation=True)
    decision = fit_decision(before, fitted, run_classes(run), config)
    predictions = {}
    for split, (facts, values) in logits.items():
        answer = decide(values, decision)
        predictions[split] = Predictions(
            split=split,
            facts=facts,
            class_names=run.class_names(),
            logits=values,
            probabilities=answer.probabilities,
            malignant=decision.malignant,
            scores=answer.malignancy,
        )
    return decision, predictions


def _read_held_out(run: Run, shape: tuple[int, ...]) -> np.ndarray:
    path = run.folder / HELD_OUT_FILE
    try:
        found = np.load(path)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error}); make the ensemble again") from None
    if getattr(found, "shape", ()) != shape or not np.isfinite(found).all():
        raise UserError(f"{path}: does not fit the calibration split; make the ensemble again")
    return found


def _predict_external(
    run: Run,
    model: keras.Model,
    shards: Shards,
    external: ExternalConfig,
    config: EvaluateConfig,
) -> Predictions:
    """The predictions of another data set, in its own classes."""
    check_class_names(list(external.classes))
    malignant, unknown = malignant_classes(external.classes)
    if unknown:
        logger.info(f"{external.name}: not known whether malignant: {', '.join(unknown)}")
    known = not unknown and len(malignant) < len(external.classes)
    return external_predictions(
        run,
        model,
        shards,
        external,
        malignant=malignant if known else (),
        batch_size=config.batch_size,
    )


def _count_training_images(run: Run, predictions: Predictions, name: str) -> int | None:
    try:
        found = int(seen_before(taught_images(run), predictions.facts).sum())
    except UserError as error:
        logger.warning(f"{name}: not known whether {run.name} was trained on its images: {error}")
        return None
    if found:
        logger.warning(
            f"{run.name} was trained on {found} of these {len(predictions)} "
            f"images of {name}, or on others of their groups: it looks too good"
        )
    return found


def _folder(run: Run, external: ExternalConfig | None, output: Path | str | None) -> Path:
    """Where an evaluation goes."""
    usual = run.folder if external is None else run.folder / "external" / external.name
    folder = Path(output) if output else usual
    if external is not None or folder.resolve() != run.folder.resolve():
        _refuse_run(folder)
    return folder


def _refuse_run(folder: Path) -> None:
    """Refuse a folder whose own metrics would be overwritten."""
    if (folder / "inputs.json").is_file():
        raise UserError(f"{folder}: is a run; choose another --output")


def _describe(evaluation: Evaluation, facts: dict[str, Any] | None) -> dict[str, Any]:
    """What ``metrics.json`` says about the run besides its metrics."""
    run, model, external = evaluation.run, evaluation.model, evaluation.external
    total, trainable = count_parameters(model)
    about: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run": run.name,
        "class_names": evaluation.headline.class_names,
        "model": {
            "parameters": total,
            "trainable_parameters": trainable,
            "flops": count_flops(model),
        },
    }
    if external is None:
        overlap = run_overlap(run)
        if overlap:
            logger.warning(
                f"{run.name}: its start weights were taught on {describe_overlap(overlap)}, or on "
                "others of their groups: it looks too good there"
            )
        return about | {"overlap": overlap} | (facts or _former_facts(run))
    found = _count_training_images(run, evaluation.headline, external.name)
    return about | {"trained_on": found}


def _former_facts(run: Run) -> dict[str, Any]:
    """What training or ensembling wrote beside the figures."""
    if not run.finished:
        return {}
    former = run.metrics()
    return {name: former[name] for name in ("training", "members", "combination") if name in former}
