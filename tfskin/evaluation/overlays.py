"""Images under what explains them: heat maps and gradients."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt

MOST_HEAT = 0.7
"""How much of a place's colour is the heat map's where the map is 1."""


def overlay_heat(image: npt.NDArray[Any], heat: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8: an image in 0..255 under a map (H, W) in 0..1, dense where it is high.

    Colours go from dark violet over orange to light yellow (Matplotlib's "inferno"), which are
    told apart by the colour-blind too; where the map is 0 the image is left as it is.
    """
    heat = np.clip(np.asarray(heat, float), 0, 1)
    colours = np.asarray(matplotlib.colormaps["inferno"](heat))[..., :3] * 255
    share = MOST_HEAT * heat[..., np.newaxis]
    mixed = np.asarray(image, float) * (1 - share) + colours * share
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def overlay_gradients(image: npt.NDArray[Any], map_: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8: grey image, orange where the map speaks for the class, blue against it.

    The map (H, W) is shown on the scale of its 99th percentile, so that one pixel does not hide
    the rest.
    """
    grey = np.asarray(image, float).mean(axis=2, keepdims=True) * 0.6 + 80
    scale = max(float(np.quantile(np.abs(map_), 0.99)), 1e-12)
    share = np.clip(np.asarray(map_, float) / scale, -1, 1)[..., None]
    colour = np.where(share > 0, (230.0, 120.0, 0.0), (0.0, 114.0, 220.0))
    alpha = np.abs(share) ** 0.7
    return np.clip((1 - alpha) * grey + alpha * colour + 0.5, 0, 255).astype(np.uint8)
