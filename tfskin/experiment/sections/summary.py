"""Section: every summary metric of every split, members beside the ensemble."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfskin.evaluation.intervals import metric_intervals
from tfskin.evaluation.metric_table import heading_of, metrics_of
from tfskin.evaluation.report import Block, Paragraph, Table
from tfskin.experiment.sections.base import Evaluation, ReportSection


class SummarySection(ReportSection):
    """Every summary metric of every split, members beside the ensemble, and what they mean."""

    heading = "Figures"
    keys = ("splits", "headline")

    def compute(self, evaluation: Evaluation) -> dict[str, Any]:
        """``splits`` -> every metric with its interval, and which split is the ``headline``."""
        splits = {
            split: metric_intervals(one, evaluation.bootstrap)
            for split, one in evaluation.predictions.items()
        }
        return {"splits": splits, "headline": evaluation.split}

    def show(self, evaluation: Evaluation, metrics: Mapping[str, Any]) -> list[Block]:
        """A column a split, the headline split first; below it a column a member."""
        splits, split = metrics["splits"], metrics["headline"]
        main = splits[split]
        ordered = {split: main, **splits}
        blocks: list[Block] = [
            summary_table(f"Figures by split, {split} first", list(ordered.items())),
            Paragraph(text=_about_intervals(main, split)),
        ]
        for average, names in main["left_out"].items():
            if names:
                text = f"{heading_of(average)} leaves out {', '.join(names)}: no value in {split}."
                blocks.append(Paragraph(text=text))
        members = [
            (name, member["splits"][split])
            for name, member in zip(member_names(metrics), metrics.get("members", []), strict=True)
            if split in member["splits"]
        ]
        if members:
            caption = f"The ensemble and its members on {split}"
            text = (
                "Intervals that overlap do not say that two models are alike: the same images "
                "judged both. tfskin-compare says which differences are real."
            )
            columns = [("All together", main), *members]
            blocks += [summary_table(caption, columns), Paragraph(text=text)]
        return blocks


def member_names(metrics: Mapping[str, Any]) -> list[str]:
    """A name for each member of an ensemble: its run's, or the folder where two have one name."""
    members = metrics.get("members", [])
    names = [member["name"] for member in members]
    return names if len(set(names)) == len(names) else [member["folder"] for member in members]


def summary_table(caption: str, columns: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    """One row a metric that any has; a member of an older version lacks the newer metrics."""
    rows: list[list[Any]] = [["Images", *(one["images"] for _, one in columns)]]
    for metric in metrics_of("summary"):
        values = [one.get(metric.name) for _, one in columns]
        if any(value and value["value"] is not None for value in values):
            rows.append([metric.heading, *values])
    return Table(caption=caption, headings=["Figure", *(name for name, _ in columns)], rows=rows)


def _about_intervals(main: Mapping[str, Any], split: str) -> str:
    return (
        f"Below each figure its {100 * main['confidence']:g} % interval from {main['resamples']:,} "
        "bootstrap resamples of whole groups within classes (images that share a lesion or a "
        f"patient, or that copies and photographs link; {main['groups']:,} groups in {split}). A "
        "figure without one "
        "rests on a single group, or no resample changed it. † marks a figure that had no value in "
        "some resamples. Balanced accuracy is the mean recall; AUC is one class against the rest; "
        f"macro figures average the classes; {_lower_is_better()} are lower the better."
    )


def _lower_is_better() -> str:
    """``log-loss, Brier score and expected calibration error``."""
    words = [metric.words for metric in metrics_of("summary") if metric.lower_is_better]
    return f"{', '.join(words[:-1])} and {words[-1]}"
