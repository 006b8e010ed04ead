"""Section: malignant against benign, its ranking and its operating points."""

from collections.abc import Mapping
from typing import Any

from tfskin.evaluation.binary import malignant_metrics
from tfskin.evaluation.curve_plots import plot_malignant_roc
from tfskin.evaluation.metric_table import columns_of, metrics_of
from tfskin.evaluation.plots import format_value
from tfskin.evaluation.report import Block, Paragraph, Plot, Table
from tfskin.experiment.sections.base import Evaluation, ReportSection

COUNTS = {
    "true_positives": "Found",
    "false_negatives": "Missed",
    "false_positives": "False alarms",
    "true_negatives": "Rightly benign",
}


class MalignantSection(ReportSection):
    """Ranking and operating points of malignant against benign."""

    heading = "Operating points"
    keys = ("malignant",)

    def compute(self, evaluation: Evaluation) -> dict[str, Any]:
        """``malignant``: of each split; null where the malignant classes are not known."""
        scored = {
            split: malignant_metrics(one, evaluation.bootstrap, evaluation.decision.thresholds)
            for split, one in evaluation.predictions.items()
            if one.malignant_scores is not None
        }
        classes = list(evaluation.headline.malignant)
        return {"malignant": {"classes": classes, "splits": scored} if scored else None}

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """A row a split, a row an operating point, and the ROC curve."""
        found, split = metrics["malignant"], metrics["headline"]
        if found is None:
            text = (
                "It is not known which classes are malignant, so there are no operating points; "
                "name them in evaluate.malignant."
            )
            return [Paragraph(text=text)]
        ranking = columns_of(metrics_of("class", "ranking"))
        return [
            Paragraph(
                text=f"Malignant: {', '.join(found['classes'])}. The score is the sum of their "
                "probabilities."
            ),
            Table.of(
                found["splits"],
                {"images": "Images", "malignant": "Malignant", **ranking},
                caption="Malignant against benign",
                first="Split",
                marked=split,
            ),
            *_point_blocks(found["splits"][split], split),
            *_plots(evaluation, found["splits"][split], split),
        ]


def _point_blocks(main: Mapping[str, Any], split: str) -> list[Block]:
    """The table of operating points; nothing where there are none."""
    points = {name.replace("_", " "): one for name, one in main["operating_points"].items()}
    if not points:
        return []
    columns = {"threshold": "Threshold", **columns_of(metrics_of("point")), **COUNTS}
    return [
        Table.of(points, columns, caption=f"Operating points on {split}", first="Chosen for"),
        Paragraph(
            text="Thresholds were chosen on the calibration split and applied unchanged: what "
            f"{split} reaches may differ from the target. Predictive values hold for the share "
            f"of malignant images here, {main['malignant']} of {main['images']}."
        ),
    ]


def _plots(evaluation: Evaluation, main: Mapping[str, Any], split: str) -> list[Block]:
    one, name = evaluation.headline, evaluation.run.name
    if one.malignant_scores is None:
        return []
    points = main["operating_points"]
    alt = "; ".join(
        f"{chosen}: sensitivity {format_value(point['sensitivity'])}, "
        f"specificity {format_value(point['specificity'])}"
        for chosen, point in points.items()
    )
    figure = plot_malignant_roc({name: one}, areas={name: main["auc"]}, points=points)
    heading = f"ROC of malignant against benign ({split})"
    return [Plot(heading=heading, figure=figure, alt=f"AUC {format_value(main['auc'])}. {alt}")]
