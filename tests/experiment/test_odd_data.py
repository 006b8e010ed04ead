"""What data can lack is said in words: no crash, no NaN, in every table of a report."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tfskin.evaluation.reliance import Probe, reliance_figures
from tfskin.evaluation.report import ReportContent, write_report
from tfskin.evaluation.report_sections import (
    calibration_report,
    class_section,
    malignant_report,
    reliance_report,
    subgroup_report,
    summary_section,
)
from tfskin.experiment.evaluation_run import figures_of_splits
from tfskin.experiment.judging import Predictions
from tfskin.experiment.sections import (
    calibration_section,
    conformal_section,
    malignant_section,
    subgroup_section,
)
from tfskin.schema import EvaluateConfig

NAMES = ["melanoma", "nevus", "keratosis"]
CONFIG = EvaluateConfig(resamples=100, reliance_images=0, explained_images=0)
DECISION = {
    "temperature": 1.0,
    "malignant": ["melanoma"],
    "thresholds": {"sensitivity_0.9": {"threshold": 0.2, "target": {"sensitivity": 0.9}}},
    "conformal": {"coverage": 0.9, "per_class": dict.fromkeys(NAMES, 0.7)},
}


def predictions(*, labels=None, probabilities=None, groups=None, facts=None, images=24):
    labels = np.arange(images) % 3 if labels is None else np.asarray(labels)
    images = len(labels)
    if probabilities is None:
        probabilities = np.random.default_rng(0).dirichlet(np.ones(3), images)
    table = pd.DataFrame(facts if facts is not None else {}, index=range(images))
    table["image_id"] = [f"ISIC_{number}" for number in range(images)]
    table["group"] = np.arange(images) if groups is None else groups
    table["label"] = labels
    return Predictions(
        facts=table,
        class_names=NAMES,
        logits=np.log(probabilities),
        probabilities=probabilities,
        scores=probabilities[:, 0],
    )


def looks(one):
    """Reliance checks of a model that says the same of every picture."""
    probe = Probe(
        predict=lambda shown: np.full((len(shown), 3), 1 / 3),
        pictures=np.zeros((len(one.labels), 16, 16, 3), np.float32),
        labels=one.labels,
        groups=one.groups,
        class_names=NAMES,
        malignant=["melanoma"],
        resamples=20,
    )
    return {"split": "test", "artefacts_recorded": False, **reliance_figures(probe)}


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
    one = predictions(**ODD[case])
    metrics = {
        "headline": "test",
        "splits": figures_of_splits({"test": one}, CONFIG),
        "malignant": malignant_section({"test": one}, DECISION, ["melanoma"], CONFIG),
        "calibration": calibration_section(one, predictions(), DECISION, CONFIG),
        "conformal": conformal_section({"test": one}, DECISION, CONFIG),
        "subgroups": subgroup_section(one, ["melanoma"], DECISION, CONFIG),
        "reliance": looks(one) if case == "one image" else None,
    }
    json.dumps(metrics, allow_nan=False)
    sections = [
        summary_section(metrics),
        class_section(metrics, []),
        malignant_report(metrics, []),
        calibration_report(metrics),
        subgroup_report(metrics),
        reliance_report(metrics),
    ]
    write_report(tmp_path / "report.html", content=ReportContent(title=case, sections=sections))
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
