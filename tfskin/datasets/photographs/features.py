"""Local features of one image: places that another photograph of the same lesion shows too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tfskin.datasets.images import read_image

AREA = 400 * 300
"""Images are brought to this many pixels, so that skin has one scale whatever the camera."""
MAX_FEATURES = 300
DESCRIPTOR_SIZE = 128
LENGTH = 512
"""A stored descriptor has about this Euclidean length; a float one has length 1."""
THUMBNAIL_PIXELS = AREA // 4 + 400
"""The room for a thumbnail, whose sides are rounded."""
_BORDER = 12  # features stay this far from the vignette: their patch would show its edge
_DARK = 45
_MAX_ASPECT = 4.0
_FILTER = Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Features:
    """Local features of an image, the strongest first.

    Attributes:
        descriptors: uint8 (N, 128), RootSIFT times :data:`LENGTH`.
        places: float32 (N, 2), x and y in pixels of the image brought to :data:`AREA`.
        scales: float32 (N,), the diameter of the patch in those pixels.
        angles: float32 (N,), the patch's direction in degrees, 0 to 360, clockwise from the right.
        thumbnail: uint8 (height, width), the image in grey with even contrast, at half the size;
            0 on a vignette, 1 or more elsewhere.
    """

    descriptors: np.ndarray
    places: np.ndarray
    scales: np.ndarray
    angles: np.ndarray
    thumbnail: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def select(self, kept: np.ndarray) -> Features:
        """The features that ``kept``, bool (N,), says."""
        return Features(
            self.descriptors[kept],
            self.places[kept],
            self.scales[kept],
            self.angles[kept],
            self.thumbnail,
        )

    def mirrored(self) -> Features:
        """What would be found in the mirrored image, without looking at it again.

        Mirroring about the vertical axis reverses the rows of the 4 x 4 cells of a
        descriptor, whose frame turns with the patch, and the sense of its 8 directions.
        """
        cells = self.descriptors.reshape(-1, 4, 4, 8)[:, ::-1][..., -np.arange(8) % 8]
        return Features(
            np.ascontiguousarray(cells.reshape(-1, DESCRIPTOR_SIZE)),
            np.stack([2 * self.thumbnail.shape[1] - 1 - self.places[:, 0], self.places[:, 1]], 1),
            self.scales,
            (180 - self.angles) % 360,
            np.ascontiguousarray(self.thumbnail[:, ::-1]),
        )


def read_features(path: Path | str) -> Features:
    """The features of an image file.

    Raises:
        UserError: as :func:`tfskin.datasets.images.read_image`.
    """
    return extract_features(read_image(path, at_least=400))


def extract_features(image: Image.Image) -> Features:
    """The strongest local features of an image: SIFT in grey, described by RootSIFT.

    The image is brought to :data:`AREA` pixels and its local contrast is evened out (CLAHE), so
    that other light finds the same features. A dark vignette has none, nor does its edge.

    Sources: Lowe 2004, Distinctive image features from scale-invariant keypoints; Zuiderveld 1994,
    Contrast limited adaptive histogram equalization; Arandjelovic and Zisserman 2012, Three things
    everyone should know to improve object retrieval, section 2 (RootSIFT).

    Args:
        image: RGB, of any size.
    """
    grey = np.asarray(image.convert("L").resize(working_size(image.size), _FILTER))
    even = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(grey)
    skin = find_skin(grey)
    detector = cv2.SIFT.create(MAX_FEATURES, contrastThreshold=0.01, edgeThreshold=12)
    found, descriptors = detector.detectAndCompute(even, skin)
    if descriptors is None:
        descriptors = np.zeros((0, DESCRIPTOR_SIZE), np.float32)
    strength = np.array([point.response for point in found])
    order = np.argsort(-strength, kind="stable")[:MAX_FEATURES]
    rows = [(*found[i].pt, found[i].size, found[i].angle) for i in order]
    table = np.array(rows, np.float32).reshape(-1, 4)
    small = cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return Features(
        quantise(root_sift(descriptors[order])),
        table[:, :2],
        table[:, 2],
        table[:, 3] % 360,
        np.where(skin[::2, ::2] > 0, np.maximum(small, 1), 0).astype(np.uint8),
    )


def working_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of :data:`AREA` pixels in the image's proportions, four to one at most.

    Both are even, so that a thumbnail has exactly half of them.
    """
    aspect = min(max(size[0] / size[1], 1 / _MAX_ASPECT), _MAX_ASPECT)
    width = 2 * round((AREA * aspect) ** 0.5 / 2)
    return width, 2 * round(AREA / width / 2)


def root_sift(descriptors: np.ndarray) -> np.ndarray:
    """RootSIFT: float32 of the same shape, each row of length 1 (of length 0 where it is 0).

    ``sqrt(d / sum(d))``, so that the Euclidean distance of two rows is the Hellinger distance of
    the histograms (Arandjelovic and Zisserman 2012, section 2).
    """
    sums = descriptors.sum(axis=1, keepdims=True)
    return np.sqrt(descriptors / np.maximum(sums, np.finfo(np.float32).tiny)).astype(np.float32)


def quantise(descriptors: np.ndarray) -> np.ndarray:
    """Descriptors of length 1 as uint8, a quarter of the room."""
    return np.minimum(np.rint(descriptors * LENGTH), 255).astype(np.uint8)


def restore(descriptors: np.ndarray) -> np.ndarray:
    """Stored descriptors as float32 of length 1 (of length 0 where they are 0)."""
    values = descriptors.astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", values, values))
    return values / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]


def find_skin(grey: np.ndarray) -> np.ndarray:
    """Where features may lie: uint8 (height, width), 255 on skin, 0 on a vignette and its edge.

    A vignette is darker than 45 of 255 after a blur and reaches the border of the image.

    Args:
        grey: uint8 (height, width).
    """
    dark = (cv2.GaussianBlur(grey, (0, 0), 3) < _DARK).astype(np.uint8)
    framed = cv2.copyMakeBorder(dark, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(1,))
    cv2.floodFill(framed, None, (0, 0), (2,))
    vignette = (framed[1:-1, 1:-1] == 2).astype(np.uint8)
    side = 2 * _BORDER + 1
    edge = cv2.dilate(vignette, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return np.where(edge > 0, 0, 255).astype(np.uint8)
