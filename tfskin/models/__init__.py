"""Networks: one paper a file, and the table of their names.

Every network takes a float32 ``image`` (N, H, W, 3), RGB in 0..255, and returns float32
``logits`` (N, classes); scaling and colour space are its first layers. A new network is one file
and one line in :data:`MODELS`; the tests in ``tests/models/test_contract.py`` pick it up.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from tfskin.errors import UserError, nearest_hint
from tfskin.models.arguments import ArgumentError
from tfskin.models.costs import count_flops, count_parameters
from tfskin.models.five_layer import build_five_layer
from tfskin.models.heads import to_probabilities

__all__ = [
    "MODELS",
    "ArgumentError",
    "build_model",
    "count_flops",
    "count_parameters",
    "to_probabilities",
]

MODELS: dict[str, Callable[..., keras.Model]] = {
    "five_layer": build_five_layer,
}


def build_model(
    name: str,
    *,
    image_size: tuple[int, int] = (96, 96),
    num_classes: int,
    **arguments: Any,
) -> keras.Model:
    """The network of that name, its weights freshly initialised.

    Args:
        name: a name of :data:`MODELS`.
        image_size: height and width of the input in pixels.
        num_classes: number of logits.
        **arguments: arguments of the builder; one that is none keeps the builder's default.

    Raises:
        UserError: no such network, an argument that it does not take, or a value that it cannot
            use. The message names the config's key, ``model.<argument>``.

    Example:
        >>> model = tfskin.build_model("five_layer", num_classes=7, color_space="hsv")
        >>> model.output_shape
        (None, 7)
    """
    if name not in MODELS:
        hint = nearest_hint(name, list(MODELS))
        raise UserError(f"model.name: no network '{name}'{hint}; known: {', '.join(MODELS)}")
    builder = MODELS[name]
    given = {key: value for key, value in arguments.items() if value is not None}
    taken = list(inspect.signature(builder).parameters)
    for key in given:
        if key not in taken:
            raise UserError(
                f"model.{key}: network '{name}' takes no '{key}'{nearest_hint(key, taken)}"
            )
    try:
        return builder(image_size=tuple(image_size), num_classes=num_classes, **given)
    except ArgumentError as error:
        raise UserError(f"model.{error.argument}: {error.reason} (network '{name}')") from None
