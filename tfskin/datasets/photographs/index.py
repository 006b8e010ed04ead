"""An inverted file of local descriptors: which images of many share details with a given one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfskin.datasets.images import map_images
from tfskin.datasets.photographs.features import DESCRIPTOR_SIZE, Features, restore
from tfskin.datasets.photographs.vocabulary import Vocabulary

CODE_BITS = 64
MAX_DISTANCE = 22
"""Descriptors match whose codes differ in no more bits; unrelated ones differ in about 32."""
ALIKE_DISTANCE = 14
"""Descriptors that differ in no more bits are one detail, seldom by chance."""
_FALL = 12.0
_TURNS = 16
_ZOOMS = 9  # half octaves from -2 to 2
_ANGLE_STEPS = 256
_IMAGES_AT_ONCE = 64


@dataclass(frozen=True)
class SharedDetails:
    """What an image shares with those of an index.

    Attributes:
        images: int64 (M,), ascending.
        scores: float64 (M,), above 0.
        alike: int64 (N,), in how many images of the index each feature has its like.
    """

    images: np.ndarray
    scores: np.ndarray
    alike: np.ndarray


@dataclass(frozen=True)
class FeatureIndex:
    """Descriptors of many images by visual word, as signatures of 64 bits.

    Hamming embedding and weak geometric consistency (Jegou, Douze and Schmid 2008): within a word,
    descriptors are compared by the signs of random projections about the word's centre, and what
    matches votes for an image, in bins of the difference in angle and in scale. Details of one
    scene agree in both, chance matches don't.

    Attributes:
        vocabulary: the words.
        projection: float32 (64, 128), orthogonal rows.
        starts: int64 (words + 1,), where the entries of each word begin.
        codes: uint64 (entries,).
        images: int32 (entries,).
        angles: uint8 (entries,), in 256ths of a turn.
        scales: int8 (entries,), in sixteenths of an octave.
        count: the number of images.
    """

    vocabulary: Vocabulary
    projection: np.ndarray
    starts: np.ndarray
    codes: np.ndarray
    images: np.ndarray
    angles: np.ndarray
    scales: np.ndarray
    count: int

    def score_images(self, features: Features, *, cells: int = 4, words: int = 2) -> SharedDetails:
        """The images that share details with the given features, and how much.

        Each descriptor gives every image that matches it one vote, of weight exp(-(h / 12)^2) for
        a distance of h bits, divided by the square root of the sum of its weights: a detail that
        is on many images, such as a ruler's mark, says little (Jegou, Douze and Schmid 2009, On
        the burstiness of visual elements). An image's score is the largest sum of votes in two
        neighbouring bins of angle, or of scale, whichever is less.

        Args:
            features: of an image, which may be in the index.
            cells: near cells that are looked into.
            words: near words of each.
        """
        rows, entries, distances = self._match(features, cells, words)
        images = self.images[entries].astype(np.int64)
        # The best match of each descriptor in each image, the first where several are as good.
        keys = (rows * self.count + images) * (CODE_BITS + 1) + distances
        order = np.argsort(keys, kind="stable")
        pairs = keys[order] // (CODE_BITS + 1)
        order = order[np.flatnonzero(np.diff(pairs, prepend=-1))]
        rows, entries, images, distances = (
            column[order] for column in (rows, entries, images, distances)
        )
        alike = np.bincount(rows[distances <= ALIKE_DISTANCE], minlength=len(features))
        votes = np.exp(-((distances / _FALL) ** 2))
        total = np.bincount(rows, weights=votes, minlength=len(features))
        votes /= np.sqrt(total[rows])
        turns = self.angles[entries] - encode_angles(features.angles)[rows]  # uint8 wraps round
        zooms = self.scales[entries].astype(np.int64) - encode_scales(features.scales)[rows]
        zooms = np.clip(np.rint(zooms / 8).astype(np.int64) + _ZOOMS // 2, 0, _ZOOMS - 1)
        voted, place = np.unique(images, return_inverse=True)
        turned = _sum_votes(place, turns // (_ANGLE_STEPS // _TURNS), votes, len(voted), _TURNS)
        zoomed = _sum_votes(place, zooms, votes, len(voted), _ZOOMS)
        by_turn = (turned + np.roll(turned, 1, axis=1)).max(axis=1, initial=0)
        by_zoom = (zoomed[:, 1:] + zoomed[:, :-1]).max(axis=1, initial=0)
        return SharedDetails(voted, np.minimum(by_turn, by_zoom), alike)

    def _match(
        self, features: Features, cells: int, words: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row of the features, entry, and distance in bits of everything that matches."""
        descriptors = restore(features.descriptors)
        near = self.vocabulary.find_words(descriptors, cells=cells, words=words)
        rows = np.repeat(np.arange(len(features)), near.shape[1])
        codes = encode(descriptors[rows], near.ravel(), self.vocabulary, self.projection)
        first = self.starts[near.ravel()]
        lengths = self.starts[near.ravel() + 1] - first
        before = np.cumsum(lengths) - lengths
        entries = np.repeat(first - before, lengths) + np.arange(lengths.sum())
        distances = np.bitwise_count(self.codes[entries] ^ np.repeat(codes, lengths))
        close = np.flatnonzero(distances <= MAX_DISTANCE)
        rows = np.repeat(rows, lengths)[close]
        return rows, entries[close], distances[close].astype(np.int64)


def build_index(
    images: Sequence[Features], vocabulary: Vocabulary, *, seed: int, workers: int | None = None
) -> FeatureIndex:
    """An index of the features of many images, which are gone through once.

    It holds 14 bytes a descriptor, and takes three times as much to build.

    Args:
        images: the features of each image, such as a ``FeatureStore``.
        vocabulary: see :func:`tfskin.datasets.photographs.vocabulary.train_vocabulary`.
        seed: of the random projection.
        workers: threads; none for one a CPU.
    """
    generator = np.random.default_rng(seed)
    square = np.linalg.qr(generator.normal(size=(DESCRIPTOR_SIZE, DESCRIPTOR_SIZE)))[0]
    projection = np.ascontiguousarray(square[:CODE_BITS], np.float32)
    starts = range(0, len(images), _IMAGES_AT_ONCE)
    parts = [range(start, min(start + _IMAGES_AT_ONCE, len(images))) for start in starts]

    def encode_part(part: range) -> tuple[np.ndarray, ...]:
        features = [images[place] for place in part]
        descriptors = restore(np.concatenate([one.descriptors for one in features]))
        words = vocabulary.find_words(descriptors)[:, 0]
        return (
            words.astype(np.int32),
            encode(descriptors, words, vocabulary, projection),
            np.repeat(np.array(part, np.int32), [len(one) for one in features]),
            encode_angles(np.concatenate([one.angles for one in features])),
            encode_scales(np.concatenate([one.scales for one in features])),
        )

    encoded = list(map_images(encode_part, parts, title="index of features", workers=workers))
    columns: list[list[np.ndarray]] = [list(column) for column in zip(*encoded, strict=True)]
    encoded.clear()
    words = np.concatenate(columns.pop(0))
    order = np.argsort(words, kind="stable")
    sizes = np.bincount(words, minlength=vocabulary.size)
    codes, places, angles, scales = (np.concatenate(column)[order] for column in columns)
    entries = np.concatenate([[0], np.cumsum(sizes)])
    return FeatureIndex(vocabulary, projection, entries, codes, places, angles, scales, len(images))


def encode(
    descriptors: np.ndarray, words: np.ndarray, vocabulary: Vocabulary, projection: np.ndarray
) -> np.ndarray:
    """The signature of each descriptor within its word: uint64 (N,).

    The signs of the projections of what the descriptor differs from the word's centre. (Jegou et
    al. take the median of each word where we take the centre, which needs no more training.)
    """
    centred = descriptors - vocabulary.centres[words]
    bits = np.packbits(centred @ projection.T > 0, axis=1)
    return np.ascontiguousarray(bits).view(np.uint64).reshape(len(descriptors))


def encode_angles(angles: np.ndarray) -> np.ndarray:
    """Degrees as 256ths of a turn, uint8, so that differences wrap round."""
    return (np.floor(angles / 360 * _ANGLE_STEPS).astype(np.int64) % _ANGLE_STEPS).astype(np.uint8)


def encode_scales(scales: np.ndarray) -> np.ndarray:
    """Diameters in pixels as sixteenths of an octave, int8."""
    octaves = np.log2(np.maximum(scales, 1e-3))
    return np.clip(np.rint(octaves * 16), -127, 127).astype(np.int8)


def _sum_votes(
    place: np.ndarray, bins: np.ndarray, votes: np.ndarray, count: int, size: int
) -> np.ndarray:
    cells = place * size + bins.astype(np.int64)
    return np.bincount(cells, weights=votes, minlength=count * size).reshape(count, size)
