import numpy as np
import pytest
from PIL import Image

from tests.datasets.photographs.scenes import lay_vignette, make_skin
from tfskin.datasets.photographs.features import (
    AREA,
    LENGTH,
    MAX_FEATURES,
    extract_features,
    find_skin,
    quantise,
    read_features,
    restore,
    root_sift,
)
from tfskin.errors import UserError


def test_root_sift_is_the_square_root_of_shares():
    found = root_sift(np.array([[1, 3, 0, 12], [0, 0, 0, 0]], np.float32))
    np.testing.assert_allclose(found, [[0.25, 0.75**0.5 / 2, 0, 0.75**0.5], [0, 0, 0, 0]])
    assert found.dtype == np.float32


def test_root_sift_turns_euclidean_into_hellinger_distance():
    generator = np.random.default_rng(0)
    one, other = generator.random((2, 5, 128)).astype(np.float32)
    shares = [side / side.sum(axis=1, keepdims=True) for side in (one, other)]
    hellinger = ((np.sqrt(shares[0]) - np.sqrt(shares[1])) ** 2).sum(axis=1)
    distance = ((root_sift(one) - root_sift(other)) ** 2).sum(axis=1)
    np.testing.assert_allclose(distance, hellinger, rtol=1e-5)


def test_stored_descriptors_keep_their_direction():
    exact = root_sift(np.random.default_rng(0).random((50, 128)).astype(np.float32))
    stored = quantise(exact)
    assert stored.dtype == np.uint8
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), LENGTH, rtol=0.01)
    assert (restore(stored) * exact).sum(axis=1).min() > 0.9995
    assert (restore(np.zeros((1, 128), np.uint8)) == 0).all()


def test_features_of_an_image():
    features = extract_features(make_skin(0))
    assert len(features) == MAX_FEATURES
    assert features.descriptors.shape == (MAX_FEATURES, 128)
    assert features.descriptors.dtype == np.uint8
    assert features.places.dtype == np.float32
    assert features.thumbnail.shape == (150, 200)
    assert (features.places >= 0).all()
    assert (features.places < (400, 300)).all()
    assert ((features.angles >= 0) & (features.angles < 360)).all()


@pytest.mark.parametrize("size", [(400, 300), (1023, 511), (60, 600), (2000, 100), (8, 8)])
def test_images_of_any_size_come_to_one_area(size):
    features = extract_features(make_skin(1, size))
    height, width = features.thumbnail.shape
    assert abs(4 * height * width / AREA - 1) < 0.01
    assert max(width / height, height / width) < 4.05


def test_a_plain_image_has_no_features():
    features = extract_features(Image.new("RGB", (200, 150), (200, 160, 150)))
    assert len(features) == 0
    assert features.descriptors.shape == (0, 128)
    assert features.places.shape == (0, 2)
    assert len(features.mirrored()) == 0


def test_mirrored_features_are_those_of_the_mirrored_image():
    image = make_skin(2)
    guessed = extract_features(image).mirrored()
    found = extract_features(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    # OpenCV's CLAHE pads at the right, so the two aren't equal.
    assert np.abs(guessed.thumbnail.astype(int) - found.thumbnail).mean() < 5
    alike = 0
    for place, scale, angle, descriptor in zip(
        guessed.places, guessed.scales, guessed.angles, restore(guessed.descriptors), strict=True
    ):
        near = np.linalg.norm(found.places - place, axis=1) < 1
        near &= np.abs(found.scales / scale - 1) < 0.1
        near &= np.abs((found.angles - angle + 180) % 360 - 180) < 5
        if near.any():
            alike += (restore(found.descriptors[near]) @ descriptor).max() > 0.95
    assert alike > 0.6 * len(guessed)


def test_mirroring_twice_changes_nothing():
    features = extract_features(make_skin(3))
    again = features.mirrored().mirrored()
    for name in ("descriptors", "scales", "thumbnail"):
        assert (getattr(again, name) == getattr(features, name)).all()
    np.testing.assert_allclose(again.places, features.places, atol=1e-3)


def test_a_vignette_has_no_features_nor_its_edge():
    image = lay_vignette(make_skin(4))
    features = extract_features(image)
    away = np.linalg.norm(features.places - (200, 150), axis=1)
    assert len(features) > 100
    assert away.max() < 0.49 * 300 - 5
    assert features.thumbnail[0, 0] == 0
    assert features.thumbnail[75, 100] > 0


def test_a_dark_lesion_inside_is_no_vignette():
    grey = np.full((300, 400), 180, np.uint8)
    grey[100:200, 150:250] = 20
    assert (find_skin(grey) == 255).all()
    grey[:, :60] = 20
    assert (find_skin(grey)[:, :60] == 0).all()
    assert (find_skin(grey)[100:200, 150:250] == 255).all()


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"broken\.jpg: is no image"):
        read_features(tmp_path / "broken.jpg")
