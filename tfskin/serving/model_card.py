"""What a served model is, how well it does, and whose images taught it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfskin.evaluation.metric_table import class_metrics_shown, metrics_shown
from tfskin.inputs import Sample


@dataclass(frozen=True)
class ModelFacts:
    """What a run knows of its model, for the model card.

    Attributes:
        title: of the card.
        data: name of the data set.
        fingerprint: of the shards it was trained on.
        images: split -> number of images that are in a class.
        classes: class -> diagnoses in it; none: each its own class.
        split: the split that ``figures`` are of.
        figures: of that split, as ``metrics.json`` holds them.
        combination: of an ensemble, in words.
        members: names of its members.
        licenses: licence -> number of training images, "" where an image names none; empty where
            nothing is known of the images.
        overlap: in words, what of the held-out images the start weights were taught on; empty for
            none.
    """

    title: str
    data: str = ""
    fingerprint: str = ""
    images: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[str, Sequence[str]] | None = None
    split: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    combination: str = ""
    members: Sequence[str] = ()
    licenses: Mapping[str, int] = field(default_factory=dict)
    overlap: str = ""


def write_model_card(path: Path, facts: ModelFacts, description: Mapping[str, Any]) -> None:
    """Write the model card, Markdown, after Mitchell et al., Model Cards, FAT* 2019.

    Args:
        path: a file of a folder that exists.
        facts: what the run knows.
        description: as ``export.json`` holds it.
    """
    parts = [
        f"# Model card: {facts.title}, version {description['version']}",
        "Classifies dermoscopic images of skin lesions. Research software: **not a medical "
        "device**, not for diagnosis, and not for images of another kind (clinical "
        "photographs, other organs), of which it says something all the same.",
        _model_part(facts, description),
        _data_part(facts),
        _figures_part(facts),
        "## Limits\n\nFigures hold for images like the test images. Other clinics, cameras and "
        "skin types were not measured unless a section above says so. Probabilities sum to 1 over "
        f"the {len(description['class_names'])} classes even where the lesion is of none of them; "
        "`entropy` and, where there is one, an empty `prediction_set` are the signs of it.",
    ]
    path.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def write_licenses(path: Path, facts: ModelFacts, samples: Sequence[Sample]) -> None:
    """Write the licences of the training images and of the images inside the export."""
    lines = ["# Licences", "", "## Images that the model was trained on", ""]
    lines += [f"- {name or 'unknown'}: {count} images" for name, count in facts.licenses.items()]
    lines += [] if facts.licenses else ["- unknown"]
    lines += [
        "",
        "A non-commercial licence of training images may bind the model too.",
        "",
        "## Images inside the warm-up requests and `request.json`",
        "",
    ]
    for sample in samples:
        credit = f", {sample.attribution}" if sample.attribution else ""
        lines.append(
            f"- {sample.image_id or 'unnamed'}: {sample.license or 'licence unknown'}{credit}"
        )
    lines += ["", "The code is tfskin's, Apache-2.0.", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def _model_part(facts: ModelFacts, description: Mapping[str, Any]) -> str:
    height, width = description["image_size"]
    calibration = f"temperature {description['temperature']:.3f}"
    if description["calibration"] != "temperature":
        calibration += f", then {description['calibration']}"
    lines = [
        "## Model",
        "",
        f"- Classes: {', '.join(description['class_names'])}",
        f"- Input: RGB, {height} x {width} px ({description['resize']})",
        f"- Calibration on top of the network: {calibration}",
    ]
    if facts.members:
        lines.append(f"- Ensemble of {', '.join(facts.members)}: {facts.combination}")
    if description["malignant"]:
        lines.append(f"- Counted as malignant: {', '.join(description['malignant'])}")
    for name, threshold in description["thresholds"].items():
        lines.append(f"- Operating point {name}: malignancy of at least {threshold:.4f}")
    if description["conformal_coverage"]:
        lines.append(f"- Prediction sets of {description['conformal_coverage']:.0%} coverage")
    if description["test_time_augmentation"]:
        lines.append("- Averages over mirrored and turned copies; the figures are without that")
    if description["float16_weights"]:
        lines.append("- Weights are stored as float16; the figures are with float32")
    lines.append(
        f"- Differs from the Keras model by at most {description['max_difference_from_keras']:.1e} "
        f"(tfskin {description['tfskin']}, TensorFlow {description['tensorflow']})"
    )
    return "\n".join(lines)


def _data_part(facts: ModelFacts) -> str:
    if not facts.data:
        return ""
    counts = ", ".join(f"{count} {split}" for split, count in facts.images.items())
    lines = ["## Data", "", f"- {facts.data} ({counts} images), fingerprint {facts.fingerprint}"]
    for name, diagnoses in (facts.classes or {}).items():
        lines.append(f"- Class {name}: {', '.join(diagnoses)}")
    lines.append("- Licences: see LICENSES.md")
    return "\n".join(lines)


def _figures_part(facts: ModelFacts) -> str:
    if not facts.figures:
        return ""
    lines = [
        f"## Figures on {facts.split}",
        "",
        f"{facts.figures['images']} images; bootstrap intervals over groups of images that share a "
        "lesion or patient, or that copies and photographs link.",
        "",
        *_warning(facts),
        "| figure | value | interval |",
        "|---|---|---|",
    ]
    lines += [
        _figure_row(metric.words, facts.figures[metric.name])
        for metric in metrics_shown("model card")
        if isinstance(facts.figures.get(metric.name), Mapping)
    ]
    for name, figures in facts.figures.get("per_class", {}).items():
        lines += [
            _figure_row(f"{name}: {metric.name}", figures[metric.name])
            for metric in class_metrics_shown("model card")
            if metric.name in figures
        ]
    return "\n".join(lines)


def _warning(facts: ModelFacts) -> list[str]:
    if not facts.overlap:
        return []
    text = f"**The weights that the training began with were taught on {facts.overlap}, or on"
    return [f"{text} others of their groups: figures of these splits look too good.**", ""]


def _figure_row(label: str, figure: Mapping[str, Any]) -> str:
    value, low, high = figure.get("value"), figure.get("low"), figure.get("high")
    interval = "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
    return f"| {label} | {'' if value is None else f'{value:.3f}'} | {interval} |"
