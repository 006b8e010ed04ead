"""An image seen through windows that slide over it, and their mean."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tfskin.inputs.windows import count_along
from tfskin.prediction.answers import Answers
from tfskin.schema import WindowConfig


@dataclass(frozen=True)
class WindowModel:
    """How a model that was trained on windows answers for a whole image.

    Attributes:
        windows: size and stride, in pixels of an image whose longer side is at most ``max_side``.
        max_side: the size cap of the shards it was trained on; none where that is not known.
        decide: mean probabilities (1, C) of an image's windows, not yet calibrated, to its answer.
    """

    windows: WindowConfig
    max_side: int | None
    decide: Callable[[np.ndarray], Answers]


def cut_windows(image: Image.Image, windows: WindowConfig) -> Iterator[Image.Image]:
    """The windows of an image, row by row, as :func:`tfskin.inputs.windows.cut_window` cuts them.

    What lies beyond the right and the lower border is black.
    """
    down, across = count_along(np.array([image.height, image.width]), windows)
    for row in range(int(down)):
        for column in range(int(across)):
            left, top = column * windows.stride, row * windows.stride
            yield image.crop((left, top, left + windows.size, top + windows.size))


def mean_of_windows(parts: Sequence[Answers]) -> tuple[np.ndarray, float | None]:
    """Mean probabilities (C,) and malignancy of all windows of one image.

    A prediction set has no mean: its quantiles were fitted on whole images.
    """
    probabilities = np.concatenate([part.probabilities for part in parts]).mean(axis=0)
    malignancies = [part.malignancy for part in parts if part.malignancy is not None]
    malignancy = float(np.concatenate(malignancies).mean()) if malignancies else None
    return probabilities, malignancy
