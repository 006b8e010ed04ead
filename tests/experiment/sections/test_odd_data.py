"""What data can lack is said in words: no crash, no NaN, in every table of a report."""

import json
from typing import Any

import numpy as np
import pytest

from tests.experiment.sections.made import made_evaluation, made_predictions
from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.decision import Conformal, Decision, OperatingPoint
from tfskin.evaluation.reliance import Probe, reliance_metrics
from tfskin.evaluation.report import ReportContent, Section, write_report
from tfskin.experiment.sections.base import ReportSection
from tfskin.experiment.sections.calibration import CalibrationSection
from tfskin.experiment.sections.classes import ClassSection
from tfskin.experiment.sections.malignant import MalignantSection
from tfskin.experiment.sections.reliance import RelianceSection
from tfskin.experiment.sections.subgroups import SubgroupSection
from tfskin.experiment.sections.summary import SummarySection

NAMES = ["melanoma", "nevus", "keratosis"]
DECISION = Decision(
    class_names=tuple(NAMES),
    malignant=("melanoma",),
    thresholds={"sensitivity_0.9": OperatingPoint(threshold=0.2, target={"sensitivity": 0.9})},
    conformal=Conformal(coverage=0.9, per_class=dict.fromkeys(NAMES, 0.7)),
)
COMPUTED: list[ReportSection] = [
    SummarySection(),
    ClassSection(),
    MalignantSection(),
    CalibrationSection(),
    SubgroupSection(),
]
"""The sections that need no run."""


def looks(one):
    """Reliance checks of a model that says the same of every image."""
    probe = Probe(
        predict=lambda shown: np.full((len(shown), 3), 1 / 3),
        images=np.zeros((len(one), 16, 16, 3), np.float32),
    )
    found = reliance_metrics(one, Bootstrap(resamples=20), probe)
    return {"split": "test", "artefacts_recorded": False, **found}


ODD: dict[str, dict[str, Any]] = {
    "no metadata at all": {},
    "metadata that are empty": {
        "facts": {"age": -1.0, "sex": "", "site": "", "skin_tone": "", "hair": -1}
    },
    "a class that is absent": {"labels": [0, 1] * 12},
    "one class only": {"labels": [1] * 12},
    "no malignant image": {"labels": [1, 2] * 12},
    "one group": {"groups": np.zeros(24, int)},
    "a class of one image": {"labels": [0, *[1, 2] * 10]},
    "one image": {"labels": [1]},
    "constant predictions": {"probabilities": np.full((24, 3), 1 / 3)},
    "certain predictions": {"probabilities": np.eye(3)[np.arange(24) % 3] * 0.999 + 1e-3 / 3},
}


@pytest.mark.parametrize("case", ODD)
def test_odd_data_have_a_report_in_words(tmp_path, case):
    one = made_predictions(NAMES, **ODD[case])
    splits = {"test": one, "calibration": made_predictions(NAMES)}
    evaluation = made_evaluation(splits, DECISION)
    sections = list(COMPUTED)
    metrics: dict[str, Any] = {}
    for section in COMPUTED:
        metrics |= section.compute(evaluation)
    if case == "one image":
        metrics["reliance"] = looks(one)
        sections.append(RelianceSection())
    json.dumps(metrics, allow_nan=False)
    content = ReportContent(
        title=case,
        sections=[
            Section(heading=section.heading, blocks=section.show(evaluation, metrics))
            for section in sections
        ],
    )
    write_report(tmp_path / "report.html", content=content)
    shown = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ">nan" not in shown
    assert ">None" not in shown
    words = {
        "no metadata at all": "Not recorded: age, sex, site, Fitzpatrick type, skin tone",
        "metadata that are empty": "Not recorded: age, sex, site, Fitzpatrick type, skin tone",
        "a class that is absent": "leaves out keratosis: no value in test",
        "one class only": "Macro AUC leaves out melanoma, nevus, keratosis",
        "no malignant image": "leaves out melanoma: no value in test",
        "one group": "rests on a single group",
    }
    assert words.get(case, "") in shown


def test_sections_of_a_split_without_a_class_are_plain_json():
    names = NAMES[:2]
    splits = {
        "test": made_predictions(names, labels=[1] * 24),
        "calibration": made_predictions(names),
    }
    decision = Decision(class_names=tuple(names), malignant=("melanoma",))
    evaluation = made_evaluation(splits, decision)
    metrics: dict[str, Any] = {}
    for section in COMPUTED:
        metrics |= section.compute(evaluation)
    assert "NaN" not in json.dumps(metrics, allow_nan=False)
    assert metrics["malignant"]["splits"]["test"]["auc"]["value"] is None
    assert metrics["conformal"] is None
