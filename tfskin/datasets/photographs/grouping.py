"""Links between photographs -> groups that must stay on one side of a split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tfskin.datasets.photographs.probability import REPORTING, SPLITTING

MAX_GROUP_IMAGES = 30
"""No chain of links makes a group of more images; lesions of HAM10000 have up to six."""


@dataclass(frozen=True)
class LinkedGroups:
    """Groups made of known groups and of links.

    Attributes:
        groups: int64 (N,), numbered from 0 in the order of first appearance.
        kept: bool, one for each link in the order given: both ends are in one group.
        cut: bool, one for each link: strong enough to be followed, but its ends are in two groups.
    """

    groups: np.ndarray
    kept: np.ndarray
    cut: np.ndarray

    @property
    def largest(self) -> int:
        """The number of images in the largest group; 0 where there is none."""
        return int(np.bincount(self.groups).max(initial=0))


def group_linked(
    known: np.ndarray,
    links: pd.DataFrame,
    *,
    splitting: float = SPLITTING,
    reporting: float = REPORTING,
    max_images: int = MAX_GROUP_IMAGES,
) -> LinkedGroups:
    """The groups that known groups and links make, none glued together by a chain of weak links.

    Links are followed from the most probable to the least, as in Kruskal's algorithm, so a group
    that would grow too large is broken at its weakest links:

    - A link joins two groups only if they have ``max_images`` images or fewer together.
    - A strong link (its probability is ``reporting`` or more) needs nothing else.
    - A weak link (``splitting`` or more) joins a single image to a group. Two groups of several
      images each are joined by weak links only if two or more of them lead from one to the other.
    - Links below ``splitting`` are not followed.

    Known groups are never broken, whatever their size. The result doesn't depend on the order of
    the links, nor on which end of a link comes first; of several links of one pair the most
    probable counts.

    Args:
        known: int (N,), groups from ids and copies of files; images that share none have numbers
            of their own.
        links: a frame with columns first and second (indices below N) and probability.
        splitting: the least probability of a link that is followed.
        reporting: the least probability of a link that needs no support.
        max_images: the largest group that links make.
    """
    parents = _Forest(np.asarray(known))
    first, second = links["first"].to_numpy(np.int64), links["second"].to_numpy(np.int64)
    probability = links["probability"].to_numpy(np.float64)
    ordered = _order_links(first, second, probability, splitting)
    strong = ordered["probability"].to_numpy() >= reporting
    ends = list(zip(ordered["low"].tolist(), ordered["high"].tolist(), strict=True))
    weak = []
    for (low, high), is_strong in zip(ends, strong.tolist(), strict=True):
        if not is_strong:
            weak.append((low, high))
        elif parents.size_together(low, high) <= max_images:
            parents.join(low, high)
    while _join_supported(parents, weak, max_images):
        pass
    roots = np.array([parents.find(image) for image in range(len(known))], np.int64)
    groups = pd.factorize(roots)[0].astype(np.int64)
    kept = groups[first] == groups[second]
    return LinkedGroups(groups, kept, ~kept & (probability >= splitting))


def _order_links(
    first: np.ndarray, second: np.ndarray, probability: np.ndarray, splitting: float
) -> pd.DataFrame:
    """The pairs that are followed, each once, the most probable first."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    frame = pd.DataFrame({"low": low, "high": high, "probability": probability})
    frame = frame[(frame["probability"] >= splitting) & (frame["low"] != frame["high"])]
    frame = frame.sort_values(["probability", "low", "high"], ascending=[False, True, True])
    return frame.drop_duplicates(["low", "high"])


def _join_supported(parents: _Forest, weak: list[tuple[int, int]], max_images: int) -> bool:
    """Join what weak links may join, in their order; whether there was anything."""
    support = Counter(_between(parents, pair) for pair in weak)
    joined = False
    for low, high in weak:
        if parents.find(low) == parents.find(high):
            continue
        single = parents.size(low) == 1 or parents.size(high) == 1
        # Joins of this pass only add to the support of what is left; the next pass counts anew.
        if not single and support[_between(parents, (low, high))] < 2:
            continue
        if parents.size_together(low, high) <= max_images:
            parents.join(low, high)
            joined = True
    return joined


def _between(parents: _Forest, pair: tuple[int, int]) -> tuple[int, int]:
    one, other = parents.find(pair[0]), parents.find(pair[1])
    return min(one, other), max(one, other)


class _Forest:
    """Disjoint sets of images (Tarjan 1975), the known groups joined to begin with.

    The smallest index of a set is its root, so a root doesn't depend on the order of joins.
    """

    def __init__(self, known: np.ndarray) -> None:
        codes = pd.factorize(known)[0]
        first = np.full(codes.max(initial=-1) + 1, len(codes), np.int64)
        np.minimum.at(first, codes, np.arange(len(codes)))
        self._parents: list[int] = first[codes].tolist()
        self._sizes: list[int] = np.bincount(codes)[codes].tolist()

    def find(self, image: int) -> int:
        while self._parents[image] != image:
            self._parents[image] = self._parents[self._parents[image]]
            image = self._parents[image]
        return image

    def size(self, image: int) -> int:
        return self._sizes[self.find(image)]

    def size_together(self, one: int, other: int) -> int:
        """The size of the set that the two would make."""
        if self.find(one) == self.find(other):
            return self.size(one)
        return self.size(one) + self.size(other)

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.find(one), self.find(other)))
        if low != high:
            self._parents[high] = low
            self._sizes[low] += self._sizes[high]
