import numpy as np
import pytest

from tests.datasets.photographs.scenes import (
    lay_vignette,
    make_skin,
    make_smooth_skin,
    photograph_again,
)
from tfskin.datasets.photographs.features import extract_features
from tfskin.datasets.photographs.verification import (
    Scene,
    align,
    correlate,
    count_distinct,
    fit_similarity,
    match,
)


def scene(image) -> Scene:
    return Scene(extract_features(image))


@pytest.fixture(scope="module")
def skin() -> Scene:
    return scene(make_skin(0))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(
    ("turn", "zoom", "dark"),
    [
        (0, 1, 1),
        (37, 1, 0.7),
        (90, 1, 1),
        (-160, 1.4, 1),
        (10, 2, 1),
        (75, 0.5, 1),
        (180, 0.8, 0.7),
    ],
)
def test_the_similarity_is_recovered(skin, turn, zoom, dark, mirror):
    again, truth = photograph_again(make_skin(0), turn=turn, zoom=zoom, dark=dark, mirror=mirror)
    found = align(skin, scene(again), mirrored=mirror)
    assert found is not None
    assert found.inliers >= 10
    assert found.mirrored == mirror
    assert found.zoom == pytest.approx(zoom, rel=0.02)
    assert (found.turn - turn + 180) % 360 - 180 == pytest.approx(0, abs=1)
    corners = np.array([[100, 75], [300, 75], [100, 225], [300, 225]])
    expected = corners @ truth[:, :2].T + truth[:, 2]
    np.testing.assert_allclose(
        corners @ found.transform[:, :2].T + found.transform[:, 2], expected, atol=3
    )
    assert found.guided >= found.inliers // 2
    assert found.correlation > 0.6


def test_other_skin_is_not_aligned(skin):
    for seed in range(1, 6):
        found = align(skin, scene(make_skin(seed)))
        assert found is None or found.inliers < 7


def test_a_mirrored_image_is_found_by_mirroring_only(skin):
    again, _ = photograph_again(make_skin(0), mirror=True)
    found = align(skin, scene(again))
    assert found is None or found.inliers < 7


def test_two_images_in_one_vignette_have_nothing_in_common():
    frames = [scene(lay_vignette(make_smooth_skin(seed))) for seed in range(6)]
    for place, one in enumerate(frames):
        for other in frames[:place]:
            found = align(one, other)
            assert found is None or found.inliers < 7


def test_texture_correlates_where_the_transform_is_right(skin):
    again, truth = photograph_again(make_skin(0), turn=20)
    thumbnail = scene(again).features.thumbnail
    right = correlate(skin.features.thumbnail, thumbnail, truth)
    wrong = correlate(skin.features.thumbnail, thumbnail, np.eye(2, 3))
    assert right > 0.8
    assert abs(wrong) < 0.3


def test_nothing_correlates_where_nothing_overlaps(skin):
    thumbnail = skin.features.thumbnail
    assert correlate(thumbnail, thumbnail, np.array([[1.0, 0, 390], [0, 1, 0]])) == 0
    assert correlate(thumbnail, np.zeros_like(thumbnail), np.eye(2, 3)) == 0
    assert correlate(np.ones_like(thumbnail), np.ones_like(thumbnail), np.eye(2, 3)) == 0


def test_matches_have_distinct_targets(skin):
    rows, columns = match(skin, skin)
    assert len(rows) > 200
    assert len(np.unique(columns)) == len(columns)
    away = skin.features.places[rows] - skin.features.places[columns]
    assert np.abs(away).max() < 4


def test_matches_count_by_distinct_places():
    here = np.array([[1, 1], [2, 2], [50, 50], [90, 90]], np.float32)
    there = np.array([[5, 5], [60, 60], [61, 61], [99, 99]], np.float32)
    assert count_distinct(here, there) == 3
    assert count_distinct(here[:0], there[:0]) == 0


def test_a_similarity_among_wrong_matches():
    generator = np.random.default_rng(0)
    here = generator.uniform(0, 400, (40, 2)).astype(np.float32)
    truth = np.array([[0.8, -0.6, 100], [0.6, 0.8, -20]])
    there = (here @ truth[:, :2].T + truth[:, 2]).astype(np.float32)
    there[12:] = generator.uniform(0, 400, (28, 2))
    transform, inliers = fit_similarity(here, there)
    assert transform is not None
    np.testing.assert_allclose(transform, truth, atol=0.05)
    assert inliers[:12].all()
    assert inliers[12:].sum() <= 2


def test_an_absurd_zoom_is_no_similarity():
    here = np.random.default_rng(0).uniform(0, 400, (20, 2)).astype(np.float32)
    transform, inliers = fit_similarity(here, here / 10)
    assert transform is None
    assert not inliers.any()


def test_images_without_features_are_not_aligned(skin):
    plain = scene(make_smooth_skin(0).resize((4, 4)))
    assert align(plain, skin) is None
    assert align(skin, plain) is None


def test_the_same_images_give_the_same_alignment(skin):
    again, _ = photograph_again(make_skin(0), turn=50, zoom=1.3)
    other = scene(again)
    one, two = align(skin, other), align(skin, other)
    assert one is not None
    assert two is not None
    assert (one.transform == two.transform).all()
    assert (one.inliers, one.guided) == (two.inliers, two.guided)
    assert one.correlation == two.correlation
