"""Which pairs of images are worth verifying: those that share the most details."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfskin.datasets.photographs.features import Features
from tfskin.datasets.photographs.index import FeatureIndex, build_index
from tfskin.datasets.photographs.vocabulary import Vocabulary, train_vocabulary
from tfskin.datasets.pictures import map_pictures

ENTRIES_PER_WORD = 150
_MAX_SIDE = 512
_SAMPLE = 400_000
_SAMPLES_PER_WORD = 4


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
) -> np.ndarray:
    """Pairs of images in which one is among the nearest of the other: int64 (M, 2), sorted.

    In each row the first is below the second, and no pair is there twice. With ``mirrored`` each
    image is mirrored before it is compared with the rest.

    Args:
        images: the features of each image.
        index: of the same images.
        nearest: how many of the best images of each are taken, by
            :meth:`FeatureIndex.score_images`.
        mirrored: look for mirrored photographs.
        workers: threads; none for one a CPU.
    """

    def look(place: int) -> np.ndarray:
        features = images[place].mirrored() if mirrored else images[place]
        # Mirrored photographs are copies of files, which share so much that one word each will do.
        near = {"cells": 1, "words": 1} if mirrored else {}
        found, scores = index.score_images(features, **near)
        found, scores = found[found != place], scores[found != place]
        best = found[np.argsort(-scores, kind="stable")[:nearest]]
        return np.stack([np.minimum(best, place), np.maximum(best, place)], axis=1)

    title = "mirrored candidates" if mirrored else "candidates"
    found = list(map_pictures(look, range(len(images)), title=title, workers=workers))
    return np.unique(np.concatenate([np.zeros((0, 2), np.int64), *found]), axis=0)


def _train(images: Sequence[Features], total: int, wanted: int, side: int, seed: int) -> Vocabulary:
    """A vocabulary trained on about ``wanted`` descriptors, evenly from all images."""
    from tfskin.datasets.photographs.features import restore

    step = max(total // wanted, 1)
    offset = 0
    sample = []
    for place in range(len(images)):
        descriptors = images[place].descriptors
        sample.append(descriptors[offset % step :: step])
        offset -= len(descriptors)
    return train_vocabulary(restore(np.concatenate(sample)), side=side, seed=seed)
