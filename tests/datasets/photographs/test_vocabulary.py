import numpy as np

from tfskin.datasets.photographs.vocabulary import Vocabulary, train_vocabulary


def directions(seed: int, count: int) -> np.ndarray:
    rows = np.abs(np.random.default_rng(seed).normal(size=(count, 128))).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_words_are_centres_of_clusters():
    centres = directions(0, 9)
    noise = np.random.default_rng(1).normal(0, 0.002, (9, 40, 128))
    sample = (centres[:, None] + noise).reshape(-1, 128).astype(np.float32)
    vocabulary = train_vocabulary(sample, side=3, seed=0)
    assert vocabulary.cells.shape == (3, 128)
    assert vocabulary.words.shape == (3, 3, 128)
    assert vocabulary.size == 9
    words = vocabulary.find_words(sample)
    assert words.shape == (360, 1)
    # Every descriptor is near the mean of its word: k-means' fixed point, as far as it got.
    means = [sample[words[:, 0] == word].mean(axis=0) for word in np.unique(words)]
    np.testing.assert_allclose(vocabulary.centres[np.unique(words)], means, atol=1e-3)


def test_the_nearest_word_of_a_flat_search_is_found_with_every_cell():
    sample = directions(2, 400)
    vocabulary = train_vocabulary(sample, side=5, seed=0)
    queries = directions(3, 50)
    distances = np.linalg.norm(queries[:, None] - vocabulary.centres[None], axis=2)
    nearest = vocabulary.find_words(queries, cells=5, words=1)
    assert (nearest == distances.argmin(axis=1)[:, None]).any(axis=1).all()
    every = vocabulary.find_words(queries, cells=9, words=9)
    assert (np.sort(every, axis=1) == np.arange(25)).all()


def test_the_nearest_words_of_the_nearest_cells():
    cells = np.eye(3, 128, dtype=np.float32)
    words = cells[:, None] + 0.1 * np.eye(4, 128, k=10, dtype=np.float32)[None]
    vocabulary = Vocabulary(cells, words)
    query = words[1, 2][None] + 0.01 * cells[2]
    assert set(vocabulary.find_words(query, cells=1, words=2)[0]) <= {4, 5, 6, 7}
    assert vocabulary.find_words(query)[0, 0] == 6


def test_small_samples_make_few_words():
    vocabulary = train_vocabulary(directions(4, 3), side=5, seed=0)
    assert vocabulary.cells.shape == (3, 128)
    assert vocabulary.size == 15
    # The places that no word fills are nearest to nothing.
    assert set(vocabulary.find_words(directions(5, 100))[:, 0]) <= {0, 5, 10}


def test_the_same_seed_gives_the_same_words():
    sample = directions(6, 500)
    one, two = (train_vocabulary(sample, side=4, seed=3) for _ in range(2))
    assert (one.words == two.words).all()
    assert not (train_vocabulary(sample, side=4, seed=4).words == one.words).all()
