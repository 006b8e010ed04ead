"""Subgroups, operating points and sets with intervals; what is missing is said."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tfskin.evaluation.binary import malignant_figures, set_figures
from tfskin.evaluation.report import Paragraph
from tfskin.evaluation.report_sections import subgroup_report
from tfskin.evaluation.subgroups import Judged, age_band, subgroup_figures

NAMES = ["bcc", "mel", "nv"]


def judged(images=200, **changes):
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, images)
    probabilities = random.dirichlet(np.ones(3), images) + 0.5 * np.eye(3)[labels]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    facts = pd.DataFrame(
        {
            "age": random.integers(-1, 90, images).astype(float),
            "sex": random.choice(["male", "female", ""], images),
            "site": "",
            "hair": (random.random(images) < 0.4).astype(int),
            "dark_corners": random.integers(-1, 2, images),
        }
    )
    values = {
        "labels": labels,
        "probabilities": probabilities,
        "class_names": NAMES,
        "groups": np.arange(images),
        "facts": facts,
        "malignant": ["mel", "bcc"],
        "threshold": 0.6,
        "resamples": 100,
    }
    return Judged(**{**values, **changes})


def test_every_recorded_column_is_a_heading_with_its_groups():
    given = judged()
    found = subgroup_figures(given)
    assert list(found["sex"]["groups"]) == ["female", "male", "unknown"]
    for heading in ("site", "Fitzpatrick type", "skin tone", "image type", "clinic", "source"):
        assert found[heading] == {"recorded": False, "groups": {}}
    male = found["sex"]["groups"]["male"]
    inside = (given.facts["sex"] == "male").to_numpy()
    assert male["images"] == inside.sum()
    hits = given.probabilities.argmax(axis=1) == given.labels
    assert male["accuracy"]["value"] == pytest.approx(hits[inside].mean())
    positive = given.labels < 2
    called = given.probabilities[:, :2].sum(axis=1) >= 0.6
    expected = (positive & called)[inside].sum() / positive[inside].sum()
    assert male["sensitivity"]["value"] == pytest.approx(expected)
    assert male["warning"] == ""
    json.dumps(found, allow_nan=False)


def test_images_with_and_without_artefacts_stand_side_by_side():
    given = judged()
    found = subgroup_figures(given)
    flags = given.facts[["hair", "dark_corners"]] == 1
    groups = found["any artefact"]["groups"]
    assert groups["present"]["images"] == flags.any(axis=1).sum()
    assert groups["absent"]["images"] == (~flags.any(axis=1)).sum()
    assert set(found["hair"]["groups"]) == {"absent", "present"}
    assert set(found["dark corners"]["groups"]) == {"absent", "present", "unknown"}
    without = subgroup_figures(judged(facts=given.facts[["sex"]]))
    assert without["artefacts"] == {"recorded": False, "groups": {}}
    assert without["age"]["recorded"] is False


def test_a_group_of_one_image_and_one_of_one_kind_are_warned_about():
    facts = pd.DataFrame({"sex": ["male"] + ["female"] * 199})
    one = subgroup_figures(judged(facts=facts))["sex"]["groups"]["male"]
    assert one["images"] == 1
    assert one["accuracy"]["value"] in (0.0, 1.0)
    assert one["accuracy"]["low"] is None
    assert one["macro_auc"]["value"] is None
    assert "only 1 groups" in one["warning"]
    benign = judged(labels=np.full(200, 2), facts=facts)
    rest = subgroup_figures(benign)["sex"]["groups"]["female"]
    assert rest["warning"].startswith("only 0 malignant images")
    assert rest["malignant_auc"]["value"] is None
    assert rest["sensitivity"]["value"] is None


def test_without_malignant_classes_there_is_no_sensitivity():
    group = subgroup_figures(judged(malignant=(), threshold=None))["sex"]["groups"]["male"]
    assert group["malignant"] is None
    assert group["malignant_auc"] is None
    assert group["sensitivity"] is None


@pytest.mark.parametrize(
    ("age", "band"),
    [(-1, "unknown"), (0, "0-29"), (29.9, "0-29"), (30, "30-44"), (75, "75+"), (101, "75+")],
)
def test_age_bands(age, band):
    assert age_band(age) == band


def test_operating_points_count_what_they_call():
    positive = np.array([True, True, True, False, False, False, False, False])
    scores = np.array([0.9, 0.8, 0.2, 0.85, 0.3, 0.1, 0.1, 0.0])
    thresholds = {"mine": {"threshold": 0.5, "target": {"sensitivity": 0.6}}}
    found = malignant_figures(positive, scores, np.arange(8), thresholds, resamples=200)
    point = found["operating_points"]["mine"]
    assert (point["true_positives"], point["false_negatives"]) == (2, 1)
    assert (point["false_positives"], point["true_negatives"]) == (1, 4)
    assert point["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert point["specificity"]["value"] == pytest.approx(4 / 5)
    assert point["ppv"]["value"] == pytest.approx(2 / 3)
    assert point["npv"]["value"] == pytest.approx(4 / 5)
    assert point["called"]["value"] == pytest.approx(3 / 8)
    assert point["sensitivity"]["low"] < 2 / 3 < point["sensitivity"]["high"]
    nobody = malignant_figures(
        positive, scores, np.arange(8), {"none": {"threshold": 2.0, "target": {}}}, resamples=100
    )["operating_points"]["none"]
    assert nobody["ppv"]["value"] is None
    assert nobody["sensitivity"]["value"] == 0
    assert nobody["sensitivity"]["high"] == pytest.approx(1 - 0.025 ** (1 / 3))


def test_set_figures():
    labels = np.array([0, 0, 1, 2])
    sets = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
    found = set_figures(labels, sets, np.arange(4), NAMES, resamples=100)
    assert found["coverage"]["value"] == 0.5
    assert found["mean_size"]["value"] == 1
    assert found["single"]["value"] == 0.5
    assert found["empty"]["value"] == 0.25
    assert [found["per_class"][name]["value"] for name in NAMES] == [0.5, 1.0, 0.0]


def test_both_scales_of_skin_are_headings_of_their_own():
    given = judged()
    facts = given.facts.assign(fitzpatrick="2", skin_tone="4", clinic="vienna")
    found = subgroup_figures(judged(facts=facts))
    assert list(found["Fitzpatrick type"]["groups"]) == ["2"]
    assert list(found["skin tone"]["groups"]) == ["4"]
    assert list(found["clinic"]["groups"]) == ["vienna"]
    metrics: dict[str, Any] = {"headline": "test"}
    metrics["subgroups"] = {"operating_point": None, "headings": found}
    texts = [b.text for b in subgroup_report(metrics).blocks if isinstance(b, Paragraph)]
    assert any("1 (lightest) to 6" in text and "5 (very light)" in text for text in texts)
    metrics["subgroups"] = {"operating_point": None, "headings": subgroup_figures(given)}
    texts = [b.text for b in subgroup_report(metrics).blocks if isinstance(b, Paragraph)]
    assert not any("lightest" in text for text in texts)
