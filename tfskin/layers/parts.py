"""The two parts of a network: what makes features, and what decides on them."""

from collections.abc import Iterator
from typing import Literal

import keras

Part = Literal["backbone", "head"]

HEAD_START = "pool"
"""The layer that begins the head of every network of the table."""

AUXILIARY = "aux"
"""How the names of the layers of auxiliary heads begin."""


def leaf_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Every layer that is no model, once, in the order of the graph; nested ones included."""
    seen: dict[int, keras.layers.Layer] = {}
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, keras.Model):
            seen.setdefault(id(layer), layer)
    return list(seen.values())


def head_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of the head: those from ``pool`` to ``logits``, and auxiliary heads.

    In an ensemble, those of all members. A model without a layer ``pool`` has its last layer as
    its head.
    """
    found = set(_head_ids(model))
    return [
        layer
        for layer in leaf_layers(model)
        if id(layer) in found or layer.name.startswith(AUXILIARY)
    ]


def part_of(model: keras.Model) -> dict[int, Part]:
    """``id(layer)`` -> its part, for every layer that is no model."""
    head = {id(layer) for layer in head_layers(model)}
    return {id(layer): "head" if id(layer) in head else "backbone" for layer in leaf_layers(model)}


def _head_ids(model: keras.Model) -> Iterator[int]:
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    for inner in nested:
        yield from _head_ids(inner)
    names = [layer.name for layer in model.layers]
    if HEAD_START in names:
        begin = names.index(HEAD_START)
        after = [layer for layer in model.layers[begin:] if not isinstance(layer, keras.Model)]
        yield from (id(layer) for layer in after)
    elif not nested and model.layers:
        yield id(model.layers[-1])
