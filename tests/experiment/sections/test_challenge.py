"""A challenge gets its submission and its official score."""

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tests.experiment.sections.made import made_predictions
from tfskin.evaluation.challenges import YEARS, score_submission
from tfskin.experiment.sections.challenge import write_challenge


@pytest.mark.parametrize("year", YEARS)
def test_a_challenge_gets_its_submission_and_its_score(tmp_path, year):
    classes = {"melanoma": ["mel"], "nevus": ["nv"], "keratosis": ["akiec"]}
    one = made_predictions(list(classes), images=40)
    found = write_challenge(year, one, classes, tmp_path)
    submission, truth = (
        pd.read_csv(tmp_path / f"{name}_{year}.csv") for name in ("submission", "truth")
    )
    assert found["score"] == score_submission(year, submission, truth)["score"]
    assert len(submission) == 40
    if year == "2020":
        area = roc_auc_score(one.labels == 0, one.probabilities[:, 0])
        assert found["score"] == pytest.approx(area)
    if year == "2018":
        assert found["columns_without_a_class"] == ["BCC", "BKL", "DF", "VASC"]
