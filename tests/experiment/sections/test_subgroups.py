"""What the section on subgroups says, from figures alone."""

import pytest

from tests.experiment.sections.made import made_evaluation, made_predictions
from tfskin.evaluation.decision import Decision
from tfskin.evaluation.report import Paragraph
from tfskin.experiment.sections.subgroups import SubgroupSection

NAMES = ["melanoma", "nevus"]


@pytest.mark.parametrize("column", ["fitzpatrick", "skin_tone", None])
def test_the_direction_of_both_scales_of_skin_is_said_where_one_is_recorded(column):
    facts = {"sex": "female"} | ({column: "4"} if column else {})
    one = made_predictions(NAMES, facts=facts)
    evaluation = made_evaluation({"test": one}, Decision(class_names=tuple(NAMES)))
    section = SubgroupSection()
    metrics = {"headline": "test", **section.compute(evaluation)}
    blocks = section.show(evaluation, metrics)
    texts = " ".join(block.text for block in blocks if isinstance(block, Paragraph))
    assert ("1 (lightest) to 6" in texts and "5 (very light)" in texts) == (column is not None)
