"""Names of layers that do not depend on what a process built before."""

import re
from collections.abc import Iterable

COUNTED = re.compile(
    r"(conv2d|batch_normalization|activation|(?:global_)?[a-z]+_pooling2d|concatenate|dense)"
    r"(?:_(\d+))?"
)


def count_from_zero(names: Iterable[str]) -> dict[str, str]:
    """Each name that Keras counted up in a process -> the name that a fresh process gives.

    Keras numbers unnamed layers of a class in the order in which they are made: ``conv2d_7``,
    ``conv2d_8`` become ``conv2d``, ``conv2d_1``. Other names are not in the result.
    """
    counted: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        match = COUNTED.fullmatch(name)
        if match:
            counted.setdefault(match[1], []).append((int(match[2] or 0), name))
    return {
        name: f"{base}_{number}" if number else base
        for base, found in counted.items()
        for number, (_, name) in enumerate(sorted(found))
    }


def snake_case(class_name: str) -> str:
    """``DepthwiseConv2D`` -> ``depthwise_conv2d``, as Keras names layers and files' groups."""
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", class_name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
