"""Whether two images show the same scene: their features matched, and one laid over the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from tfskin.datasets.photographs.features import Features, restore

MIN_INLIERS = 4
"""Fewer agree by chance in every other pair; two matches already make a similarity."""
RATIO = 0.8
TOLERANCE = 6.0
"""How far, in pixels of the working size, a match may lie from where the transform puts it."""
_SAME_PLACE = 4.0
_MAX_RIVALS = 8
_MIN_ZOOM, _MAX_ZOOM = 0.4, 2.5
_GUIDED_TOLERANCE = 8.0
_GUIDED_TURN = 30.0
_GUIDED_OCTAVES = 0.7
_GUIDED_COSINE = 0.75
_FINEST, _COARSEST = 2.5, 8.0
_WINDOW = 12.0
_NOISE = 4.0  # grey levels squared: where there is no more texture, nothing agrees
_MIN_OVERLAP = 1500


class Scene:
    """Features of an image, made ready to be compared with many others."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.descriptors = restore(features.descriptors)

    @cached_property
    def mirrored(self) -> Scene:
        """The scene of the mirrored image."""
        return Scene(self.features.mirrored())


@dataclass(frozen=True)
class Alignment:
    """One image laid over another, and how well they agree.

    Attributes:
        transform: float64 (2, 3), the similarity that brings places of the first image, which is
            mirrored before where ``mirrored`` says so, to places of the second.
        mirrored: whether the first image had to be mirrored about its vertical axis.
        inliers: matches that agree with the transform, at distinct places of both images.
        guided: pairs of alike features at distinct places that agree with it in place, angle and
            scale, found by looking where the transform says.
        correlation: of the two images' texture where one covers the other, -1 to 1.
    """

    transform: np.ndarray
    mirrored: bool
    inliers: int
    guided: int
    correlation: float

    @property
    def zoom(self) -> float:
        """How much larger the second image shows what the first one shows."""
        return float(np.hypot(self.transform[0, 0], self.transform[1, 0]))

    @property
    def turn(self) -> float:
        """By how many degrees the second image is turned, clockwise, -180 to 180."""
        return float(np.degrees(np.arctan2(self.transform[1, 0], self.transform[0, 0])))


def align(first: Scene, second: Scene, *, mirrored: bool = False) -> Alignment | None:
    """How the first image lies over the second, or None where too few features agree.

    Features are matched by their descriptors where the nearest is clearly nearer than the next
    (Lowe 2004, section 7.1), a similarity is fitted by RANSAC (Fischler and Bolles 1981), and
    features are matched again where it says that they should be (guided matching: Hartley and
    Zisserman 2004, section 4.8.1). The result depends on the two images only: OpenCV's RANSAC
    starts from the same random state each time.

    Args:
        first: an image.
        second: another one.
        mirrored: mirror the first image before.
    """
    one = first.mirrored if mirrored else first
    rows, columns = match(one, second)
    if len(rows) < MIN_INLIERS:
        return None
    here, there = one.features.places[rows], second.features.places[columns]
    transform, inliers = fit_similarity(here, there)
    if transform is None:
        return None
    count = count_distinct(here[inliers], there[inliers])
    if count < MIN_INLIERS:
        return None
    rows, columns = match_guided(one, second, transform)
    here, there = one.features.places[rows], second.features.places[columns]
    refined = _refine(transform, here, there)
    correlation = correlate(one.features.thumbnail, second.features.thumbnail, refined)
    return Alignment(refined, mirrored, count, count_distinct(here, there), correlation)


def match(one: Scene, other: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Rows of matching features, at distinct places of the other image: two int64 (M,).

    A feature matches its nearest when that is nearer than 0.8 times the next at another place
    (a place can have several features, of other angles or scales).
    """
    if len(one.features) == 0 or len(other.features) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    cosines = one.descriptors @ other.descriptors.T
    every = np.arange(len(cosines))
    nearest = cosines.argmax(axis=1)
    best = cosines[every, nearest]
    places = other.features.places
    rival_cosine = _find_rivals(cosines, nearest, places)
    distance = np.maximum(2 - 2 * best, 0)
    rival = np.maximum(2 - 2 * rival_cosine, 1e-6)
    rows = np.flatnonzero(distance < RATIO**2 * rival)
    rows = rows[np.argsort(distance[rows] / rival[rows], kind="stable")]
    _, first = np.unique(_cells(places[nearest[rows]], 2.0), return_index=True)
    rows = rows[np.sort(first)]
    return rows, nearest[rows]


def _find_rivals(cosines: np.ndarray, nearest: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The largest cosine of each row at another place than the nearest's; ``cosines`` is spent.

    A place has a few features at most, so a few looks suffice; comparing all places took twice as
    long as the product of the descriptors.
    """
    here = places[nearest]
    cosines[np.arange(len(cosines)), nearest] = -1
    found = np.full(len(cosines), -1.0, np.float32)
    rows = np.arange(len(cosines))
    for _ in range(_MAX_RIVALS):
        rival = cosines[rows].argmax(axis=1) if len(rows) < len(cosines) else cosines.argmax(axis=1)
        found[rows] = cosines[rows, rival]
        away = places[rival] - here[rows]
        same = (away * away).sum(axis=1) < _SAME_PLACE**2
        rows, rival = rows[same], rival[same]
        if len(rows) == 0:
            break
        cosines[rows, rival] = -1
    return found


def fit_similarity(here: np.ndarray, there: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """The similarity that most matches agree with, and which do: float64 (2, 3), bool (M,).

    None where there is none that zooms by 0.4 to 2.5.

    Args:
        here: float32 (M, 2), places in one image.
        there: float32 (M, 2), the matching places in the other.
    """
    transform, inliers = cv2.estimateAffinePartial2D(
        here,
        there,
        method=cv2.RANSAC,
        ransacReprojThreshold=TOLERANCE,
        maxIters=1000,
        confidence=0.99,
        refineIters=5,
    )
    if transform is None or not _is_plausible(transform):
        return None, np.zeros(len(here), bool)
    return transform, inliers.ravel().astype(bool)


def match_guided(one: Scene, other: Scene, transform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of alike features that a transform brings together, in both images: int64 (M,) each.

    Each feature is in one pair at most: the most alike pairs are taken first.
    """
    places = one.features.places @ transform[:, :2].T + transform[:, 2]
    zoom = np.hypot(transform[0, 0], transform[1, 0])
    turn = np.degrees(np.arctan2(transform[1, 0], transform[0, 0]))
    away = places[:, None, :] - other.features.places[None, :, :]
    rows, columns = np.nonzero(np.einsum("ijk,ijk->ij", away, away) < _GUIDED_TOLERANCE**2)
    turned = other.features.angles[columns] - one.features.angles[rows] - turn
    octaves = np.log2(other.features.scales[columns] / (one.features.scales[rows] * zoom))
    agree = np.abs((turned + 180) % 360 - 180) < _GUIDED_TURN
    agree &= np.abs(octaves) < _GUIDED_OCTAVES
    rows, columns = rows[agree], columns[agree]
    cosines = np.einsum("ij,ij->i", one.descriptors[rows], other.descriptors[columns])
    order = np.argsort(-cosines, kind="stable")
    order = order[cosines[order] > _GUIDED_COSINE]
    for ends in (rows, columns):
        _, first = np.unique(ends[order], return_index=True)
        order = order[np.sort(first)]
    return rows[order], columns[order]


def count_distinct(here: np.ndarray, there: np.ndarray) -> int:
    """The number of matches at distinct places (cells of 4 pixels) of both images."""
    return min(len(np.unique(_cells(side, _SAME_PLACE))) for side in (here, there))


def correlate(one: np.ndarray, other: np.ndarray, transform: np.ndarray) -> float:
    """How well the texture agrees where one thumbnail, moved, covers the other: -1 to 1.

    The median, over all that is covered, of the correlation in a Gaussian window of 12 pixels: a
    ruler, a sticker or a lamp's reflex that two images share agrees in its own place only. Texture
    is the difference of two Gaussian blurs (of 2.5 and 8 pixels): of the lesions' dark spots as a
    whole, which any two images have, little is left, nor does finer texture count, which other
    light and focus change. 0 where less than 1,500 pixels are covered.

    Args:
        one: uint8 (height, width), 0 where nothing is seen.
        other: the same.
        transform: float64 (2, 3), in pixels of the working size, twice the thumbnail's.
    """
    halved = transform * np.array([1, 1, 0.5])
    height, width = other.shape
    moved = cv2.warpAffine(one.astype(np.float32), halved, (width, height))
    seen = cv2.warpAffine((one > 0).astype(np.uint8), halved, (width, height))
    covered = ((seen > 0) & (other > 0)).astype(np.uint8)
    weight = cv2.erode(covered, np.ones((5, 5), np.uint8)).astype(np.float32)
    if int(weight.sum()) < _MIN_OVERLAP:
        return 0.0
    here, there = _band(moved, weight), _band(other.astype(np.float32), weight)
    both, of_here, of_there = (
        cv2.GaussianBlur(product, (0, 0), _WINDOW)
        for product in (here * there, here * here, there * there)
    )
    local = both / np.sqrt((of_here + _NOISE) * (of_there + _NOISE))
    return float(np.median(local[weight > 0]))


def _band(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The texture of an image where ``weight`` is 1, and 0 elsewhere."""
    fine, coarse = (
        cv2.GaussianBlur(image * weight, (0, 0), sigma)
        / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)
        for sigma in (_FINEST, _COARSEST)
    )
    return np.asarray((fine - coarse) * weight)


def _refine(transform: np.ndarray, here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The transform fitted again to the guided pairs; as it was where that gives nothing better."""
    if len(here) < MIN_INLIERS:
        return transform
    refined, _ = cv2.estimateAffinePartial2D(here, there, method=cv2.LMEDS)
    return transform if refined is None or not _is_plausible(refined) else refined


def _is_plausible(transform: np.ndarray) -> bool:
    return _MIN_ZOOM < float(np.hypot(transform[0, 0], transform[1, 0])) < _MAX_ZOOM


def _cells(places: np.ndarray, size: float) -> np.ndarray:
    cells = np.floor(places / size).astype(np.int64)
    return cells[:, 0] * 65536 + cells[:, 1]
