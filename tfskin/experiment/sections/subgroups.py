"""Section: how the model does on parts of the images, such as those of one sex."""

from collections.abc import Mapping
from typing import Any

from tfskin.evaluation.metric_table import columns_of, metrics_shown
from tfskin.evaluation.report import Block, Paragraph, Table
from tfskin.evaluation.subgroups import subgroup_metrics
from tfskin.experiment.sections.base import Evaluation, ReportSection

COUNTS = {"images": "Images", "groups": "Groups", "malignant": "Malignant"}


class SubgroupSection(ReportSection):
    """A table a heading (age, sex, ...); what is not recorded is said."""

    heading = "Subgroups"
    keys = ("subgroups",)

    def compute(self, evaluation: Evaluation) -> dict[str, Any]:
        """``subgroups``: the metrics of every subgroup, at the first operating point."""
        name, point = next(iter(evaluation.decision.thresholds.items()), (None, None))
        found = subgroup_metrics(
            evaluation.headline,
            evaluation.bootstrap,
            threshold=None if point is None else point.threshold,
        )
        return {"subgroups": {"operating_point": name, "headings": found}}

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """A table of each heading with a row a subgroup."""
        found = metrics["subgroups"]
        point = found["operating_point"]
        columns = {**COUNTS, **columns_of(metrics_shown("subgroups")), "warning": "Warning"}
        blocks: list[Block] = []
        if point is not None:
            text = f"Sensitivity and specificity at the operating point {point.replace('_', ' ')}."
            blocks.append(Paragraph(text=f"On {metrics['headline']}. {text}"))
        for heading, one in found["headings"].items():
            if one["recorded"]:
                caption, first = f"By {heading}", heading[:1].upper() + heading[1:]
                blocks.append(Table.of(one["groups"], columns, caption=caption, first=first))
        missing = [name for name, one in found["headings"].items() if not one["recorded"]]
        scales = {"Fitzpatrick type", "skin tone"} & set(found["headings"])
        if scales - set(missing):
            text = (
                "Fitzpatrick types go from 1 (lightest) to 6 (darkest), skin tones the other way, "
                "from 0 (very dark) to 5 (very light)."
            )
            blocks.append(Paragraph(text=text))
        if missing:
            blocks.append(Paragraph(text=f"Not recorded: {', '.join(missing)}."))
        return blocks
