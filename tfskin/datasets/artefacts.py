"""What lies on a dermoscopic image beside skin: detectors, each measured on real images.

``scripts/measure_artefacts.py`` pastes each artefact into images that are not flagged and looks
again; what is flagged in untouched images was judged by eye, on all 236 full-size images of
the ISIC Archive and on 600 of HAM10000 at 200 x 150 pixels:

============  ==================  =====================  =====================================
detector      found of pasted     flagged as they are    of these wrong, by eye
============  ==================  =====================  =====================================
dark_corners  155/155, 533/533    81 of 236, 67 of 600   0, and 4 limbs or folds in the dark
hair          208/209, 539/539    27 of 236, 61 of 600   4 and 6: vessels, dark networks, a scale
sticker       236/236, 598/599    0 of 236, 1 of 600     0, and 1: blue ink at the border
============  ==================  =====================  =====================================

Of the 11 that the last flags among all 8,012 of HAM10000, 8 are blue or violet ink and 3 a blue
lesion: where no sticker was used, it finds what looks like one.

Of images in which hair can be seen at all, however faint, the detector flags about two fifths:
it is made to be right when it speaks. Ruler marks and pen marks have no detector: too few of the
real images have them to measure one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

WORKING_SIDE = 256
"""Images are looked at with their longer side brought to this many pixels."""

_DARK_SHARE = 0.35
_CORNER = 0.06
_HAIR_DEPTH = 14
_HAIR_MEAN_DEPTH = 26
_HAIR_EXTENT = 0.1
_HAIR_TOTAL = 0.4
_WEB = 2.2
_WEB_EXTENT = 0.4
_STICKER_SATURATION = 0.5
_STICKER_AREA = 0.006
_OWN_SATURATION = 0.7


def find_artefacts(image: Image.Image) -> dict[str, bool]:
    """For each detector of :data:`DETECTORS`, whether it finds its artefact.

    Args:
        image: upright RGB, any size; at least 100 pixels a side for hair to be seen.
    """
    scale = WORKING_SIDE / max(image.size)
    size = (max(16, round(image.width * scale)), max(16, round(image.height * scale)))
    small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return {name: detect(small) for name, detect in DETECTORS.items()}


def has_dark_corners(image: Image.Image) -> bool:
    """Whether the field of view ends inside the frame: two corners are far darker than the skin.

    The median brightness of a square of 6 % of the shorter side in each corner, against the
    upper quartile of the whole image: below 35 % of it is dark. Black bars count too.
    """
    grey = np.asarray(image.convert("L"))
    side = max(2, round(_CORNER * min(grey.shape)))
    corners = [
        grey[:side, :side],
        grey[:side, -side:],
        grey[-side:, :side],
        grey[-side:, -side:],
    ]
    limit = _DARK_SHARE * _quantile(grey, 0.75)
    return sum(_quantile(corner, 0.5) < limit for corner in corners) >= 2


def has_hair(image: Image.Image) -> bool:
    """Whether clearly dark hairs cross the image, together 40 % of the diagonal long.

    Hairs are what a morphological closing of 7 x 7 pixels fills in (the black-hat transform of
    DullRazor, Lee et al. 1997) by 14 grey levels, 26 in the mean, connected over 10 % of the
    diagonal. A connected web counts from 40 % of the diagonal on: a pigment network is smaller.
    Fair, faint and shaved hairs are passed over.
    """
    grey = np.asarray(image.convert("L").filter(ImageFilter.GaussianBlur(0.6)))
    closed = _slide(_slide(grey, 7, np.maximum), 7, np.minimum)
    hat = closed.astype(np.int16) - grey
    labels, count = ndimage.label((hat >= _HAIR_DEPTH) & _field_of_view(grey), np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    diagonal = float(np.hypot(*grey.shape))
    total = 0.0
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:  # a number that no pixel has: never here
            continue
        extent = float(np.hypot(box[0].stop - box[0].start, box[1].stop - box[1].start))
        if areas[number] < extent or extent < _HAIR_EXTENT * diagonal:
            continue
        piece = labels[box] == number
        if hat[box][piece].mean() < _HAIR_MEAN_DEPTH:
            continue
        length = _ridge_length(piece)
        if length <= _WEB * extent or extent >= _WEB_EXTENT * diagonal:
            total += length
    return total >= _HAIR_TOTAL * diagonal


def has_sticker(image: Image.Image) -> bool:
    """Whether a blue, green or yellow sticker reaches into the image from its border.

    Colours are taken relative to the image's median colour, so that a bluish white balance
    is no sticker: a region at the border, 0.6 % of the frame or more, whose balanced saturation
    is above one half and whose hue lies between yellow and violet. Red and orange stickers look
    like vascular lesions and are not looked for.
    """
    # Planes, not pixels: NumPy takes the maximum of three planes ten times as fast.
    bands = [np.asarray(band) for band in image.split()]
    bright = _highest(bands) > 50
    if bright.sum() < 100:
        return False
    median = np.array([_quantile(band[bright], 0.5) for band in bands], np.float32)
    own = [band.astype(np.float32) for band in bands]
    own_high, own_low = _highest(own), _lowest(own)
    red, green, blue = balanced = [
        plane * (median.mean() / max(level, 1)) for plane, level in zip(own, median, strict=True)
    ]
    high = _highest(balanced)
    saturation = (high - _lowest(balanced)) / np.maximum(high, 1)
    violet = (red > green) & (blue > green) & (red > 0.75 * blue)
    cool = (np.maximum(green, blue) >= red) & ~violet
    # As it is, not balanced: brown pigment on pink skin would turn yellow.
    yellow = (own[1] > 0.8 * own[0]) & (own[0] > 140) & (own[2] < 0.5 * own[0])
    # Both as it is and balanced: pale skin around a large brown lesion balances to blue.
    cool &= np.maximum(own[1], own[2]) >= 0.95 * own[0]
    cool &= own_low < _OWN_SATURATION * own_high
    spot = bright & (saturation > _STICKER_SATURATION) & (yellow | cool)
    if spot.sum() < _STICKER_AREA * spot.size:
        return False
    spot = ndimage.binary_opening(spot, iterations=2)
    labels, count = ndimage.label(spot)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    edge = np.concatenate([labels[:4].ravel(), labels[-4:].ravel()])
    edge = np.concatenate([edge, labels[:, :4].ravel(), labels[:, -4:].ravel()])
    touching = np.setdiff1d(np.unique(edge), [0])
    return bool((areas[touching] >= _STICKER_AREA * labels.size).any())


DETECTORS: dict[str, Callable[[Image.Image], bool]] = {
    "dark_corners": has_dark_corners,
    "hair": has_hair,
    "sticker": has_sticker,
}
"""Name of the flag -> detector; the order of the flags everywhere."""


def _highest(planes: Sequence[np.ndarray]) -> np.ndarray:
    return np.maximum(np.maximum(planes[0], planes[1]), planes[2])


def _lowest(planes: Sequence[np.ndarray]) -> np.ndarray:
    return np.minimum(np.minimum(planes[0], planes[1]), planes[2])


def _field_of_view(grey: np.ndarray) -> np.ndarray:
    """Where skin is seen: away from a dark frame and the image's own border."""
    dark = grey < 0.25 * _quantile(grey, 0.75)
    # Opened, so that hairs stay, then grown over the soft rim.
    frame = _slide(_slide(dark, 11, np.logical_and), 23, np.logical_or)
    inside = ~frame
    inside[:2], inside[-2:], inside[:, :2], inside[:, -2:] = False, False, False, False
    return inside


def _slide(plane: np.ndarray, size: int, reduce: np.ufunc) -> np.ndarray:
    """The largest (or smallest) value of the ``size`` x ``size`` pixels around each, ``size`` odd.

    What lies beyond the border is left out, which is what SciPy's ``maximum_filter`` comes to.
    Windows are doubled until they are wide enough: ten times as fast as SciPy's on bytes.
    """
    for _ in range(2):  # down, then across
        ends = np.repeat(plane[:1], size // 2, axis=0), np.repeat(plane[-1:], size // 2, axis=0)
        padded = np.concatenate([ends[0], plane, ends[1]])
        width = 1
        while width < size:
            step = min(width, size - width)
            padded = reduce(padded[:-step], padded[step:])
            width += step
        plane = padded.T
    return plane


def _quantile(values: np.ndarray, share: float) -> float:
    """``np.quantile`` of uint8 values, by counting them: six times as fast."""
    ends = np.cumsum(np.bincount(values.ravel(), minlength=256))
    place = share * (values.size - 1)
    low, high = np.searchsorted(ends, [np.floor(place), np.ceil(place)], side="right")
    return float(low + (high - low) * (place % 1))


def _ridge_length(piece: np.ndarray) -> float:
    """Number of pixels on the ridge of a mask's distance map: about the length of its lines."""
    depth = ndimage.distance_transform_edt(np.pad(piece, 1))
    ridge = (depth > 0) & (depth >= ndimage.maximum_filter(depth, size=3))
    return max(float(ridge.sum()), 1.0)
