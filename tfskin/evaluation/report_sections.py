"""What ``metrics.json`` holds -> the sections of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfskin.evaluation.curve_plots import plot_corruptions, plot_reliability
from tfskin.evaluation.figures import CLASS_FIGURES, SUMMARY_FIGURES
from tfskin.evaluation.plots import format_figure
from tfskin.evaluation.report import Block, Paragraph, Plot, Section, Table

HEADINGS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "macro_auc": "Macro AUC",
    "macro_average_precision": "Macro average precision",
    "macro_partial_auc": "Macro partial AUC",
    "kappa": "Cohen's kappa",
    "mcc": "MCC",
    "top2_accuracy": "Top-2 accuracy",
    "top3_accuracy": "Top-3 accuracy",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "ece": "Calibration error",
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "f1": "F1",
    "auc": "AUC",
    "average_precision": "Average precision",
    "partial_auc": "Partial AUC",
    "malignant_auc": "Malignant AUC",
    "sensitivity": "Sensitivity",
    "ppv": "PPV",
    "npv": "NPV",
    "called": "Called malignant",
}
POINT_FIGURES = ("sensitivity", "specificity", "ppv", "npv", "called")
SUBGROUP_FIGURES = (
    *("accuracy", "balanced_accuracy", "macro_auc"),
    *("malignant_auc", "sensitivity", "specificity"),
)
RELIANCE_FIGURES = ("accuracy", "balanced_accuracy", "macro_auc", "malignant_auc")


def summary_section(metrics: Mapping[str, Any]) -> Section:
    """Every summary figure of every split, members beside the ensemble, and what they mean."""
    splits, split = metrics["splits"], metrics["headline"]
    main = splits[split]
    ordered = {split: main, **splits}
    blocks: list[Block] = [
        _summary_table(f"Figures by split, {split} first", list(ordered.items())),
        Paragraph(text=_about_intervals(main, split)),
    ]
    for average, names in main["left_out"].items():
        if names:
            text = f"{HEADINGS[average]} leaves out {', '.join(names)}: no value in {split}."
            blocks.append(Paragraph(text=text))
    members = [
        (name, member["splits"][split])
        for name, member in zip(member_names(metrics), metrics.get("members", []), strict=True)
        if split in member["splits"]
    ]
    if members:
        caption = f"The ensemble and its members on {split}"
        text = (
            "Intervals that overlap do not say that two models are alike: the same images judged "
            "both. tfskin-compare says which differences are real."
        )
        columns = [("All together", main), *members]
        blocks += [_summary_table(caption, columns), Paragraph(text=text)]
    return Section(heading="Figures", blocks=blocks)


def member_names(metrics: Mapping[str, Any]) -> list[str]:
    """A name for each member of an ensemble: its run's, or the folder where two have one name."""
    members = metrics.get("members", [])
    names = [member["name"] for member in members]
    return names if len(set(names)) == len(names) else [member["folder"] for member in members]


def _summary_table(caption: str, columns: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    """One row a figure that any has; a member of an older version lacks the newer figures."""
    rows: list[list[Any]] = [["Images", *(one["images"] for _, one in columns)]]
    for key in SUMMARY_FIGURES:
        values = [one.get(key) for _, one in columns]
        if any(value and value["value"] is not None for value in values):
            rows.append([HEADINGS[key], *values])
    return Table(caption=caption, headings=["Figure", *(name for name, _ in columns)], rows=rows)


def class_section(metrics: Mapping[str, Any], plots: Sequence[Plot]) -> Section:
    """Every figure of every class on the headline split, and the curves."""
    split = metrics["headline"]
    main = metrics["splits"][split]
    rows = [
        [name, values["images"], values["groups"], *(values[key] for key in CLASS_FIGURES)]
        for name, values in main["per_class"].items()
    ]
    headings = ["Class", "Images", "Groups", *(HEADINGS[key] for key in CLASS_FIGURES)]
    text = (
        f"On {split}. The predicted class is the most probable one. A dash means that the figure "
        "has no value: no image of the class, or no prediction of it. Partial AUC: area above a "
        "sensitivity of 80 %, between 0 and 0.2."
    )
    table = Table(caption="Figures by class", headings=headings, rows=rows)
    return Section(heading="Classes", blocks=[table, Paragraph(text=text), *plots])


def malignant_report(metrics: Mapping[str, Any], plots: Sequence[Plot]) -> Section:
    """Ranking and operating points of malignant against benign."""
    found = metrics["malignant"]
    if found is None:
        text = (
            "It is not known which classes are malignant, so there are no operating points; name "
            "them in evaluate.malignant."
        )
        return Section(heading="Operating points", blocks=[Paragraph(text=text)])
    split = metrics["headline"]
    main = found["splits"][split]
    ranking = [
        [name, one["images"], one["malignant"]]
        + [one[key] for key in ("auc", "average_precision", "partial_auc")]
        for name, one in found["splits"].items()
    ]
    points = [
        [name.replace("_", " "), point["threshold"], *(point[key] for key in POINT_FIGURES)]
        + [point[key] for key in ("true_positives", "false_negatives")]
        + [point[key] for key in ("false_positives", "true_negatives")]
        for name, point in main["operating_points"].items()
    ]
    blocks: list[Block] = [
        Paragraph(
            text=f"Malignant: {', '.join(found['classes'])}. The score is the sum of their "
            "probabilities."
        ),
        Table(
            caption="Malignant against benign",
            headings=["Split", "Images", "Malignant", "AUC", "Average precision", "Partial AUC"],
            rows=ranking,
            marked=split,
        ),
    ]
    if points:
        headings = ["Chosen for", "Threshold", *(HEADINGS[key] for key in POINT_FIGURES)]
        counts = ["Found", "Missed", "False alarms", "Rightly benign"]
        blocks += [
            Table(
                caption=f"Operating points on {split}", headings=[*headings, *counts], rows=points
            ),
            Paragraph(
                text="Thresholds were chosen on the calibration split and applied unchanged: what "
                f"{split} reaches may differ from the target. Predictive values hold for the share "
                f"of malignant images here, {main['malignant']} of {main['images']}."
            ),
        ]
    return Section(heading="Operating points", blocks=[*blocks, *plots])


def calibration_report(metrics: Mapping[str, Any]) -> Section:
    """Before and after calibration, the reliability diagram and the prediction sets."""
    blocks: list[Block] = []
    found, split = metrics["calibration"], metrics["headline"]
    if found is not None:
        rows = [
            [name, values["log_loss"], values["brier"], values["ece"]]
            for name, values in found["methods"].items()
        ]
        text = (
            f"On {split}; fitted on the calibration split. {found['chosen'].capitalize()} was "
            f"chosen, temperature {found['temperature']:.3f}: predictions, thresholds and the "
            "exported model use it. Lower is better."
        )
        bins = {name: values["reliability"] for name, values in found["methods"].items()}
        alt = "; ".join(
            f"{name}: " + ", ".join(f"{b['score']:.2f} seen {b['observed']:.2f}" for b in values)
            for name, values in bins.items()
        )
        blocks += [
            Table(
                caption="Before and after calibration",
                headings=["Calibration", "Log loss", "Brier score", "Calibration error"],
                rows=rows,
                marked=found["chosen"],
            ),
            Paragraph(text=text),
            Plot(
                heading="Reliability diagram, bins of equally many images",
                figure=plot_reliability(bins, what=found["of"]),
                alt=f"Observed share against predicted probability. {alt}",
            ),
        ]
    sets = metrics["conformal"]
    if sets is not None:
        blocks += _set_blocks(sets, split)
    return Section(heading="Calibration and prediction sets", blocks=blocks)


def subgroup_report(metrics: Mapping[str, Any]) -> Section:
    """A table a heading; what is not recorded is said."""
    found = metrics["subgroups"]
    point = found["operating_point"]
    blocks: list[Block] = []
    if point is not None:
        text = f"Sensitivity and specificity at the operating point {point.replace('_', ' ')}."
        blocks.append(Paragraph(text=f"On {metrics['headline']}. {text}"))
    missing = [name for name, one in found["headings"].items() if not one["recorded"]]
    for heading, one in found["headings"].items():
        if one["recorded"]:
            rows = [
                [name, figures["images"], figures["groups"], figures["malignant"]]
                + [figures[key] for key in SUBGROUP_FIGURES]
                + [figures["warning"]]
                for name, figures in one["groups"].items()
            ]
            counts = ["Images", "Groups", "Malignant"]
            columns = [*counts, *(HEADINGS[key] for key in SUBGROUP_FIGURES), "Warning"]
            blocks.append(
                Table(
                    caption=f"By {heading}",
                    headings=[heading[:1].upper() + heading[1:], *columns],
                    rows=rows,
                )
            )
    if len(missing) < len(found["headings"]) and not {"Fitzpatrick type", "skin tone"} <= set(
        missing
    ):
        text = (
            "Fitzpatrick types go from 1 (lightest) to 6 (darkest), skin tones the other way, from "
            "0 (very dark) to 5 (very light)."
        )
        blocks.append(Paragraph(text=text))
    if missing:
        blocks.append(Paragraph(text=f"Not recorded: {', '.join(missing)}."))
    return Section(heading="Subgroups", blocks=blocks)


def reliance_report(metrics: Mapping[str, Any]) -> Section:
    """What the model relies on."""
    found = metrics["reliance"]
    if found is None:
        return Section(heading="Reliance", blocks=[])
    views = {
        "as it is": found["unchanged"],
        "lesion hidden": found["lesion_hidden"],
        "only the lesion": found["lesion_only"],
    }
    figures = [HEADINGS[key] for key in RELIANCE_FIGURES]
    clean = "without a recorded artefact" if found["artefacts_recorded"] else "as they are"
    consistency = dict(found["consistency"])
    batch = consistency.pop("batch")
    best = "malignant_auc" if found["unchanged"]["malignant_auc"] else "macro_auc"
    blocks: list[Block] = [
        Paragraph(
            text=f"On the first {found['images']} images of {found['split']}. A model that "
            "does as well with the lesion hidden looks at something else."
        ),
        Table(
            caption="Lesion and surroundings",
            headings=["Picture", *figures],
            rows=[[name, *(one[key] for key in RELIANCE_FIGURES)] for name, one in views.items()],
        ),
        Table(
            caption=f"Artefacts pasted into {found['clean_images']} pictures {clean}",
            headings=["Artefact", "Another class", "Change of malignant score"],
            rows=[
                [name, one["changed"], one["mean_change"]] for name, one in found["pasted"].items()
            ],
        ),
        Table(
            caption="Consistency",
            headings=["Picture", "Same class", "Mean difference of the probabilities"],
            rows=[[name, one["same"], one["mean_difference"]] for name, one in consistency.items()],
        ),
        Paragraph(
            text="Largest difference of a probability between a picture alone and in a batch: "
            f"{batch:.1e}."
        ),
        Plot(
            heading="Pictures corrupted more and more; the dashed line is the picture as it is",
            figure=plot_corruptions(
                found["corruptions"],
                unchanged=found["unchanged"],
                name=best,
                heading=HEADINGS[best],
            ),
            alt="; ".join(
                f"{kind}: "
                + ", ".join(f"{one['level']:g}: {format_figure(one[best])}" for one in levels)
                for kind, levels in found["corruptions"].items()
            ),
        ),
    ]
    return Section(heading="Reliance", blocks=[b for b in blocks if getattr(b, "rows", True)])


def challenge_report(metrics: Mapping[str, Any]) -> Section:
    """The official score of a challenge, where one was asked for."""
    found = metrics.get("challenge")
    if found is None:
        return Section(heading="Challenge", blocks=[])
    text = (
        f"ISIC {found['year']}, {found['metric'].replace('_', ' ')}: {found['score']:.4f} on "
        f"{found['images']} images, which are not the challenge's own test set unless the shards "
        f"hold it. The submission is challenge/{found['submission']}."
    )
    if found["columns_without_a_class"]:
        text += f" The model has no class for {', '.join(found['columns_without_a_class'])}."
    blocks: list[Block] = [Paragraph(text=text)]
    if found["per_category"]:
        names = list(next(iter(found["per_category"].values())))
        rows = [[name, *values.values()] for name, values in found["per_category"].items()]
        blocks.append(
            Table(
                caption="As the official scorer gives them",
                headings=["Category", *(name.replace("_", " ") for name in names)],
                rows=rows,
            )
        )
    return Section(heading="Challenge", blocks=blocks)


def _about_intervals(main: Mapping[str, Any], split: str) -> str:
    return (
        f"Below each figure its {100 * main['confidence']:g} % interval from {main['resamples']:,} "
        "bootstrap resamples of whole groups within classes (images that share a lesion, a patient "
        f"or are near duplicates; {main['groups']:,} groups in {split}). A figure without one "
        "rests on a single group, or no resample changed it. † marks a figure that had no value in "
        "some resamples. Balanced accuracy is the mean recall; AUC is one class against the rest; "
        "macro figures average the classes; log loss, Brier score and calibration error are lower "
        "the better."
    )


def _set_blocks(sets: Mapping[str, Any], split: str) -> list[Block]:
    main = sets["splits"][split]
    keys = ("coverage", "mean_size", "single", "empty")
    rows = [[name, *(one[key] for key in keys)] for name, one in sets["splits"].items()]
    return [
        Table(
            caption=f"Prediction sets made for a coverage of {sets['coverage']:.0%} of each class",
            headings=["Split", "Coverage", "Mean size", "One class", "Empty"],
            rows=rows,
            marked=split,
        ),
        Table(
            caption=f"Coverage of each class on {split}",
            headings=["Class", "Coverage"],
            rows=[[name, entry] for name, entry in main["per_class"].items()],
        ),
        Paragraph(
            text="A set holds every class that is not too improbable for its own calibration "
            "images. The promise holds for images drawn like those of the calibration split; "
            "images of one lesion are not independent, so it is one on average."
        ),
    ]
