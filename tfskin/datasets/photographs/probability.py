"""How probable it is that two aligned images show one lesion."""

from __future__ import annotations

import numpy as np
import pandas as pd

SPLITTING = 0.1
"""Links from here on keep images on one side of a split: a false one only makes a group coarser."""
REPORTING = 0.95
"""Links from here on are shown to a person, whom a false one costs trust."""

TERMS = (
    "log inliers",
    "log guided",
    "guided share",
    "cosine",
    "fine",
    "coarse",
    "log spread",
    "stays",
    "octaves",
)
_WEIGHTS = (0.0,) * len(TERMS)
_CONSTANT = 0.0


def estimate_probability(links: pd.DataFrame) -> np.ndarray:
    """The probability that the two images of each link show one lesion: float64 (N,), 0 to 1.

    Logistic regression of :func:`describe_evidence`.

    Args:
        links: a frame with the columns of ``search.EVIDENCE`` and zoom.
    """
    return 1 / (1 + np.exp(-(describe_evidence(links) @ np.array(_WEIGHTS) + _CONSTANT)))


def describe_evidence(links: pd.DataFrame) -> np.ndarray:
    """What speaks for and against each link, in the order of :data:`TERMS`: float64 (N, 9).

    "stays" is 1 for inliers that don't move between the images, as reflexes of the lamp and dust
    on the lens do, and falls to 0 as they move by 30 pixels; "octaves" is how far the
    magnifications differ.
    """
    inliers, guided, visible, cosine, fine, coarse, spread, shift, zoom = (
        links[name].to_numpy(np.float64)
        for name in (
            *("inliers", "guided", "visible", "cosine", "fine", "coarse", "spread", "shift"),
            "zoom",
        )
    )
    terms = (
        np.log1p(inliers),
        np.log1p(guided),
        guided / np.maximum(visible, 20),
        cosine,
        fine,
        coarse,
        np.log1p(spread),
        1 - np.minimum(shift, 30) / 30,
        np.abs(np.log2(zoom)),
    )
    return np.stack(terms, axis=1)
