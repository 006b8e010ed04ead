"""What a run's folder holds -> its report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfskin.datasets.shards import Shards
from tfskin.errors import UserError
from tfskin.evaluation.curve_plots import plot_malignant_roc, plot_precision_recall
from tfskin.evaluation.metrics import confusion_matrix
from tfskin.evaluation.plots import (
    MOST_NAMED,
    lowest_classes,
    plot_confusion_matrix,
    plot_curves,
    plot_roc,
)
from tfskin.evaluation.report import (
    Block,
    Case,
    Code,
    Facts,
    Paragraph,
    Plot,
    ReportContent,
    Section,
    Table,
    write_report,
)
from tfskin.evaluation.report_sections import (
    calibration_report,
    challenge_report,
    class_section,
    malignant_report,
    reliance_report,
    subgroup_report,
    summary_section,
)
from tfskin.experiment.judging import Predictions
from tfskin.files import read_json
from tfskin.runs import Run
from tfskin.schema import ExternalConfig

_CURVES = ("auc", "average_precision")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a report is made of.

    Attributes:
        run: that is judged.
        folder: where the report goes.
        metrics: as they go to ``metrics.json``.
        split: the one whose classes are shown.
        predictions: of that split.
        malignant: its malignant classes; empty where not known.
        shards: that it comes from.
        external: the other data set, if it is one.
        cases: the worst-classified images, explained.
        cases_note: what a reader must know about these.
    """

    run: Run
    folder: Path
    metrics: dict[str, Any]
    split: str
    predictions: Predictions
    malignant: list[str]
    shards: Shards
    external: ExternalConfig | None
    cases: list[Case]
    cases_note: str


def write_run_report(judged: Judgement) -> None:
    """Write ``<folder>/report.html`` about the figures of one split and all others beside it."""
    run, metrics, external = judged.run, judged.metrics, judged.external
    notes = []
    if external is not None:
        notes.append(
            f"Judged on {judged.shards.name}. {_seen_in_training(metrics['trained_on'])} Its "
            f"classes are {_words(external.classes)}; the run's are folded into them: "
            f"{_words(external.fold)}."
        )
    elif judged.split != "test":
        notes.append(f"The data have no test split; the figures are those of {judged.split}.")
    sections = [
        summary_section(metrics),
        class_section(metrics, _class_plots(judged)),
        malignant_report(metrics, _malignant_plots(judged)),
        calibration_report(metrics),
        subgroup_report(metrics),
        reliance_report(metrics),
        _case_section(judged),
        challenge_report(metrics),
        _training_section(judged),
        _data_card(judged.shards),
        _model_card(judged),
        _reproduction(judged),
    ]
    content = ReportContent(
        title=run.name if external is None else f"{run.name} on {external.name}",
        sections=sections,
        facts=_facts(metrics),
        notes=notes,
    )
    write_report(judged.folder / "report.html", content=content)


def _seen_in_training(count: int | None) -> str:
    """Whether the model was trained on the images of another data set."""
    if count is None:
        return (
            "Whether the model was trained on any of these images is not known: the shards that "
            "it was trained on are gone or changed."
        )
    if count:
        return f"The model was trained on {count:,} of these images: it looks too good."
    return "By their ids, the model was trained on none of these images."


def read_history(run: Run) -> pd.DataFrame | None:
    """The figures per epoch; none for an ensemble, which has no epochs."""
    path = run.folder / "history.csv"
    if not path.is_file():
        return None
    try:
        return pd.read_csv(path)
    except (ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not a CSV: {error}; delete it to go on without curves") from None


def _class_plots(judged: Judgement) -> list[Plot]:
    one, figures = judged.predictions, judged.metrics["splits"][judged.split]
    names, labels, values = one.class_names, one.labels, one.probabilities
    matrix = confusion_matrix(labels, values.argmax(axis=1), len(names))
    # As many as the figures show: the counts of all classes would be millions of characters.
    counts = "; ".join(f"{n}: {row.tolist()}" for n, row in zip(names, matrix, strict=True))
    if len(names) > MOST_NAMED:
        right = int(np.trace(matrix))
        counts = f"{right:,} of {int(matrix.sum()):,} images lie on the diagonal"
    areas, averages = (_describe_lowest(figures["per_class"], names, key) for key in _CURVES)
    return [
        Plot(
            heading=f"Confusion matrix ({judged.split})",
            figure=plot_confusion_matrix(matrix, names),
            alt=f"Rows are the true classes, columns the predicted ones: {counts}",
        ),
        Plot(
            heading=f"ROC ({judged.split})",
            figure=plot_roc(labels, values, names, figures=figures),
            alt=f"Sensitivity against one minus specificity, one curve a class. Areas: {areas}",
        ),
        Plot(
            heading=f"Precision and recall ({judged.split})",
            figure=plot_precision_recall(labels, values, names, figures=figures),
            alt=f"Precision against recall, one curve a class. Average precision: {averages}",
        ),
    ]


def _describe_lowest(per_class: Mapping[str, Any], names: Sequence[str], figure: str) -> str:
    """The values of the classes whose curves are drawn."""
    places, words = lowest_classes(per_class, names, figure)
    values = (f"{names[place]} {_value(per_class[names[place]][figure])}" for place in places)
    return ", ".join(values) + words


def _malignant_plots(judged: Judgement) -> list[Plot]:
    found, one = judged.metrics["malignant"], judged.predictions
    if found is None or one.scores is None:
        return []
    main = found["splits"][judged.split]
    positive = np.isin(one.labels, [one.class_names.index(name) for name in judged.malignant])
    points = main["operating_points"]
    alt = "; ".join(
        f"{name}: sensitivity {_value(p['sensitivity'])}, specificity {_value(p['specificity'])}"
        for name, p in points.items()
    )
    figure = plot_malignant_roc(
        {judged.run.name: (positive, one.scores)},
        areas={judged.run.name: main["auc"]},
        points=points,
    )
    heading = f"ROC of malignant against benign ({judged.split})"
    return [Plot(heading=heading, figure=figure, alt=f"AUC {_value(main['auc'])}. {alt}")]


def _case_section(judged: Judgement) -> Section:
    if not judged.cases:
        return Section(heading="Hardest cases", blocks=[])
    text = (
        f"The images of {judged.split} whose own class was given the lowest probability, and why "
        "the predicted class was chosen. Grad-CAM: bright where the network saw it. Integrated "
        "gradients: orange pixels speak for it, blue ones against. Beside them the training images "
        "that are nearest to it for the network (cosine of the features before the last layer)."
    )
    note = [Paragraph(text=judged.cases_note, warning=True)] if judged.cases_note else []
    return Section(heading="Hardest cases", blocks=[Paragraph(text=text), *note, *judged.cases])


def _training_section(judged: Judgement) -> Section:
    history = read_history(judged.run)
    if history is None or judged.external is not None:
        return Section(heading="Training", blocks=[])
    last = history.iloc[-1]
    alt = ", ".join(
        f"{name} {last[name]:.3f}"
        for name in ("loss", "val_loss", "auc", "val_auc")
        if name in last
    )
    plot = Plot(
        heading="Loss, AUC, balanced accuracy and learning rate by epoch",
        figure=plot_curves(history),
        alt=f"Curves over {len(history)} epochs; in the last one {alt}",
    )
    return Section(heading="Training", blocks=[plot])


def _data_card(shards: Shards) -> Section:
    about = read_json(shards.folder / "shards.json")
    totals: dict[str, int] = {}
    for counts in shards.counts.values():
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count
    order = sorted(totals, key=lambda name: (-totals[name], name))
    rows = [
        [name or "none", *(counts.get(name, 0) for counts in shards.counts.values()), totals[name]]
        for name in order
    ]
    rows.append(["all", *(sum(c.values()) for c in shards.counts.values()), sum(totals.values())])
    proof = about.get("proof", {})
    pairs = proof.get("links", {}).get("near duplicate", {}).get("pairs")
    facts = {
        "Shards": f"{shards.name} {shards.version}",
        "Source": about.get("source") or "unknown",
        "Fingerprint": shards.fingerprint,
        "Groups": f"{about['groups']:,} of images that share a lesion, a patient, or are near "
        "duplicates; no group is in two splits",
        "Near duplicates": "not looked for"
        if pairs is None
        else f"{pairs:,} pairs, each within one split",
        "Not ruled out across splits": ", ".join(proof.get("not_ruled_out", [])) or "nothing",
        "Largest side": f"{shards.max_side} px",
    }
    blocks: list[Block] = [
        Facts(values=facts),
        Table(
            caption="Images by diagnosis and split",
            headings=["Diagnosis", *shards.counts, "All"],
            rows=rows,
            marked="all",
        ),
        Table(
            caption="Licences of the images",
            headings=["Licence", "Images"],
            rows=[[name or "unknown", count] for name, count in about["licenses"].items()],
        ),
    ]
    return Section(heading="Data", blocks=blocks)


def _model_card(judged: Judgement) -> Section:
    inputs = judged.run.inputs()
    height, width = inputs.image_size
    values = {
        "Takes": f"RGB pictures, brought to {height} × {width} px ({inputs.resize})",
        "Answers": f"one probability for each of {', '.join(judged.run.class_names())}",
        "Intended use": "research on the classification of dermoscopic pictures of single skin "
        "lesions, by people who can judge its figures",
        "Not intended": "diagnosis, triage or any decision about a person; pictures that are not "
        "dermoscopic; lesions of other kinds than its classes, to which it gives one of them all "
        "the same",
        "Limits": "figures hold for pictures like those of the data above; where a subgroup is "
        "missing or small there, nothing is known about it; other clinics, cameras and skin types "
        "can do much worse",
        "Licence": "the weights carry no more rights than the licences of the training images",
    }
    return Section(heading="Model card", blocks=[Facts(values=values)])


def _reproduction(judged: Judgement) -> Section:
    config = (judged.run.folder / "config.yaml").read_text(encoding="utf-8")
    blocks: list[Block] = [Code(text=_command(judged.run, judged.external))]
    if (judged.run.folder / "environment.json").is_file():
        about = read_json(judged.run.folder / "environment.json")
        packages = ", ".join(f"{name} {v}" for name, v in about["packages"].items() if v)
        blocks.append(
            Facts(
                values={
                    "Python": about["python"],
                    "Packages": packages,
                    "Commit": about["commit"] or "not from a checkout",
                    "Processor": f"{about['processor']}, {about['cpus']} CPUs",
                    "Seed": str(about["seed"]),
                }
            )
        )
    return Section(heading="How to reproduce", blocks=[*blocks, Code(text=config)])


def _command(run: Run, external: ExternalConfig | None) -> str:
    if external is not None:
        return f"tfskin-evaluate {run.home} {external.name}.yaml"
    word = "tfskin-ensemble" if not (run.folder / "history.csv").is_file() else "tfskin-train"
    return f"{word} {run.home / 'config.yaml'}\ntfskin-evaluate {run.home}"


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


def _value(entry: dict[str, Any]) -> str:
    return "none" if entry["value"] is None else f"{entry['value']:.3f}"


def _words(mapping: dict[str, list[str]]) -> str:
    return ", ".join(f"{name} = {' + '.join(members)}" for name, members in mapping.items())
