"""Photographs laid over one another show the same skin at the same place."""

import numpy as np
import pytest

from tests.datasets.photographs.scenes import make_skin, photograph_again
from tfskin.datasets.photographs.features import extract_features
from tfskin.datasets.photographs.overlay import lay_over
from tfskin.datasets.photographs.search import search_features


@pytest.mark.parametrize("mirror", [False, True])
def test_the_first_lies_over_the_second(mirror):
    first = make_skin(1, (800, 600))
    second, _ = photograph_again(make_skin(1), turn=40, zoom=1.2, mirror=mirror)
    images = [extract_features(image) for image in (first, second, make_skin(2))]
    found = search_features(images, workers=1).iloc[0]
    link = {str(name): value for name, value in found.items()}
    assert bool(link["mirrored"]) == mirror
    moved, still = (np.asarray(image, float)[..., 0] for image in lay_over(first, second, link))
    assert moved.shape == still.shape
    middle = slice(90, 210), slice(120, 280)
    assert np.corrcoef(moved[middle].ravel(), still[middle].ravel())[0, 1] > 0.95
