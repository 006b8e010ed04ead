"""Section: every metric of every class, the confusion matrix and the curves."""

from collections.abc import Mapping
from typing import Any

from tfskin.evaluation.curve_plots import plot_precision_recall, plot_roc
from tfskin.evaluation.metric_table import columns_of, metrics_of
from tfskin.evaluation.metrics import confusion_matrix
from tfskin.evaluation.plots import (
    MOST_NAMED,
    format_value,
    lowest_classes,
    plot_confusion_matrix,
    save_figure,
)
from tfskin.evaluation.predictions import Predictions
from tfskin.evaluation.report import Block, Paragraph, Plot, Table
from tfskin.evaluation.sums import Ints
from tfskin.experiment.sections.base import Evaluation, ReportSection


class ClassSection(ReportSection):
    """Every metric of every class on the headline split, and the curves."""

    heading = "Classes"

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """A row a class; confusion matrix, ROC curves, and precision against recall."""
        split = metrics["headline"]
        main = metrics["splits"][split]
        columns = {"images": "Images", "groups": "Groups", **columns_of(metrics_of("class"))}
        text = (
            f"On {split}. The predicted class is the most probable one. A dash means that the "
            "figure has no value: no image of the class, or no prediction of it. Partial AUC: area "
            "above a sensitivity of 80 %, between 0 and 0.2."
        )
        table = Table.of(main["per_class"], columns, caption="Figures by class", first="Class")
        return [table, Paragraph(text=text), *_plots(evaluation.headline, main, split)]

    def save_plots(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> None:
        """Confusion matrix and ROC curves of every split, as PNG."""
        folder = evaluation.folder / "plots"
        for split, one in evaluation.predictions.items():
            matrix = plot_confusion_matrix(_confusions(one), one.class_names)
            save_figure(matrix, folder / f"confusion_matrix_{split}.png")
            curves = plot_roc(one, metrics=metrics["splits"][split])
            save_figure(curves, folder / f"roc_{split}.png")


def _confusions(predictions: Predictions) -> Ints:
    names = predictions.class_names
    return confusion_matrix(predictions.labels, predictions.chosen, len(names))


def _plots(one: Predictions, main: Mapping[str, Any], split: str) -> list[Plot]:
    names, matrix = one.class_names, _confusions(one)
    # As many as the plots show: the counts of all classes would be millions of characters.
    counts = "; ".join(f"{n}: {row.tolist()}" for n, row in zip(names, matrix, strict=True))
    if len(names) > MOST_NAMED:
        right = int(matrix.trace())
        counts = f"{right:,} of {int(matrix.sum()):,} images lie on the diagonal"

    def values(metric: str) -> str:
        places, words = lowest_classes(main["per_class"], names, metric)
        shown = [names[place] for place in places]
        texts = (f"{n} {format_value(main['per_class'][n][metric])}" for n in shown)
        return ", ".join(texts) + words

    return [
        Plot(
            heading=f"Confusion matrix ({split})",
            figure=plot_confusion_matrix(matrix, names),
            alt=f"Rows are the true classes, columns the predicted ones: {counts}",
        ),
        Plot(
            heading=f"ROC ({split})",
            figure=plot_roc(one, metrics=main),
            alt="Sensitivity against one minus specificity, one curve a class. Areas: "
            + values("auc"),
        ),
        Plot(
            heading=f"Precision and recall ({split})",
            figure=plot_precision_recall(one, metrics=main),
            alt="Precision against recall, one curve a class. Average precision: "
            + values("average_precision"),
        ),
    ]
