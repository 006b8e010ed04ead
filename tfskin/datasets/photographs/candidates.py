"""Which pairs of images are worth verifying: those that share the most details."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfskin.datasets.images import map_images
from tfskin.datasets.photographs.features import Features, restore
from tfskin.datasets.photographs.index import FeatureIndex, build_index
from tfskin.datasets.photographs.vocabulary import Vocabulary, train_vocabulary

ENTRIES_PER_WORD = 150
MAX_ALIKE = 20
"""A detail on more images is no lesion's: a ruler's mark, a reflex of the lamp, a sticker."""
_MAX_SIDE = 512
_SAMPLE = 400_000
_SAMPLES_PER_WORD = 4


@dataclass(frozen=True)
class Candidates:
    """Pairs that are worth verifying, and what of each image is its own.

    Attributes:
        pairs: int64 (M, 2), sorted; in each row the first is below the second, and no pair is
            there twice.
        own: of each image, bool (N,): the features that have their like in 20 images at most.
    """

    pairs: np.ndarray
    own: list[np.ndarray]


def index_images(
    images: Sequence[Features], *, seed: int, workers: int | None = None
) -> FeatureIndex:
    """An index of the images, with a vocabulary of their own: a word for about 150 descriptors.

    So a word's entries don't become more as the images do, and the time of a query hardly grows.
    """
    counts = [len(images[place]) for place in range(len(images))]
    total = sum(counts)
    side = min(max(round((total / ENTRIES_PER_WORD) ** 0.5), 1), _MAX_SIDE)
    wanted = max(_SAMPLE, _SAMPLES_PER_WORD * side * side)
    vocabulary = _train(images, total, wanted, side, seed)
    return build_index(images, vocabulary, seed=seed, workers=workers)


def find_candidates(
    images: Sequence[Features],
    index: FeatureIndex,
    *,
    nearest: int,
    mirrored: bool = False,
    workers: int | None = None,
) -> Candidates:
    """Pairs of images in which one is among the nearest of the other.

    With ``mirrored`` each image is mirrored before it is compared with the rest.

    Args:
        images: the features of each image.
        index: of the same images.
        nearest: how many of the best images of each are taken, by
            :meth:`FeatureIndex.score_images`.
        mirrored: look for mirrored photographs.
        workers: threads; none for one a CPU.
    """

    def look(place: int) -> tuple[np.ndarray, np.ndarray]:
        features = images[place].mirrored() if mirrored else images[place]
        # Mirrored photographs are copies of files, which share so much that one word each will do.
        near = {"cells": 1, "words": 1} if mirrored else {}
        shared = index.score_images(features, **near)
        others = shared.images != place
        order = np.argsort(-shared.scores[others], kind="stable")[:nearest]
        best = shared.images[others][order]
        pairs = np.stack([np.minimum(best, place), np.maximum(best, place)], axis=1)
        return pairs, shared.alike <= MAX_ALIKE

    title = "mirrored candidates" if mirrored else "candidates"
    found = list(map_images(look, range(len(images)), title=title, workers=workers))
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *(pairs for pairs, _ in found)])
    return Candidates(np.unique(pairs, axis=0), [own for _, own in found])


class OwnDetails(Sequence[Features]):
    """The features of images without those that are on many images."""

    def __init__(self, images: Sequence[Features], own: Sequence[np.ndarray]) -> None:
        self._images, self._own = images, own

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, place: int) -> Features:  # type: ignore[override]  # no slices
        return self._images[place].select(self._own[place])


def _train(images: Sequence[Features], total: int, wanted: int, side: int, seed: int) -> Vocabulary:
    """A vocabulary trained on about ``wanted`` descriptors, evenly from all images."""
    step = max(total // wanted, 1)
    offset = 0
    sample = []
    for place in range(len(images)):
        descriptors = images[place].descriptors
        sample.append(descriptors[offset % step :: step])
        offset -= len(descriptors)
    return train_vocabulary(restore(np.concatenate(sample)), side=side, seed=seed)
