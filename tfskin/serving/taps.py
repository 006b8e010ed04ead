"""A trained model that also gives what lies inside it: members, embedding, feature maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tfskin.ensembling.fused import CombineLogits
from tfskin.layers import ColorSpace

_POOLING = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)


@dataclass(frozen=True)
class TappedModel:
    """A model with more outputs, sharing the weights of the one it was made of.

    Attributes:
        model: float32 (N, h, w, 3) in 0..255 to a dict: ``logits`` (N, C), ``features`` (N, F),
            and for member m ``member_<m>`` (N, C), its logits, and ``map_<m>`` (N, h', w', K), its
            last feature map before pooling, where it has one that lies on the picture.
        member_names: of an ensemble; empty for a single network, which is member 0.
        map_weights: member -> its share in the heat map, summing to 1; members without a map on
            the picture are left out. Empty: no heat map can be made.
    """

    model: keras.Model
    member_names: tuple[str, ...]
    map_weights: dict[int, float]


def tap_model(model: keras.Model) -> TappedModel:
    """The model with the outputs of :class:`TappedModel`.

    ``features`` is what the layer "logits" takes: pooled activations; those of an ensemble's
    members stand one after another. The feature map is the last four-dimensional activation of at
    least two by two places (one place says nothing of where), before local poolings that follow
    it: its grid is finer there. A member that sees the Fourier spectrum has none, for its map
    lies over frequencies and not over the picture.

    Shares in the heat map are the ensemble's weights; equal ones for stacking.

    Args:
        model: functional, one image input, its output the layer "logits".
    """
    last = model.outputs[0]._keras_history.operation
    image = keras.Input(model.input_shape[1:], name="image", dtype="float32")
    if not isinstance(last, CombineLogits):
        part = _tap_network(model)
        outputs = part(image)
        taps = {"features": outputs["features"], "logits": outputs["logits"]}
        taps |= _member_taps(0, outputs)
        weights = {0: 1.0} if "map" in outputs else {}
        return TappedModel(keras.Model(image, taps, name=model.name), (), weights)
    given = last._inbound_nodes[0].input_tensors
    taps, names, features = {}, [], []
    for number, tensor in enumerate(given):
        member = tensor._keras_history.operation
        source = member._inbound_nodes[-1].input_tensors[0]._keras_history.operation
        seen = image if isinstance(source, keras.layers.InputLayer) else source(image)
        outputs = _tap_network(member)(seen)
        taps |= _member_taps(number, outputs)
        features.append(outputs["features"])
        names.append(member.name.split("_", 2)[-1])
    taps["features"] = keras.ops.concatenate(features, axis=-1)
    taps["logits"] = last([taps[f"member_{number}"] for number in range(len(given))])
    shares = last.combiner.weights or (1 / len(given),) * len(given)
    weights = {number: shares[number] for number in range(len(given)) if f"map_{number}" in taps}
    total = sum(weights.values())
    weights = {number: weight / total for number, weight in weights.items() if weight > 1e-6}
    tapped = keras.Model(image, taps, name=model.name)
    return TappedModel(tapped, unique_names(names), weights)


def _member_taps(number: int, outputs: dict[str, Any]) -> dict[str, Any]:
    taps = {f"member_{number}": outputs["logits"]}
    return taps | ({f"map_{number}": outputs["map"]} if "map" in outputs else {})


def _tap_network(network: keras.Model) -> keras.Model:
    """One network with ``logits``, ``features`` and, where there is one, ``map``."""
    logits = network.outputs[0]
    features = logits._keras_history.operation._inbound_nodes[-1].input_tensors[0]
    outputs = {"logits": logits, "features": features}
    feature_map = None if _sees_spectrum(network) else _last_feature_map(network)
    if feature_map is not None:
        outputs["map"] = feature_map
    return keras.Model(network.inputs[0], outputs, name=network.name)


def _last_feature_map(network: keras.Model) -> Any | None:
    for node in _nodes_from_the_end(network):
        tensor = node.output_tensors[0]
        if len(tensor.shape) != 4 or node.is_input or isinstance(node.operation, ColorSpace):
            continue
        if min(tensor.shape[1:3]) < 2:
            continue
        while isinstance(node.operation, _POOLING):
            tensor = node.input_tensors[0]
            node = tensor._keras_history.operation._inbound_nodes[tensor._keras_history.node_index]
        return tensor
    return None


def _nodes_from_the_end(network: keras.Model) -> Iterator[Any]:
    for depth in sorted(network._nodes_by_depth):
        yield from network._nodes_by_depth[depth]


def _sees_spectrum(network: keras.Model) -> bool:
    layers = network._flatten_layers(include_self=False)
    return any(isinstance(layer, ColorSpace) and layer.space == "fft" for layer in layers)


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names with ``_2``, ``_3`` where one comes again."""
    return tuple(
        name if names[:place].count(name) == 0 else f"{name}_{names[:place].count(name) + 1}"
        for place, name in enumerate(names)
    )
