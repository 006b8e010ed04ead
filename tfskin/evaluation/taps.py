"""What flows inside a trained model: its networks' logits, embeddings and last maps of features.

For every functional Keras model, models within models included (an ensemble's members, a
backbone). What an inner layer takes and gives is taken down while the model runs, so that no graph
has to be rebuilt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras

from tfskin.layers import ColorSpace

_POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)

LEAST_SHARE = 1e-6
"""A member of a smaller weight has no share in a heat map."""


@dataclass(frozen=True)
class Unit:
    """One network in a model: the model itself, or a member of an ensemble.

    Attributes:
        name: of the network.
        head: the layer that gives its logits, and takes its embedding.
        features: the layer of its last map of features, of two by two places or more; None where
            there is none. One place says nothing of where.
        before_pooling: the map is what ``features``, a local pooling, takes: it is finer there.
        spectral: the map's axes are frequencies, not places.
        share: of the network's map in the model's heat map. Those of the networks whose maps have
            places add up to 1, in proportion to an ensemble's weights (equal ones for stacking);
            the others have 0.
    """

    name: str
    head: keras.layers.Layer
    features: keras.layers.Layer | None
    before_pooling: bool
    spectral: bool
    share: float = 1.0


@dataclass(frozen=True)
class Flow:
    """What flowed inside a model, as tensors; one entry a network.

    Attributes:
        output: (N, C) logits of the model.
        logits: (N, C) of each network.
        embeddings: (N, F) of each network, what its head took.
        maps: of each network, its last map of features, (N, h, w, K) or the tokens (N, T, K) of
            a transformer (:func:`as_map`); None where it has none.
    """

    output: Any
    logits: list[Any]
    embeddings: list[Any]
    maps: list[Any]


def find_units(model: keras.Model) -> list[Unit]:
    """The networks of a model: its members where it joins models with logits of their own."""
    last = _output_layer(model)
    given = [tensor._keras_history.operation for tensor in last._inbound_nodes[0].input_tensors]
    members = [layer for layer in given if _has_logits(layer)]
    units = [_find_unit(network) for network in members or [model]]
    # The last layer of an ensemble holds its combiner, whose room stands below this one.
    weights = getattr(getattr(last, "combiner", None), "weights", ()) or [1.0] * len(units)
    usable = [
        weight if unit.features is not None and not unit.spectral else 0.0
        for unit, weight in zip(units, weights, strict=True)
    ]
    total = sum(usable) or 1.0
    shares = [weight / total if weight / total > LEAST_SHARE else 0.0 for weight in usable]
    return [replace(unit, share=share) for unit, share in zip(units, shares, strict=True)]


def run_tapped(call: Callable[[Any], Any], units: Sequence[Unit], images: Any) -> Flow:
    """What flows inside a model while it runs.

    Args:
        call: images to the model's logits.
        units: of the model, by :func:`find_units`.
        images: float32 (N, H, W, 3) in 0..255.
    """
    watched = {layer for unit in units for layer in (unit.head, unit.features) if layer is not None}
    with _watching(watched) as seen:
        output = call(images)
    heads = [seen[id(unit.head)] for unit in units]
    maps = [
        None if unit.features is None else seen[id(unit.features)][0 if unit.before_pooling else 1]
        for unit in units
    ]
    return Flow(output, [given for _, given in heads], [taken for taken, _ in heads], maps)


def _has_logits(layer: Any) -> bool:
    is_functional = isinstance(layer, keras.Model) and bool(getattr(layer, "outputs", None))
    return is_functional and _output_layer(layer).name == "logits"


def _output_layer(model: keras.Model) -> Any:
    layer = model.outputs[0]._keras_history.operation
    return _output_layer(layer) if isinstance(layer, keras.Model) else layer


def _find_unit(network: keras.Model) -> Unit:
    leaves = list(_leaves(network))
    found = next((leaf for leaf in reversed(leaves) if _is_map(leaf)), None)
    before_pooling = isinstance(found, _POOLING)
    while isinstance(found, _POOLING):
        producer = found.input._keras_history.operation
        if not isinstance(producer, _POOLING):
            break
        found = producer
    spectral = any(isinstance(leaf, ColorSpace) and leaf.space == "fft" for leaf in leaves)
    return Unit(network.name, _output_layer(network), found, before_pooling, spectral)


def _leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers that are no models, in the order in which they run."""
    nodes = getattr(getattr(model, "_functional", None) or model, "_nodes_by_depth", None)
    if nodes is None:
        layers = list(model.layers)
    else:
        ordered = [node for depth in sorted(nodes, reverse=True) for node in nodes[depth]]
        layers = list(dict.fromkeys(n.operation for n in ordered if not n.is_input))
    for layer in layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        elif isinstance(layer, keras.layers.Layer):
            yield layer


def _is_map(layer: keras.layers.Layer) -> bool:
    """Whether a layer gives a map of features; an image in another colour space is none."""
    try:
        shape = tuple(layer.output.shape)
    except (AttributeError, ValueError):
        return False
    if len(shape) == 4 and None not in shape[1:3] and not isinstance(layer, ColorSpace):
        return min(shape[1:3]) >= 2
    # Tokens of a transformer, with or without a class token.
    return len(shape) == 3 and bool(shape[1]) and _token_side(shape[1])[0] >= 2


def _token_side(tokens: int) -> tuple[int, int]:
    """The side of a square of tokens, and how many tokens stand before it; (0, 0) for none."""
    for extra in (0, 1):
        side = math.isqrt(tokens - extra)
        if side >= 2 and side * side == tokens - extra:
            return side, extra
    return 0, 0


def as_map(features: Any) -> Any:
    """(N, h, w, K) of a map as it is, or of tokens (N, T, K) in their square."""
    if len(features.shape) == 4:
        return features
    side, extra = _token_side(features.shape[1])
    return keras.ops.reshape(features[:, extra:], (-1, side, side, features.shape[2]))


@contextmanager
def _watching(layers: Collection[keras.layers.Layer]) -> Iterator[dict[int, tuple[Any, Any]]]:
    """What layers take and give while a model runs: id of the layer -> both tensors."""
    seen: dict[int, tuple[Any, Any]] = {}
    originals = {id(layer): layer.call for layer in layers}

    def watch(layer: keras.layers.Layer) -> Callable[..., Any]:
        original = originals[id(layer)]

        def call(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            seen[id(layer)] = next(iter((*arguments, *options.values()))), result
            return result

        return call

    for layer in layers:
        layer.call = watch(layer)
    try:
        yield seen
    finally:
        for layer in layers:
            del layer.call  # the class's own again
