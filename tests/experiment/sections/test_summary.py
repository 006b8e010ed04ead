"""What the summary says, from metrics alone."""

from pathlib import Path

import pytest

from tests.experiment.sections.made import made_evaluation
from tfskin.evaluation.decision import Decision
from tfskin.evaluation.metric_table import SUMMARY_METRICS, metrics_of
from tfskin.evaluation.report import Table
from tfskin.experiment.sections.summary import SummarySection, summary_table


def split(top2, images=7):
    figures = {key: {"value": 0.5, "low": 0.4, "high": 0.6} for key in SUMMARY_METRICS}
    return figures | {"images": images, "top2_accuracy": {"value": top2, "low": None, "high": None}}


def test_a_figure_that_no_split_has_is_no_row():
    """With two classes the second guess is always right, so there is no top-2 accuracy."""

    def headings(*splits):
        table = summary_table("Figures", list(zip("ab", splits, strict=False)))
        return [row[0] for row in table.rows]

    every = ["Images", *(metric.heading for metric in metrics_of("summary"))]
    assert headings(split(0.9), split(None)) == every
    assert headings(split(None), split(None)) == [x for x in every if x != "Top-2 accuracy"]


@pytest.mark.parametrize(
    ("folders", "headings"),
    [
        (["runs/ensemble", "runs/c"], ["ensemble", "c"]),
        (["runs/a/fold0", "runs/b/fold0"], ["runs/a/fold0", "runs/b/fold0"]),
    ],
)
def test_each_member_has_a_column_of_its_own(folders, headings):
    about = {"confidence": 0.95, "resamples": 100, "groups": 3, "left_out": {}}
    members = [
        {"name": Path(folder).name, "folder": folder, "splits": {"test": split(0.5, images)}}
        for images, folder in enumerate(folders, start=1)
    ]
    metrics = {"headline": "test", "splits": {"test": split(0.5) | about}, "members": members}
    evaluation = made_evaluation({}, Decision(class_names=("a", "b")))
    blocks = SummarySection().show(evaluation, metrics)
    tables = [block for block in blocks if isinstance(block, Table)]
    assert tables[-1].headings == ["Figure", "All together", *headings]
    assert tables[-1].rows[0] == ["Images", 7, 1, 2]
