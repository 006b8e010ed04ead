"""Reliance checks tell a model that looks at the lesion from one that looks elsewhere."""

import json

import numpy as np
import pytest

from tfskin.evaluation.bootstrap import Bootstrap
from tfskin.evaluation.image_changes import (
    TURNS,
    change_all,
    corruptions,
    hide_lesion,
    keep_lesion,
    pasted,
)
from tfskin.evaluation.predictions import Predictions
from tfskin.evaluation.reliance import Probe, count_passes, reliance_metrics

NAMES = ["nevus", "melanoma"]


def images(images=40):
    """Skin with a dark spot in the middle for melanoma, and its dark rim for nobody."""
    labels = np.arange(images) % 2
    shown = np.full((images, 32, 40, 3), 190, np.float32)
    shown += 4 * np.random.default_rng(0).standard_normal(shown.shape, dtype=np.float32)
    shown[labels == 1, 12:20, 15:25] = 60
    return labels, shown


def from_brightness(part: np.ndarray) -> np.ndarray:
    brightness = np.asarray(part, float).mean(axis=(1, 2, 3))
    dark = np.asarray(1 / (1 + np.exp((brightness - 120) / 10)))
    return np.stack([1 - dark, dark], axis=1)


def centre_model(shown):
    """Dark middle: melanoma."""
    return from_brightness(shown[:, 12:20, 15:25])


def corner_model(shown):
    """Says the same whatever is in the middle: the upper left corner's brightness."""
    return from_brightness(shown[:, :4, :4])


def check(predict, *, malignant=("melanoma",), clean=None, **options):
    labels, shown = images()
    given = Predictions.of(labels, np.full((40, 2), 0.5), NAMES, malignant=malignant)
    probe = Probe(predict=predict, images=shown, clean=clean)
    return reliance_metrics(given, Bootstrap(resamples=100), probe, **options)


def test_hiding_the_lesion_takes_the_answer_away():
    steps: list[int] = []
    found = check(centre_model, advance=steps.append)
    assert sum(steps) == count_passes()
    assert found["unchanged"]["malignant_auc"]["value"] == 1
    assert found["lesion_hidden"]["balanced_accuracy"]["value"] == 0.5
    assert found["lesion_only"]["malignant_auc"]["value"] == 1
    assert found["consistency"]["batch"] < 1e-9
    assert found["consistency"]["turned by 180°"]["same"]["value"] == 1
    levels = found["corruptions"]["JPEG quality"]
    assert [entry["level"] for entry in levels] == sorted(
        (entry["level"] for entry in levels), reverse=True
    )
    assert levels[0]["accuracy"]["value"] == 1
    json.dumps(found, allow_nan=False)


def test_a_model_that_looks_at_the_corner_is_found_out():
    found = check(corner_model)
    assert found["unchanged"]["accuracy"] == found["lesion_hidden"]["accuracy"]
    dark = found["pasted"]["dark corners"]
    assert dark["changed"]["value"] > 0.7
    assert dark["mean_change"]["value"] > 0.6
    assert dark["mean_change"]["low"] <= dark["mean_change"]["value"]
    assert found["consistency"]["turned by 180°"]["mean_difference"]["value"] < 0.01


def test_artefacts_are_pasted_on_clean_images_only():
    clean = np.arange(40) < 10
    found = check(centre_model, clean=clean)
    assert found["clean_images"] == 10
    found = check(centre_model, clean=np.zeros(40, bool), malignant=())
    assert found["pasted"] == {}
    assert found["unchanged"]["malignant_auc"] is None


def test_a_batch_that_matters_is_seen():
    def leaky(shown):
        return centre_model(shown - shown.mean() + 150)

    assert check(leaky)["consistency"]["batch"] > 0.01


@pytest.mark.parametrize("shape", [(32, 32, 3), (24, 40, 3)])
def test_changes_keep_shape_and_range_and_are_repeatable(shape):
    image = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype(np.float32)
    changes = [hide_lesion, keep_lesion, *TURNS.values(), *pasted().values()]
    changes += [change for levels in corruptions().values() for change in levels.values()]
    for change in changes:
        once, again = change_all(image, change), change_all(image, change)
        assert once.shape == image.shape
        assert once.dtype == np.float32
        assert once.min() >= 0
        assert once.max() <= 255
        np.testing.assert_array_equal(once, again)
        assert not np.array_equal(once, image)


def test_hidden_and_only_share_the_image_between_them():
    image = np.random.default_rng(0).uniform(0, 255, (30, 30, 3)).astype(np.float32)
    hidden, only = hide_lesion(image), keep_lesion(image)
    same = (hidden == image).all(axis=2) ^ (only == image).all(axis=2)
    assert same.all()
