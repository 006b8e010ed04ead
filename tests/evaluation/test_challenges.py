"""Official scores: golden values of the organisers' package, ties included, and the formats."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from tfskin.errors import UserError
from tfskin.evaluation.challenges import (
    CLASSES,
    Challenge,
    match_classes,
    partial_auc,
    score_submission,
    submission_table,
)

# Written by scripts/golden_challenge_scores.py, run where isic-challenge-scoring is installed.
GOLDEN = Path(__file__).parent / "golden" / "isic_challenge_scoring_5.6.0.json"
CASES = json.loads(GOLDEN.read_text(encoding="utf-8"))

HAM = {name: [name] for name in ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")}


def draw(names, images, seed, decimals):
    """Labels and values of a golden case; the script draws the same."""
    random = np.random.default_rng(seed)
    size = len(names)
    labels = np.concatenate([np.arange(size), random.integers(0, size, images - size)])
    values = random.dirichlet(np.ones(size), images) + 0.5 * np.eye(size)[labels]
    values /= values.sum(axis=1, keepdims=True)
    return labels, values if decimals is None else np.round(values, decimals)


def frame(key, names, values):
    table = pd.DataFrame(values, columns=list(names))
    table.insert(0, key, [f"ISIC_{number:07d}" for number in range(len(table))])
    return table


@pytest.mark.parametrize("case", CASES)
def test_scores_equal_those_of_the_official_package(case):
    expected, year = CASES[case], case.split()[0]
    names = CLASSES[year]
    labels, values = draw(names, expected["images"], expected["seed"], expected["decimals"])
    truth = frame("image", names, np.eye(len(names))[labels])
    found = score_submission(year, frame("image", names, values), truth.sample(frac=1))
    assert found["score"] == pytest.approx(expected["overall"], abs=1e-9)
    for name, figures in expected["per_category"].items():
        assert found["per_category"][name] == pytest.approx(figures, abs=1e-9)


def test_a_tie_for_the_highest_counts_as_wrong():
    names = CLASSES["2018"]
    truth = frame("image", names, np.eye(7)[[0, 1]])
    values = np.eye(7)[[0, 1]]
    values[0, 1] = 1.0
    assert score_submission("2018", frame("image", names, values), truth)["score"] == 0.5


@pytest.mark.parametrize("decimals", [None, 1])
def test_2020_is_the_auc_and_2024_the_partial_auc(decimals):
    random = np.random.default_rng(0)
    positive = random.random(300) < 0.2
    scores = np.clip(random.normal(0.4 + 0.2 * positive, 0.2), 0, 1)
    scores = scores if decimals is None else np.round(scores, decimals)
    years: dict[Challenge, str] = {"2020": "image_name", "2024": "isic_id"}
    for year, key in years.items():
        truth = frame(key, ["target"], positive[:, None].astype(float))
        found = score_submission(year, frame(key, ["target"], scores[:, None]), truth)["score"]
        turned = sk.roc_auc_score(~positive, -scores, max_fpr=0.2)
        expected = sk.roc_auc_score(positive, scores)
        if year == "2024":  # scikit-learn standardises after McClish
            expected = 0.02 + 0.18 * (2 * turned - 1)
        assert found == pytest.approx(expected, abs=1e-12)


def test_the_partial_auc_lies_between_0_and_one_fifth():
    positive = np.arange(10) < 5
    assert partial_auc(positive, positive.astype(float)) == pytest.approx(0.2)
    assert partial_auc(positive, 1 - positive.astype(float)) == pytest.approx(0)
    assert partial_auc(positive, np.zeros(10)) == pytest.approx(0.02)


def test_classes_find_their_columns():
    assert match_classes("2018", HAM, None)["AKIEC"] == ["akiec"]
    columns = match_classes("2019", {**HAM, "odd": ["something else"]}, None)
    assert columns["AK"] == ["akiec"]
    assert columns["SCC"] == []
    assert columns["UNK"] == ["odd"]
    assert match_classes("2020", HAM, None) == {"target": ["mel"]}
    assert match_classes("2024", HAM, ["mel", "bcc"]) == {"target": ["mel", "bcc"]}
    assert match_classes("2018", {"melanoma": [], "nevus": []}, None)["MEL"] == ["melanoma"]


@pytest.mark.parametrize(
    ("year", "classes", "message"),
    [
        ("2018", {**HAM, "odd": ["something else"]}, "class 'odd' is none of MEL, NV"),
        ("2018", {"a": ["mel", "nv"], "b": ["bcc"]}, "class 'a' joins diagnoses"),
        ("2020", {"nv": ["nv"], "bcc": ["bcc"]}, "no class of .* is melanoma"),
        ("2024", HAM, "evaluate.malignant"),
    ],
)
def test_classes_that_do_not_fit_are_named(year, classes, message):
    with pytest.raises(UserError, match=message):
        match_classes(year, classes, None)


def test_a_submission_has_the_columns_of_its_year_and_floats_only(tmp_path):
    probabilities = np.eye(7)[[0, 4, 5]]
    columns = match_classes("2019", HAM, None)
    table = submission_table("2019", ["a", "b", "c"], probabilities, columns, list(HAM))
    assert list(table.columns) == ["image", *CLASSES["2019"]]
    assert table["AK"].tolist() == [1.0, 0.0, 0.0]
    table.to_csv(tmp_path / "s.csv", index=False)
    # The official package refuses a column of whole numbers.
    assert "1.0" in (tmp_path / "s.csv").read_text().splitlines()[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[1:], "in only one of submission and truth"),
        (lambda t: t.drop(columns="MEL"), "expected image, MEL"),
        (lambda t: t.assign(MEL=np.nan), "from 0 to 1"),
        (lambda t: t.assign(MEL=2.0), "from 0 to 1"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "there twice"),
    ],
)
def test_what_is_no_submission_is_named(change, message):
    names = CLASSES["2018"]
    truth = frame("image", names, np.eye(7))
    with pytest.raises(UserError, match=message):
        score_submission("2018", change(truth), truth)


def test_one_kind_of_image_has_no_score():
    truth = frame("image_name", ["target"], np.zeros((5, 1)))
    with pytest.raises(UserError, match="target 0 and with 1"):
        score_submission("2020", truth, truth)
