"""All sections together: ``metrics.json`` and ``report.html``."""

from collections.abc import Mapping
from typing import Any

from tfskin.evaluation.report import ReportContent, Section, write_report
from tfskin.experiment.lineage import describe_overlap
from tfskin.experiment.sections import SECTIONS
from tfskin.experiment.sections.base import Evaluation


def compute_sections(evaluation: Evaluation) -> dict[str, Any]:
    """What all sections add to ``metrics.json``."""
    metrics: dict[str, Any] = {}
    for section in SECTIONS:
        metrics |= dict.fromkeys(section.keys)
        if section.applies(evaluation):
            metrics |= section.compute(evaluation)
    return metrics


def write_run_report(evaluation: Evaluation, metrics: Mapping[str, Any]) -> None:
    """Write ``<folder>/report.html``, and the plots that are files of their own."""
    sections = []
    for section in SECTIONS:
        if section.applies(evaluation):
            section.save_plots(evaluation, metrics)
            blocks = section.show(evaluation, metrics)
            sections.append(Section(heading=section.heading, blocks=blocks))
    run, external = evaluation.run, evaluation.external
    content = ReportContent(
        title=run.name if external is None else f"{run.name} on {external.name}",
        sections=sections,
        facts=_facts(metrics),
        notes=_notes(evaluation, metrics),
    )
    write_report(evaluation.folder / "report.html", content=content)


def _notes(evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[str]:
    """What a reader must know before everything else."""
    external = evaluation.external
    if external is not None:
        return [
            f"Judged on {evaluation.shards.name}. {_seen_in_training(metrics['trained_on'])} Its "
            f"classes are {_words(external.classes)}; the run's are folded into them: "
            f"{_words(external.fold)}."
        ]
    notes = []
    if metrics.get("overlap"):
        notes.append(
            f"The weights that the training began with were taught on "
            f"{describe_overlap(metrics['overlap'])}, or on others of their groups: the figures "
            "of these splits look too good."
        )
    if "overlap" in metrics and metrics["overlap"] is None:
        notes.append("What the weights that the training began with were taught on is not known.")
    if evaluation.split != "test":
        notes.append(f"The data have no test split; the figures are those of {evaluation.split}.")
    return notes


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


def _facts(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Short facts about the model, below the title."""
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


def _words(mapping: Mapping[str, list[str]]) -> str:
    return ", ".join(f"{name} = {' + '.join(members)}" for name, members in mapping.items())
