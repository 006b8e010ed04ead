"""What a builder says when an argument is wrong, and checks that builders share."""

import difflib
from typing import Any

import keras

from tfskin.layers.batch_norm import BatchNormMode
from tfskin.layers.blocks import Norm


class ArgumentError(ValueError):
    """An argument of a builder has a value that it cannot use.

    Args:
        argument: the name of the argument, which is also the config's key under ``model``.
        reason: what is wrong and what to do.
    """

    def __init__(self, argument: str, reason: str) -> None:
        super().__init__(f"{argument}: {reason}")
        self.argument = argument
        self.reason = reason


def check_smallest_side(image_size: tuple[int, int], smallest: int) -> None:
    """Raise :class:`ArgumentError` when a side of ``image_size`` is below ``smallest`` pixels."""
    if min(image_size) < smallest:
        raise ArgumentError(
            "image_size",
            f"{image_size[0]} x {image_size[1]} px is too small, "
            f"each side needs at least {smallest} px",
        )


def plain_norm(
    batch_norm: BatchNormMode, *, use_bn: bool, momentum: float, epsilon: float
) -> Norm | None:
    """The batch normalisation of a network whose paper has none: none unless ``use_bn``.

    Raises:
        ArgumentError: a mode was asked for and there is no batch normalisation.
    """
    if use_bn:
        return Norm(batch_norm, momentum, epsilon)
    if batch_norm != "update":
        raise ArgumentError(
            "batch_norm",
            f"'{batch_norm}', but there is no batch normalisation; set model.use_bn=true",
        )
    return None


def check_keras_name(argument: str, name: str, module: Any) -> None:
    """Raise :class:`ArgumentError` when ``name`` is no activation or initialiser of Keras.

    Args:
        argument: the argument's name.
        name: what the user wrote.
        module: ``keras.activations`` or ``keras.initializers``.
    """
    try:
        module.get(name)
    except ValueError:
        known = [word for word in dir(module) if word == word.lower() and not word.startswith("_")]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        kind = "activation" if module is keras.activations else "initialiser"
        raise ArgumentError(argument, f"'{name}' is no {kind} of Keras{hint}") from None
