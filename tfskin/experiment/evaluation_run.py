"""A run -> predictions, figures with intervals, pictures and a report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfskin.config import EvaluateConfig, ExternalConfig, parse_config, read_values
from tfskin.datasets.shards import Shards, load_shards
from tfskin.datasets.splits import SPLITS
from tfskin.errors import UserError, nearest_hint
from tfskin.evaluation.intervals import bootstrap_intervals
from tfskin.evaluation.metrics import confusion_matrix
from tfskin.evaluation.plots import plot_confusion_matrix, plot_curves, plot_roc, save_figure
from tfskin.experiment.reporting import read_history, write_run_report
from tfskin.files import replace_file, write_json
from tfskin.inputs import InputOptions, damage_named, make_dataset, read_labels
from tfskin.models.costs import count_flops, count_parameters
from tfskin.runs import SCHEMA_VERSION, Run, RunInputs, open_run

ID_COLUMNS = ["image_id", "lesion_id", "patient_id", "group", "label"]


def evaluate(
    run: Run | Path | str,
    *,
    resamples: int | None = None,
    external: ExternalConfig | None = None,
    output: Path | str | None = None,
    facts: dict[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """The figures of a run, each with a bootstrap interval clustered by group.

    Writes ``predictions/<split>.csv``, ``metrics.json``, confusion matrices and ROC curves as
    PNG, and ``report.html``. A data set without a test split is reported on val, and says so.

    Args:
        run: a run directory.
        resamples: bootstrap resamples; the run's config says how many unless given.
        external: another data set to judge the run on, its classes folded; see
            ``configs/external_isic_archive.yaml``. Everything is then written to
            ``<run>/external/<name>``.
        output: where to write instead.
        facts: what ``metrics.json`` says beside the figures; kept from the former one unless given.
        say: where a line of news goes.

    Raises:
        UserError: not a run, shards missing or changed, a class that is in neither.

    Example:
        >>> figures = tfskin.evaluate("runs/first")
        >>> 0 <= figures["splits"]["test"]["macro_auc"]["value"] <= 1
        True
    """
    run = run if isinstance(run, Run) else open_run(run)
    config = _stored_config(run)
    if resamples is not None:
        config = config.model_copy(update={"resamples": resamples})
    model = run.load_model()
    if external is None:
        folder, shards, names = run.folder, load_run_shards(run), run.class_names()
        tables = _own_tables(run, model, shards, config.batch_size)
    else:
        folder, shards = (
            run.folder / "external" / external.name,
            load_shards(external.shards, exclude=external.exclude),
        )
        names = list(external.classes)
        check_class_names(names)
        tables = {external.name: _external_table(run, model, shards, external)}
    folder = Path(output) if output else folder
    if folder.resolve() != run.folder.resolve() and (folder / "inputs.json").is_file():
        raise UserError(f"{folder}: is another run; choose another --output")
    metrics: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run": run.name,
        "class_names": names,
        "model": _describe_model(model),
        **({} if external is not None else facts or _former_facts(run)),
        "splits": {split: _judge(table, names, config) for split, table in tables.items()},
    }
    if "test" not in tables and external is None:
        say(f"{run.inputs().shards}: has no test split; figures are those of val")
    for split, table in tables.items():
        _write_predictions(folder / "predictions" / f"{split}.csv", table)
        _write_pictures(folder, split, table, names, metrics["splits"][split])
    _write_curves(run, folder)
    split = headline_split(metrics)
    write_run_report(run, folder, metrics, tables, split=split, shards=shards, external=external)
    write_json(folder / "metrics.json", metrics)
    return metrics


def check_class_names(names: list[str]) -> None:
    """Refuse a class that is named like a column of the tables of predictions.

    Raises:
        UserError: names the class.
    """
    for name in names:
        if name in (*ID_COLUMNS, "path", "predicted", "probability", "error"):
            raise UserError(
                f"data.classes: '{name}' is a column of every table of predictions; give the "
                f"class another name, such as data.classes={{my_{name}: [{name}], ...}}"
            )


def headline_split(metrics: dict[str, Any]) -> str:
    """The split whose figures speak for a run: test, else val, else the external data set."""
    splits = metrics["splits"]
    order = ("test", "val", *(name for name in splits if name not in SPLITS), *SPLITS)
    return next(name for name in order if name in splits)


def predict_logits(
    model: keras.Model, shards: Shards, split: str, inputs: RunInputs, *, batch_size: int = 64
) -> np.ndarray:
    """(N, C) float32 logits of a split, in file order."""
    options = InputOptions(
        image_size=inputs.image_size,
        resize=inputs.resize,
        batch_size=batch_size,
        classes=inputs.classes,
    )
    with damage_named(shards, split):
        return model.predict(make_dataset(shards, split, options=options), verbose=0)


def predict_table(
    model: keras.Model, shards: Shards, split: str, run: Run, *, batch_size: int = 64
) -> pd.DataFrame:
    """One row an image of a split: ids, group, label, one probability per class."""
    inputs, names = run.inputs(), run.class_names()
    labels = read_labels(shards, split, inputs.classes)
    logits = predict_logits(model, shards, split, inputs, batch_size=batch_size)
    probabilities = softmax(logits, temperature=run.decision()["temperature"])
    table = labels[ID_COLUMNS].copy()
    table["label"] = [names[index] for index in labels["label"]]
    return _with_probabilities(table, probabilities, names)


def softmax(logits: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """(N, C) float64 probabilities of logits divided by a temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    return powers / powers.sum(axis=1, keepdims=True)


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


def _own_tables(
    run: Run, model: keras.Model, shards: Shards, batch_size: int
) -> dict[str, pd.DataFrame]:
    return {
        split: predict_table(model, shards, split, run, batch_size=batch_size)
        for split in SPLITS
        if len(read_labels(shards, split, run.inputs().classes))
    }


def _external_table(
    run: Run, model: keras.Model, shards: Shards, external: ExternalConfig
) -> pd.DataFrame:
    """The chosen splits of another data set, with the run's classes folded."""
    weights = _fold_matrix(run.class_names(), external)
    names = list(external.classes)
    inputs = run.inputs().model_copy(update={"classes": external.classes})
    parts = []
    for split in external.splits:
        labels = read_labels(shards, split, external.classes)
        if labels.empty:
            continue
        logits = predict_logits(model, shards, split, inputs)
        folded = softmax(logits, temperature=run.decision()["temperature"]) @ weights
        folded /= folded.sum(axis=1, keepdims=True)
        table = labels[ID_COLUMNS].copy()
        table["label"] = [names[index] for index in labels["label"]]
        parts.append(_with_probabilities(table, folded, names))
    if not parts:
        raise UserError(f"{external.shards}: no image of these classes in {external.splits}")
    return pd.concat(parts, ignore_index=True)


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


def _describe_model(model: keras.Model) -> dict[str, int]:
    total, trainable = count_parameters(model)
    return {
        "parameters": total,
        "trainable_parameters": trainable,
        "flops": count_flops(model),
    }


def _with_probabilities(
    table: pd.DataFrame, probabilities: np.ndarray, names: list[str]
) -> pd.DataFrame:
    columns = pd.DataFrame(probabilities, columns=names, index=table.index)
    return pd.concat([table, columns], axis=1)


def _judge(table: pd.DataFrame, names: list[str], config: EvaluateConfig) -> dict[str, Any]:
    return bootstrap_intervals(
        _labels(table, names),
        table[names].to_numpy(np.float64),
        table["group"].to_numpy(),
        names,
        resamples=config.resamples,
        confidence=config.confidence,
    )


def _labels(table: pd.DataFrame, names: list[str]) -> np.ndarray:
    index = {name: number for number, name in enumerate(names)}
    return table["label"].map(index).to_numpy(np.int64)


def _write_predictions(path: Path, table: pd.DataFrame) -> None:
    with replace_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")


def _write_pictures(
    folder: Path, split: str, table: pd.DataFrame, names: list[str], figures: dict[str, Any]
) -> None:
    labels, probabilities = _labels(table, names), table[names].to_numpy(np.float64)
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), len(names))
    save_figure(
        plot_confusion_matrix(matrix, names), folder / "plots" / f"confusion_matrix_{split}.png"
    )
    save_figure(
        plot_roc(labels, probabilities, names, figures=figures),
        folder / "plots" / f"roc_{split}.png",
    )


def _write_curves(run: Run, folder: Path) -> None:
    history = read_history(run)
    if history is not None and folder == run.folder:
        save_figure(plot_curves(history), folder / "plots" / "training_curves.png")


def _stored_config(run: Run) -> EvaluateConfig:
    path = run.folder / "config.yaml"
    return parse_config(read_values(path).get("evaluate", {}), EvaluateConfig, source=str(path))


def _former_facts(run: Run) -> dict[str, Any]:
    """What training or ensembling wrote beside the figures."""
    if not run.finished:
        return {}
    former = run.metrics()
    return {name: former[name] for name in ("training", "members", "combination") if name in former}
