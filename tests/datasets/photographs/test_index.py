import numpy as np
import pytest

from tests.datasets.photographs.scenes import make_skin, photograph_again
from tfskin.datasets.photographs import candidates
from tfskin.datasets.photographs.candidates import OwnDetails, find_candidates, index_images
from tfskin.datasets.photographs.features import Features, extract_features, restore
from tfskin.datasets.photographs.index import (
    CODE_BITS,
    FeatureIndex,
    encode,
    encode_angles,
    encode_scales,
)
from tfskin.datasets.photographs.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def images() -> list[Features]:
    """Features of eight images, 0 and 5 of one scene, 2 and 6 too but mirrored."""
    skins = [make_skin(seed) for seed in range(8)]
    skins[5] = photograph_again(skins[0], turn=70, zoom=1.3)[0]
    skins[6] = photograph_again(skins[2], turn=-30, mirror=True)[0]
    return [extract_features(skin) for skin in skins]


@pytest.fixture(scope="module")
def index(images) -> FeatureIndex:
    return index_images(images, seed=0, workers=1)


def test_every_descriptor_is_in_the_index(images, index):
    assert index.count == 8
    assert len(index.codes) == sum(map(len, images)) == index.starts[-1]
    assert np.bincount(index.images).tolist() == [len(features) for features in images]
    words = index.vocabulary.find_words(restore(images[3].descriptors))[:, 0]
    for word, angle in zip(words, encode_angles(images[3].angles), strict=True):
        entries = slice(index.starts[word], index.starts[word + 1])
        assert ((index.images[entries] == 3) & (index.angles[entries] == angle)).any()


def test_the_image_itself_shares_the_most(images, index):
    shared = index.score_images(images[4])
    found, scores = shared.images, shared.scores
    assert (np.diff(found) > 0).all()
    assert found[scores.argmax()] == 4
    assert scores.min() > 0


def test_a_second_photograph_comes_next(images, index):
    shared = index.score_images(images[0])
    assert shared.images[np.argsort(-shared.scores)][:2].tolist() == [0, 5]


def test_candidates_are_pairs_in_order_without_repetition(images, index):
    pairs = find_candidates(images, index, nearest=1, workers=1).pairs
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert (0, 5) in set(map(tuple, pairs.tolist()))
    assert len(np.unique(pairs, axis=0)) == len(pairs) <= 8
    everything = find_candidates(images, index, nearest=99, workers=1).pairs
    assert len(everything) <= 28
    alone, together = (
        find_candidates(images, index, nearest=3, workers=workers).pairs for workers in (1, 4)
    )
    assert (alone == together).all()


def test_features_on_many_images_are_nobodys_own(images, index, monkeypatch):
    every = find_candidates(images, index, nearest=1, workers=1).own
    assert [len(own) for own in every] == [len(features) for features in images]
    assert all(own.all() for own in every)
    monkeypatch.setattr(candidates, "MAX_ALIKE", 1)  # only the image itself
    own = find_candidates(images, index, nearest=1, workers=1).own
    assert own[0].mean() < 0.9
    assert own[0].mean() < own[4].mean() - 0.1
    left = OwnDetails(images, own)
    assert len(left) == 8
    assert len(left[0]) == own[0].sum()
    assert (left[0].places == images[0].places[own[0]]).all()


def test_mirrored_photographs_are_candidates_when_asked_for(images, index):
    pairs = find_candidates(images, index, nearest=1, mirrored=True, workers=1).pairs
    assert (2, 6) in set(map(tuple, pairs.tolist()))


def test_signatures_are_signs_about_the_words_centre():
    generator = np.random.default_rng(0)
    words = generator.random((1, 2, 128)).astype(np.float32)
    vocabulary = Vocabulary(words.mean(axis=1), words)
    projection = np.linalg.qr(generator.normal(size=(128, 128)))[0][:CODE_BITS].astype(np.float32)
    rows = generator.random((5, 128)).astype(np.float32)
    codes = encode(rows, np.array([0, 1, 0, 1, 1]), vocabulary, projection)
    for row, word, code in zip(rows, [0, 1, 0, 1, 1], codes, strict=True):
        signs = projection @ (row - words[0, word]) > 0
        assert (np.unpackbits(np.array([code]).view(np.uint8)) == signs).all()


def test_angles_and_scales_wrap_and_stay_in_range():
    assert encode_angles(np.array([0.0, 1.41, 359.9, 360.0, 180.0])).tolist() == [0, 1, 255, 0, 128]
    assert encode_scales(np.array([1.0, 2.0, 1.4142, 1e9])).tolist() == [0, 16, 8, 127]


def test_a_detail_on_many_images_says_little():
    """Two details: image 0 shares the one with all of twenty images, the other with one only."""
    generator = np.random.default_rng(0)
    common, rare = generator.integers(0, 90, (2, 128)).astype(np.uint8)
    blank = np.zeros((2, 2), np.uint8)

    def image(*descriptors: np.ndarray) -> Features:
        ones = np.ones(len(descriptors), np.float32)
        return Features(np.stack(descriptors), np.stack([ones, ones], 1), ones, ones, blank)

    pool = [image(common) for _ in range(20)] + [image(rare)]
    index = index_images(pool, seed=0, workers=1)
    shared = index.score_images(image(common, rare))
    found, scores = shared.images, shared.scores
    assert shared.alike.tolist() == [20, 1]
    assert found.tolist() == list(range(21))
    assert scores[20] == pytest.approx(1)
    np.testing.assert_allclose(scores[:20], 1 / 20**0.5)
