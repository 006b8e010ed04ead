"""Photographs of one lesion among many images: features, candidates, verification, links."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from tfskin.datasets.images import map_images
from tfskin.datasets.photographs.candidates import OwnDetails, find_candidates, index_images
from tfskin.datasets.photographs.features import Features
from tfskin.datasets.photographs.probability import estimate_probability
from tfskin.datasets.photographs.store import store_features
from tfskin.datasets.photographs.verification import Alignment, Scene, align

EVIDENCE = ("inliers", "guided", "correlation")
LINK_COLUMNS = (
    *("first", "second", "probability", "mirrored", "turn", "zoom", "shift_x", "shift_y"),
    *EVIDENCE,
)
_FRIENDS = 0.5
_MAX_FRIENDS = 12


@dataclass(frozen=True)
class SearchOptions:
    """How hard to look.

    Attributes:
        nearest: candidates of each image that are verified.
        nearest_mirrored: the same among the mirrored images; 0 leaves mirrored ones out.
        seed: of the vocabulary and the projection.
    """

    nearest: int = 30
    nearest_mirrored: int = 4
    seed: int = 0


def find_photographs(
    paths: Sequence[str],
    *,
    cache: Path | str | None = None,
    options: SearchOptions | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """Links between images that may show one lesion: a frame with a row for each pair.

    The columns are :data:`LINK_COLUMNS`: ``first < second`` are indices into ``paths``
    (int64), ``probability`` (float64) is that of being the same lesion, 0 to 1. The transform lays
    the first image over the second: the first is ``mirrored`` about its vertical axis or not, then
    turned by ``turn`` degrees (clockwise), magnified by ``zoom`` and shifted by ``shift_x`` and
    ``shift_y``, in pixels of images brought to 400 x 300 pixels' area. The rest is the evidence,
    see :class:`tfskin.datasets.photographs.verification.Alignment`. Rows are sorted by first, then
    second.

    The result is a function of the images and the seed: the number of workers means nothing.

    Args:
        paths: image files.
        cache: a folder for the features, so that a stopped search goes on; None: a temporary one.
        options: how hard to look.
        workers: threads; none for one a CPU.

    Raises:
        UserError: an image can't be decoded; the message names the file.
    """
    with tempfile.TemporaryDirectory() as folder, _one_thread_each():
        images = store_features(paths, cache or folder, workers=workers)
        return search_features(images, options=options, workers=workers)


def search_features(
    images: Sequence[Features],
    *,
    options: SearchOptions | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """Links between images by their features: as :func:`find_photographs` returns them."""
    options = options or SearchOptions()
    if not any(len(images[place]) for place in range(len(images))):
        return _tabulate([])
    index = index_images(images, seed=options.seed, workers=workers)
    candidates = find_candidates(images, index, nearest=options.nearest, workers=workers)
    own = OwnDetails(images, candidates.own)
    found = _verify(own, candidates.pairs, mirrored=False, workers=workers)
    if options.nearest_mirrored:
        nearest = options.nearest_mirrored
        turned = find_candidates(images, index, nearest=nearest, mirrored=True, workers=workers)
        found += _verify(own, turned.pairs, mirrored=True, workers=workers)
    friends = _pair_friends(_tabulate(found), candidates.pairs)
    return _tabulate(found + _verify(own, friends, mirrored=False, workers=workers))


Found = tuple[int, int, Alignment]


def _verify(
    images: Sequence[Features], pairs: np.ndarray, *, mirrored: bool, workers: int | None
) -> list[Found]:
    """The pairs that have something in common, in order."""
    rows = [
        (first, [int(pair[1]) for pair in group])
        for first, group in groupby(pairs.tolist(), key=lambda pair: int(pair[0]))
    ]

    def look(row: tuple[int, list[int]]) -> list[Found]:
        first, others = row
        scene = Scene(images[first])
        aligned = (
            (other, align(scene, Scene(images[other]), mirrored=mirrored)) for other in others
        )
        return [(first, other, found) for other, found in aligned if found is not None]

    title = "mirrored pairs" if mirrored else "pairs"
    return [
        found for part in map_images(look, rows, title=title, workers=workers) for found in part
    ]


def _pair_friends(links: pd.DataFrame, known: np.ndarray) -> np.ndarray:
    """Pairs that probable links join to a third image: int64 (M, 2), sorted, no known ones.

    Query expansion (Chum et al. 2007, Total recall): of three photographs of a lesion two may
    share little, while the third shares much with both. An image with more than 12 links is left
    out, for so many photographs of one lesion are rare.
    """
    friends: dict[int, list[int]] = defaultdict(list)
    probable = links[links["probability"] >= _FRIENDS]
    for first, second in zip(probable["first"], probable["second"], strict=True):
        friends[first].append(second)
        friends[second].append(first)
    have = set(map(tuple, known.tolist()))
    pairs = {
        pair
        for group in friends.values()
        if len(group) <= _MAX_FRIENDS
        for pair in combinations(sorted(group), 2)
        if pair not in have
    }
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def _tabulate(found: list[Found]) -> pd.DataFrame:
    """A frame of links; of a pair that was aligned twice, the more probable alignment."""
    rows = []
    for first, second, alignment in found:
        row = {name: getattr(alignment, name) for name in (*EVIDENCE, "mirrored", "turn", "zoom")}
        shift_x, shift_y = alignment.transform[:, 2]
        rows.append(
            {"first": first, "second": second, "shift_x": shift_x, "shift_y": shift_y, **row}
        )
    frame = pd.DataFrame(rows, columns=[name for name in LINK_COLUMNS if name != "probability"])
    whole = ("first", "second", "inliers", "guided")
    types = {name: np.int64 if name in whole else np.float64 for name in frame.columns}
    frame = frame.astype({**types, "mirrored": bool})
    frame["probability"] = estimate_probability(frame)
    frame = frame.sort_values(
        ["first", "second", "probability", "mirrored"], ascending=[True, True, False, True]
    )
    return frame.drop_duplicates(["first", "second"], ignore_index=True)[list(LINK_COLUMNS)]


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep OpenCV and BLAS to one thread each: the search has threads of its own.

    It also makes sums independent of how many threads BLAS would take.
    """
    from threadpoolctl import threadpool_limits

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        cv2.setNumThreads(threads)
