"""A picture seen through windows that slide over it, and their mean."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from tfskin.prediction.predictors import Answers


def cut_windows(picture: Image.Image, count: int) -> Iterator[Image.Image]:
    """The ``count`` x ``count`` windows of a picture, row by row, each half over the next.

    A window's side is ``2 / (count + 1)`` of the picture's, so that windows step by half of
    theirs and the last ends at the border; 1 gives the whole picture.
    """
    for top, bottom in _spans(picture.height, count):
        for left, right in _spans(picture.width, count):
            yield picture.crop((left, top, right, bottom))


def mean_of_windows(parts: Sequence[Answers]) -> tuple[np.ndarray, float | None]:
    """Mean probabilities (C,) and malignancy of all windows of one picture.

    A prediction set has no mean: its quantiles were fitted on whole pictures.
    """
    probabilities = np.concatenate([part.probabilities for part in parts]).mean(axis=0)
    malignancies = [part.malignancy for part in parts if part.malignancy is not None]
    malignancy = float(np.concatenate(malignancies).mean()) if malignancies else None
    return probabilities, malignancy


def _spans(size: int, count: int) -> list[tuple[int, int]]:
    """Start and end of each window along a side; at least one pixel each."""
    step = size / (count + 1)
    starts = [round(place * step) for place in range(count)]
    return [(start, max(start + 1, round((i + 2) * step))) for i, start in enumerate(starts)]
