"""Networks: one paper a file, and the table of their names.

Every network takes a float32 ``image`` (N, H, W, 3), RGB in 0..255, and returns float32
``logits`` (N, classes); scaling and colour space are its first layers. A new network is one file,
one line in :data:`MODELS` and one row of :data:`tests.models.test_contract.TINY`; one's own needs
no place here (:mod:`tfskin.extensions`).
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from tfskin.errors import UserError, nearest_hint
from tfskin.extensions import NETWORK, load_part, takes
from tfskin.layers.batch_norm import set_batch_norm_mode
from tfskin.layers.color_constancy import ShadesOfGray
from tfskin.models.alexnet import build_alexnet
from tfskin.models.arguments import ArgumentError
from tfskin.models.auxiliary import WithAuxiliaries
from tfskin.models.costs import count_activations, count_flops, count_parameters
from tfskin.models.efficientnet_lite import (
    build_efficientnet_lite0,
    build_efficientnet_lite1,
    build_efficientnet_lite2,
)
from tfskin.models.efficientnet_v2 import (
    build_efficientnet_v2_l,
    build_efficientnet_v2_m,
    build_efficientnet_v2_s,
)
from tfskin.models.first_layer import put_in_front
from tfskin.models.five_layer import build_five_layer
from tfskin.models.googlenet import build_googlenet
from tfskin.models.heads import to_probabilities
from tfskin.models.inception_v3 import build_inception_v3
from tfskin.models.lenet import build_lenet
from tfskin.models.own import asked_of, call_builder
from tfskin.models.resnet import (
    build_resnet10,
    build_resnet18,
    build_resnet34,
    build_resnet50,
    build_resnet101,
    build_resnet152,
)
from tfskin.models.resnext import build_resnext50, build_resnext101
from tfskin.models.vgg import build_vgg16, build_vgg19
from tfskin.models.weights import WeightReport, load_weights

__all__ = [
    "MODELS",
    "ArgumentError",
    "WeightReport",
    "WithAuxiliaries",
    "build_model",
    "builder_arguments",
    "count_activations",
    "count_flops",
    "count_parameters",
    "load_weights",
    "to_probabilities",
]

MODELS: dict[str, Callable[..., keras.Model]] = {
    "five_layer": build_five_layer,
    "lenet": build_lenet,
    "alexnet": build_alexnet,
    "vgg16": build_vgg16,
    "vgg19": build_vgg19,
    "googlenet": build_googlenet,
    "resnet10": build_resnet10,
    "resnet18": build_resnet18,
    "resnet34": build_resnet34,
    "resnet50": build_resnet50,
    "resnet101": build_resnet101,
    "resnet152": build_resnet152,
    "resnext50": build_resnext50,
    "resnext101": build_resnext101,
    "inception_v3": build_inception_v3,
    "efficientnet_lite0": build_efficientnet_lite0,
    "efficientnet_lite1": build_efficientnet_lite1,
    "efficientnet_lite2": build_efficientnet_lite2,
    "efficientnet_v2_s": build_efficientnet_v2_s,
    "efficientnet_v2_m": build_efficientnet_v2_m,
    "efficientnet_v2_l": build_efficientnet_v2_l,
}

FIXED = {"depth", "variant"}
"""Arguments that a name of the table decides."""


def builder_arguments(name: str) -> dict[str, Any]:
    """Argument -> default of a network's builder, without those that its name decides.

    A builder's docstring says what they are; ``num_classes`` has no default.
    """
    parameters = inspect.signature(load_part(name, MODELS, NETWORK)).parameters
    return {key: value.default for key, value in parameters.items() if key not in FIXED}


def build_model(
    name: str,
    *,
    image_size: tuple[int, int] = (96, 96),
    num_classes: int,
    color_constancy: bool = False,
    **arguments: Any,
) -> keras.Model:
    """The network of that name, its weights freshly initialised.

    Args:
        name: a name of :data:`MODELS`, or one's own network (:mod:`tfskin.extensions`).
        image_size: height and width of the input in pixels.
        num_classes: number of logits.
        color_constancy: begin with a layer that takes the colour of the light out
            (:class:`tfskin.layers.ShadesOfGray`).
        **arguments: arguments of the builder; one that is none keeps the builder's default.
            ``batch_norm`` may also be ``{"backbone": mode, "head": mode}``.

    Raises:
        UserError: no such network, an argument that it does not take, or a value that it cannot
            use. The message names the config's key, ``model.<argument>``.

    Example:
        >>> model = tfskin.build_model("five_layer", num_classes=7, color_space="hsv")
        >>> model.output_shape
        (None, 7)
    """
    builder = load_part(name, MODELS, NETWORK)
    is_own = name not in MODELS
    given = {key: value for key, value in arguments.items() if value is not None}
    modes = given.get("batch_norm", "update")
    if not isinstance(modes, dict):
        modes = {"backbone": modes, "head": modes}
    if "batch_norm" in given:
        given["batch_norm"] = modes["backbone"]
    if is_own:
        given = asked_of(builder, given)
    for key in given:
        if not takes(builder, key) or key in FIXED:
            hint = nearest_hint(key, list(builder_arguments(name)))
            raise UserError(f"model.{key}: network '{name}' takes no '{key}'{hint}")
    given |= {"image_size": tuple(image_size), "num_classes": num_classes}
    try:
        model = call_builder(builder, name, **given) if is_own else builder(**given)
    except ArgumentError as error:
        raise UserError(f"model.{error.argument}: {error.reason} (network '{name}')") from None
    if is_own:
        set_batch_norm_mode(model, modes["backbone"], part="backbone")
    if is_own or modes["head"] != modes["backbone"]:
        set_batch_norm_mode(model, modes["head"], part="head")
    if color_constancy:
        model = put_in_front(model, ShadesOfGray(name="color_constancy"))
    return model
