"""What a run's folder holds -> its report."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfskin.config import ExternalConfig
from tfskin.datasets.shards import Shards
from tfskin.errors import UserError
from tfskin.evaluation.metrics import confusion_matrix
from tfskin.evaluation.plots import plot_confusion_matrix, plot_curves, plot_roc
from tfskin.evaluation.report import DataCard, Plot, ReportContent, write_report
from tfskin.files import read_json
from tfskin.runs import Run


def write_run_report(
    run: Run,
    folder: Path,
    metrics: dict[str, Any],
    tables: dict[str, pd.DataFrame],
    *,
    split: str,
    shards: Shards,
    external: ExternalConfig | None,
) -> None:
    """Write ``<folder>/report.html`` about the figures of ``split`` and all others beside it."""
    names = metrics["class_names"]
    config = (run.folder / "config.yaml").read_text(encoding="utf-8")
    notes = []
    if split == "val":
        notes.append("The data have no test split; the figures are those of val.")
    if external is not None:
        notes.append(
            f"Judged on {shards.name}, which the model was not trained on. Its classes are "
            f"{_words(external.classes)}; the run's are folded into them: {_words(external.fold)}."
        )
    members = {m["name"]: m["splits"][split] for m in metrics.get("members", [])}
    history = read_history(run)
    plots = _plots(tables[split], names, metrics["splits"][split], split)
    if history is not None and external is None:
        curves = plot_curves(history)
        plots.append(Plot(heading="Training", figure=curves, alt="Loss, AUC and more by epoch"))
    content = ReportContent(
        title=run.name if external is None else f"{run.name} on {external.name}",
        splits=metrics["splits"],
        main_split=split,
        config=config,
        command=_command(run, external),
        data=_data_card(shards),
        members=members,
        plots=plots,
        facts=_facts(metrics),
        notes=notes,
    )
    write_report(folder / "report.html", content=content)


def read_history(run: Run) -> pd.DataFrame | None:
    """The figures per epoch; none for an ensemble, which has no epochs."""
    path = run.folder / "history.csv"
    if not path.is_file():
        return None
    try:
        return pd.read_csv(path)
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not a CSV: {error}; delete it to go on without curves") from None


def _plots(table: pd.DataFrame, names: list[str], figures: Any, split: str) -> list[Plot]:
    probabilities = table[names].to_numpy(np.float64)
    labels = np.array([names.index(name) for name in table["label"]])
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), len(names))
    return [
        Plot(
            heading=f"Confusion matrix ({split})",
            figure=plot_confusion_matrix(matrix, names),
            alt="Rows are the true classes, columns the predicted ones: "
            + "; ".join(f"{name}: {row.tolist()}" for name, row in zip(names, matrix, strict=True)),
        ),
        Plot(
            heading=f"ROC ({split})",
            figure=plot_roc(labels, probabilities, names, figures=figures),
            alt="Sensitivity against one minus specificity, one curve a class",
        ),
    ]


def _command(run: Run, external: ExternalConfig | None) -> str:
    if external is not None:
        return f"tfskin-evaluate {run.folder} {external.name}.yaml"
    words = "tfskin-ensemble" if not (run.folder / "history.csv").is_file() else "tfskin-train"
    return f"{words} {run.folder / 'config.yaml'}"


def _data_card(shards: Shards) -> DataCard:
    return DataCard(
        name=shards.name,
        version=shards.version,
        fingerprint=shards.fingerprint,
        counts=shards.counts,
        licenses=read_json(shards.folder / "shards.json")["licenses"],
    )


def _facts(metrics: dict[str, Any]) -> dict[str, str]:
    model = metrics["model"]
    facts = {
        "Parameters": f"{model['parameters']:,}",
        "Trainable parameters": f"{model['trainable_parameters']:,}",
        "Operations an image": f"{model['flops'] / 1e6:,.0f} MFLOPs",
    }
    if "training" in metrics:
        training = metrics["training"]
        facts["Best epoch"] = f"{training['best_epoch']} of {training['epochs']}"
        facts["Training time"] = f"{training['minutes']:.1f} minutes"
    if "combination" in metrics:
        facts["Combination"] = metrics["combination"]
    return facts


def _words(mapping: dict[str, list[str]]) -> str:
    return ", ".join(f"{name} = {' + '.join(members)}" for name, members in mapping.items())
