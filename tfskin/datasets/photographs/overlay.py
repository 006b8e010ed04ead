"""Two photographs of one lesion, brought to one position, for a person to compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageOps

_OUTSIDE = (235, 235, 235)


def lay_over(
    first: Image.Image, second: Image.Image, link: Mapping[Any, Any]
) -> tuple[Image.Image, Image.Image]:
    """The first image as it lies over the second, and the second; both of one size.

    What the first image doesn't show of the second's field is light grey.

    Args:
        first: RGB.
        second: RGB.
        link: with ``mirrored``, ``turn`` in degrees, ``zoom``, ``shift_x`` and ``shift_y``, as
            ``search.find_photographs`` returns them for the two.
    """
    from tfskin.datasets.photographs.features import working_size

    here = first.resize(working_size(first.size), Image.Resampling.BICUBIC)
    there = second.resize(working_size(second.size), Image.Resampling.BICUBIC)
    if link["mirrored"]:
        here = ImageOps.mirror(here)
    angle = np.radians(link["turn"])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = np.linalg.inv(link["zoom"] * turn)  # Pillow asks where a pixel of the result is from
    shift = -back @ np.array([link["shift_x"], link["shift_y"]])
    moved = here.transform(
        there.size,
        Image.Transform.AFFINE,
        np.column_stack([back, shift]).ravel().tolist(),
        Image.Resampling.BICUBIC,
        fillcolor=_OUTSIDE,
    )
    return moved, there
