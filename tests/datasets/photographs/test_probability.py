import numpy as np
import pandas as pd
import pytest

from tfskin.datasets.photographs.probability import (
    REPORTING,
    SPLITTING,
    estimate_probability,
)


def frame(*links: tuple[int, float, bool]) -> pd.DataFrame:
    return pd.DataFrame(links, columns=["inliers", "correlation", "mirrored"])


def estimate(inliers: int, correlation: float, mirrored: bool = False) -> float:
    links = pd.DataFrame(
        {"inliers": [inliers], "correlation": [correlation], "mirrored": [mirrored]}
    )
    return float(estimate_probability(links)[0])


def test_the_formula():
    expected = 1 / (1 + np.exp(-(10.36 * np.log(8) + 11.18 * 0.5 - 24.69)))
    assert estimate(7, 0.5) == pytest.approx(expected)


def test_more_inliers_and_more_correlation_make_a_link_more_probable():
    assert estimate(4, 0.1) < estimate(6, 0.1) < estimate(8, 0.1) == estimate(30, 0.1)
    assert estimate(6, 0) < estimate(6, 0.5) < estimate(6, 0.9)
    assert 0 <= estimate(4, -1) < 0.001
    assert estimate(300, 1) <= 1


def test_a_shared_mark_without_shared_texture_links_nothing():
    assert estimate(200, 0.2) < REPORTING
    assert estimate(200, 0.1) < SPLITTING


def test_a_mirrored_link_needs_to_agree_nearly_everywhere():
    assert estimate(8, 0.5) > REPORTING
    assert estimate(8, 0.5, mirrored=True) < REPORTING
    assert estimate(8, 0.3, mirrored=True) < SPLITTING < estimate(8, 0.3)
    assert estimate(8, 0.9, mirrored=True) > REPORTING


def test_thresholds_are_in_order():
    assert 0 < SPLITTING < REPORTING < 1


def test_no_links():
    assert estimate_probability(
        pd.DataFrame({"inliers": [], "correlation": [], "mirrored": []})
    ).shape == (0,)
