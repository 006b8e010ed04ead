"""A user's own network: called by its builder, and brought into the form that networks have."""

from collections.abc import Callable
from typing import Any

import keras

from tfskin.errors import UserError
from tfskin.extensions import takes
from tfskin.layers.batch_norm import BatchNorm, replace_batch_norm
from tfskin.layers.parts import leaf_layers
from tfskin.models.arguments import ArgumentError
from tfskin.models.heads import to_probabilities


def asked_of(builder: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments without those that a builder need not know.

    These are ``color_space`` where it is RGB, and ``batch_norm``, whose mode is set afterwards.
    """
    needless = {"color_space": ("rgb",), "batch_norm": (arguments.get("batch_norm"),)}
    return {
        name: value
        for name, value in arguments.items()
        if takes(builder, name) or value not in needless.get(name, ())
    }


def call_builder(builder: Callable[..., Any], name: str, **arguments: Any) -> keras.Model:
    """The network that a user's builder makes.

    Each of its ``BatchNormalization`` layers becomes a :class:`tfskin.layers.BatchNorm` with the
    same weights, whose mode can be set.

    Raises:
        UserError: the builder fails, or what it returns is no network from images to logits.
    """
    what = f"model.name: '{name}'"
    try:
        model = builder(**arguments)
    except (ArgumentError, UserError):
        raise
    except Exception as error:  # whatever the user's code does
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"{what} failed: {type(error).__name__}: {reason}") from error
    _check(model, what, arguments["image_size"], arguments["num_classes"])
    norms = [x for x in leaf_layers(model) if isinstance(x, keras.layers.BatchNormalization)]
    if all(isinstance(layer, BatchNorm) for layer in norms):
        return model
    try:
        return replace_batch_norm(model, "update")
    except ValueError as error:
        raise UserError(f"{what}: {error}; use tfskin.layers.BatchNorm in it") from None


def _check(model: Any, what: str, size: tuple[int, int], classes: int) -> None:
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        raise UserError(
            f"{what} returns {type(model).__name__}; a network is a functional keras.Model, made "
            "as keras.Model(image, logits)"
        )
    try:
        to_probabilities(model)
    except ValueError as error:
        raise UserError(f"{what}: {error}") from None
    image, logits = model.inputs[0], model.outputs[0]
    for tensor, shape in ((image, (None, *size, 3)), (logits, (None, classes))):
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if tuple(tensor.shape) != shape or dtype != "float32":
            kind = "images" if tensor is image else "logits"
            raise UserError(
                f"{what}: its {kind} are {dtype} of shape {tuple(tensor.shape)} and must be "
                f"float32 of shape {shape}"
            )
