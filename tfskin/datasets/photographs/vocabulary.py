"""Visual words: local descriptors sorted into cells, so that like ones are found together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_ROUNDS = 8
_ROWS_AT_ONCE = 16384
_NOWHERE = 100.0  # a word that no descriptor of length 1 is nearest to


@dataclass(frozen=True)
class Vocabulary:
    """Words in two levels: cells, and words within each cell (Nister and Stewenius 2006).

    Attributes:
        cells: float32 (K, 128), centres of the cells.
        words: float32 (K, W, 128), centres of the words of each cell; a cell of few descriptors
            has fewer words, and the rest lie where nothing is nearest to them.
    """

    cells: np.ndarray
    words: np.ndarray

    @property
    def size(self) -> int:
        """The number of words."""
        return self.words.shape[0] * self.words.shape[1]

    @property
    def centres(self) -> np.ndarray:
        """The centre of each word: float32 (size, 128)."""
        return self.words.reshape(self.size, -1)

    def find_words(self, descriptors: np.ndarray, *, cells: int = 1, words: int = 1) -> np.ndarray:
        """The nearest words of each descriptor: int64 (N, cells * words).

        The nearest words of the nearest cells; a word beyond a near cell's border is missed, so
        more than one cell is asked for where that matters.

        Args:
            descriptors: float32 (N, 128), of length 1.
            cells: how many cells; fewer where the vocabulary has fewer.
            words: how many words of each; fewer where the vocabulary has fewer.
        """
        cells, words = min(cells, self.words.shape[0]), min(words, self.words.shape[1])
        found = np.empty((len(descriptors), cells, words), np.int64)
        near = _nearest(descriptors, self.cells, cells)
        for cell in np.unique(near):
            rows, places = np.nonzero(near == cell)
            inside = _nearest(descriptors[rows], self.words[cell], words)
            found[rows, places] = inside + cell * self.words.shape[1]
        return found.reshape(len(descriptors), cells * words)


def train_vocabulary(sample: np.ndarray, *, side: int, seed: int) -> Vocabulary:
    """A vocabulary of ``side`` cells of ``side`` words each, by k-means on each level.

    Args:
        sample: float32 (N, 128), descriptors of length 1, at least one.
        side: the number of cells, and of words a cell; fewer cells where the sample is small.
        seed: the same seed and sample give the same words, with one thread of BLAS and OpenMP.
    """
    cells, cell_of = _cluster(sample, side, seed)
    words = np.full((len(cells), side, sample.shape[1]), _NOWHERE, np.float32)
    for cell in range(len(cells)):
        centres, _ = _cluster(sample[cell_of == cell], side, seed + 1 + cell)
        words[cell, : len(centres)] = centres
    return Vocabulary(cells, words)


def _cluster(sample: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres, and the centre of each row."""
    if len(sample) <= count:
        return sample, np.arange(len(sample))
    generator = np.random.default_rng(seed)
    centres = sample[np.sort(generator.choice(len(sample), count, replace=False))]
    for _ in range(_ROUNDS):
        nearest = _nearest(sample, centres, 1)[:, 0]
        order = np.argsort(nearest, kind="stable")
        filled, starts = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(sample[order], starts, axis=0)
        centres = centres.copy()  # an empty cluster keeps its centre
        centres[filled] = sums / np.diff(np.append(starts, len(sample)))[:, None]
    return centres, _nearest(sample, centres, 1)[:, 0]


def _nearest(rows: np.ndarray, centres: np.ndarray, count: int) -> np.ndarray:
    """Indices of the ``count`` nearest centres of each row, in any order: (N, count)."""
    if count == len(centres):
        return np.broadcast_to(np.arange(count), (len(rows), count))
    halves = np.einsum("ij,ij->i", centres, centres) / 2
    found = np.empty((len(rows), count), np.int64)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        distances = halves - rows[start : start + _ROWS_AT_ONCE] @ centres.T
        if count == 1:
            found[start : start + _ROWS_AT_ONCE, 0] = distances.argmin(axis=1)
        else:
            parts = np.argpartition(distances, count - 1, axis=1)[:, :count]
            found[start : start + _ROWS_AT_ONCE] = parts
    return found
