"""What the report's sections say, from figures alone."""

from tfskin.evaluation.figures import SUMMARY_FIGURES
from tfskin.evaluation.report_sections import HEADINGS, _summary_table


def test_a_figure_that_no_split_has_is_no_row():
    """With two classes the second guess is always right, so there is no top-2 accuracy."""

    def split(top2):
        figures = {key: {"value": 0.5, "low": 0.4, "high": 0.6} for key in SUMMARY_FIGURES}
        return figures | {"images": 7, "top2_accuracy": {"value": top2, "low": None, "high": None}}

    def headings(*splits):
        table = _summary_table("Figures", dict(zip("ab", splits, strict=False)))
        return [row[0] for row in table.rows]

    every = ["Images", *(HEADINGS[key] for key in SUMMARY_FIGURES)]
    assert headings(split(0.9), split(None)) == every
    assert headings(split(None), split(None)) == [x for x in every if x != "Top-2 accuracy"]
