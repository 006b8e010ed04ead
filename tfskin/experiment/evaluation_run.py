"""A run -> predictions, figures with intervals, decisions, pictures and a report."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfskin.config import parse_config, read_values
from tfskin.datasets.shards import Shards, load_shards
from tfskin.datasets.splits import SPLITS
from tfskin.ensembling import as_float32
from tfskin.errors import UserError
from tfskin.evaluation.challenges import Challenge
from tfskin.evaluation.decision import Decision, decide
from tfskin.evaluation.decision_fit import fit_decision
from tfskin.evaluation.diagnoses import malignant_classes
from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import confusion_matrix
from tfskin.evaluation.plots import plot_confusion_matrix, plot_curves, plot_roc, save_figure
from tfskin.experiment.challenge_run import write_challenge
from tfskin.experiment.explaining import explain_worst
from tfskin.experiment.judging import (
    Predictions,
    check_class_names,
    external_predictions,
    load_run_shards,
    own_logits,
    predict_logits,
    training_images,
)
from tfskin.experiment.reporting import Judgement, read_history, write_run_report
from tfskin.experiment.sections import (
    calibration_section,
    conformal_section,
    malignant_section,
    reliance_section,
    subgroup_section,
)
from tfskin.files import write_json
from tfskin.models.costs import count_flops, count_parameters
from tfskin.runs import HELD_OUT_FILE, SCHEMA_VERSION, Run, open_run
from tfskin.schema import EvaluateConfig, ExternalConfig

logger = logging.getLogger(__name__)

__all__ = [
    "check_class_names",
    "evaluate",
    "headline_split",
    "load_run_shards",
    "predict_logits",
    "run_classes",
    "stored_config",
]

EXTERNAL_KEYS = frozenset({"batch_size", "resamples", "confidence", "explained_images"})
"""Keys of ``EvaluateConfig`` that count on another data set; the rest is the run's decision."""


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """What is judged: predictions, where they go, what was decided.

    ``trained_on`` is of another data set: how many of its images the run was trained on; None
    where the run's shards are gone.
    """

    folder: Path
    shards: Shards
    predictions: dict[str, Predictions]
    decision: Decision
    malignant: list[str]
    trained_on: int | None = None


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
    """The figures of a run, each with a bootstrap interval clustered by group.

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
            "trained on windows: reliance and explanations, made for whole pictures, are left out"
        )
        config = config.model_copy(update={"reliance_images": 0, "explained_images": 0})
    model = as_float32(run.load_model())  # what is served and predicted with
    if external is None:
        judged = _judge_own(run, model, config, output)
    else:
        judged = _judge_external(run, model, external, config, output)
    metrics = _compute(run, model, judged, config, external, facts)
    split = headline_split(metrics)
    if external is None and split != "test":
        logger.info(f"{run.inputs().shards}: has no test split; figures are those of {split}")
    if challenge is not None:
        classes = run_classes(run) if external is None else external.classes
        metrics["challenge"] = write_challenge(
            challenge,
            judged.predictions[split],
            classes,
            judged.malignant,
            judged.folder / "challenge",
        )
    _write(run, model, judged, metrics, external, config)
    return metrics


def _write(
    run: Run,
    model: keras.Model,
    judged: _Judged,
    metrics: dict[str, Any],
    external: ExternalConfig | None,
    config: EvaluateConfig,
) -> None:
    """Tables, pictures, the report with its hardest cases, and last ``metrics.json``."""
    split = headline_split(metrics)
    headline = judged.predictions[split]
    cases, note = explain_worst(run, model, judged.shards, split, headline, external, config)
    _write_pictures(run, judged, metrics)
    write_run_report(
        Judgement(
            run=run,
            folder=judged.folder,
            metrics=metrics,
            split=split,
            predictions=headline,
            malignant=judged.malignant,
            shards=judged.shards,
            external=external,
            cases=cases,
            cases_note=note,
        )
    )
    if external is None:
        write_json(judged.folder / "decision.json", judged.decision.to_dict())
    write_json(judged.folder / "metrics.json", metrics)


def headline_split(metrics: dict[str, Any]) -> str:
    """The split whose figures speak for a run: test, else val, else the external data set."""
    splits = metrics["splits"]
    order = ("test", "val", *(name for name in splits if name not in SPLITS), *SPLITS)
    return next(name for name in order if name in splits)


def run_classes(run: Run) -> dict[str, list[str]]:
    """Class -> diagnoses in it, of a run."""
    return run.inputs().classes or {name: [name] for name in run.class_names()}


def stored_config(run: Run, changes: Mapping[str, Any] | None = None) -> EvaluateConfig:
    """How a run's own config says that it is judged, with some keys changed."""
    path = run.folder / "config.yaml"
    values = {**read_values(path).get("evaluate", {}), **(changes or {})}
    return parse_config(values, EvaluateConfig, source=str(path))


def _judge_own(
    run: Run,
    model: keras.Model,
    config: EvaluateConfig,
    output: Path | str | None,
) -> _Judged:
    folder = Path(output) if output else run.folder
    if folder.resolve() != run.folder.resolve():
        _refuse_run(folder)
    shards, names = load_run_shards(run), run.class_names()
    logits = own_logits(run, model, shards, config.batch_size)
    classes = run_classes(run)
    fitted = logits.get("calibration")
    if fitted and (run.folder / HELD_OUT_FILE).is_file():
        fitted = fitted[0], np.load(run.folder / HELD_OUT_FILE)
    decision = fit_decision(run.decision(before_evaluation=True), fitted, classes, config)
    predictions = {}
    for split, (facts, values) in logits.items():
        answer = decide(values, decision)
        predictions[split] = Predictions(
            facts=facts,
            class_names=names,
            logits=values,
            probabilities=answer.probabilities,
            scores=answer.malignancy,
        )
    return _Judged(
        folder=folder,
        shards=shards,
        predictions=predictions,
        decision=decision,
        malignant=list(decision.malignant),
    )


def _judge_external(
    run: Run,
    model: keras.Model,
    external: ExternalConfig,
    config: EvaluateConfig,
    output: Path | str | None,
) -> _Judged:
    folder = Path(output) if output else run.folder / "external" / external.name
    _refuse_run(folder)
    shards = load_shards(external.shards, exclude=external.exclude)
    check_class_names(list(external.classes))
    malignant, unknown = malignant_classes(external.classes)
    if unknown:
        logger.info(f"{external.name}: not known whether malignant: {', '.join(unknown)}")
    predictions = external_predictions(run, model, shards, external, batch_size=config.batch_size)
    return _Judged(
        folder=folder,
        shards=shards,
        predictions={external.name: predictions},
        decision=run.decision(),
        malignant=malignant if not unknown and len(malignant) < len(external.classes) else [],
        trained_on=_count_training_images(run, predictions, external.name),
    )


def _count_training_images(run: Run, predictions: Predictions, name: str) -> int | None:
    try:
        found = int(training_images(run, predictions.facts).sum())
    except UserError as error:
        logger.warning(f"{name}: not known whether {run.name} was trained on its images: {error}")
        return None
    if found:
        logger.warning(
            f"{run.name} was trained on {found} of these {len(predictions.labels)} "
            f"images of {name}: it looks too good"
        )
    return found


def _refuse_run(folder: Path) -> None:
    """Refuse a folder whose own figures would be overwritten."""
    if (folder / "inputs.json").is_file():
        raise UserError(f"{folder}: is a run; choose another --output")


def _compute(
    run: Run,
    model: keras.Model,
    judged: _Judged,
    config: EvaluateConfig,
    external: ExternalConfig | None,
    facts: dict[str, Any] | None,
) -> dict[str, Any]:
    """Everything that ``metrics.json`` holds but the challenge's score."""
    predictions, decision = judged.predictions, judged.decision
    metrics: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run": run.name,
        "class_names": next(iter(predictions.values())).class_names,
        "model": _describe_model(model),
        **({} if external is not None else facts or _former_facts(run)),
        "splits": figures_of_splits(predictions, config),
    }
    if external is not None:
        metrics["trained_on"] = judged.trained_on
    split = headline_split(metrics)
    headline = predictions[split]
    metrics["headline"] = split
    metrics["malignant"] = malignant_section(predictions, decision, judged.malignant, config)
    metrics["subgroups"] = subgroup_section(headline, judged.malignant, decision, config)
    metrics |= dict.fromkeys(("calibration", "conformal", "reliance"))
    if external is None:
        fitted = predictions.get("calibration")
        metrics["calibration"] = calibration_section(headline, fitted, decision, config)
        metrics["conformal"] = conformal_section(predictions, decision, config)
        metrics["reliance"] = reliance_section(
            model, judged.shards, split, headline, run.inputs(), decision, config
        )
    return metrics


def _describe_model(model: keras.Model) -> dict[str, int]:
    total, trainable = count_parameters(model)
    return {
        "parameters": total,
        "trainable_parameters": trainable,
        "flops": count_flops(model),
    }


def figures_of_splits(
    predictions: Mapping[str, Predictions], config: EvaluateConfig
) -> dict[str, Any]:
    """Split -> every figure with its interval."""
    return {
        split: bootstrap_intervals(
            one.labels,
            one.probabilities,
            one.groups,
            one.class_names,
            resamples=config.resamples,
            confidence=config.confidence,
        )
        for split, one in predictions.items()
    }


def _write_pictures(run: Run, judged: _Judged, metrics: dict[str, Any]) -> None:
    """The tables of predictions, and confusion matrix and ROC curves of each split."""
    for split, one in judged.predictions.items():
        one.write_csv(judged.folder / "predictions" / f"{split}.csv")
        _write_split_plots(judged.folder / "plots", split, one, metrics["splits"][split])
    history = read_history(run)
    if history is not None and judged.folder == run.folder:
        save_figure(plot_curves(history), judged.folder / "plots" / "training_curves.png")


def _write_split_plots(folder: Path, split: str, one: Predictions, figures: dict[str, Any]) -> None:
    names: Sequence[str] = one.class_names
    chosen = np.asarray(one.probabilities.argmax(axis=1))
    matrix = confusion_matrix(one.labels, chosen, len(names))
    save_figure(plot_confusion_matrix(matrix, names), folder / f"confusion_matrix_{split}.png")
    save_figure(
        plot_roc(one.labels, one.probabilities, names, figures=figures),
        folder / f"roc_{split}.png",
    )


def _former_facts(run: Run) -> dict[str, Any]:
    """What training or ensembling wrote beside the figures."""
    if not run.finished:
        return {}
    former = run.metrics()
    return {name: former[name] for name in ("training", "members", "combination") if name in former}
