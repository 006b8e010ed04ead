"""Where a model looks: Grad-CAM, integrated gradients, and the training images nearest to one.

For every functional Keras model, models within models included (an ensemble's members, a backbone).
What flows through an inner layer is taken down while the model runs, so that no graph has to be
rebuilt. A mixed-precision model is to be given as float32 (``tfskin.ensembling.as_float32``): its
gradients would underflow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

Pictures = npt.NDArray[np.float32]

STEPS = 32


@dataclass(frozen=True)
class Unit:
    """One network in a model: the model itself, or a member of an ensemble.

    Attributes:
        name: of the network.
        head: its last dense layer, whose input is the embedding; None where it has none.
        features: the last layer with a map of two or more by two or more places; None where
            there is none.
        spectral: the map's axes are frequencies, not places.
    """

    name: str
    head: keras.layers.Layer | None
    features: keras.layers.Layer | None
    spectral: bool


@dataclass(frozen=True)
class Explanation:
    """Why a model chose a class, for N pictures.

    Attributes:
        classes: (N,) the explained class of each.
        grad_cam: (N, H, W) float32 in 0..1; None where no network has a map of places.
        gradients: (N, H, W) float32 integrated gradients, summed over the colours: above 0 speaks
            for the class.
        completeness: (N,) sum of the integrated gradients over the difference of the class's
            log-probability between picture and baseline: 1 in the limit of many steps.
        note: what a reader must know, such as members that were left out; may be empty.
    """

    classes: npt.NDArray[np.int64]
    grad_cam: Pictures | None
    gradients: Pictures
    completeness: npt.NDArray[np.float64]
    note: str


def explain_pictures(
    model: keras.Model,
    pictures: Pictures,
    classes: Sequence[int] | npt.NDArray[Any],
    *,
    steps: int = STEPS,
) -> Explanation:
    """Grad-CAM and integrated gradients of the log-probability of a class.

    Grad-CAM: Selvaraju et al., ICCV 2017, eq. 1 and 2, on each network's last map of features,
    brought to the picture's size and, for an ensemble, averaged over the members; scaled to a
    maximum of 1, and 0 everywhere where no place speaks for the class. Members whose maps are of
    frequencies (FFT) have no places and are left out.

    Integrated gradients: Sundararajan et al., ICML 2017, eq. 1, by the midpoint rule. The baseline
    is not black, which is the colour of a lesion, but the picture's own skin: a plain picture of
    the median colour of its border.

    Args:
        model: float32 (N, H, W, 3) in 0..255 to (N, C) logits.
        pictures: (N, H, W, 3) float32.
        classes: N indices.
        steps: of the integral.
    """
    units = find_units(model)
    places = [unit for unit in units if unit.features is not None and not unit.spectral]
    chosen = np.asarray(classes, np.int64)
    cam, gradients, completeness = [], [], []
    run_cam = _grad_cam_function(model, places)
    run_gradients = _gradient_function(model)
    for picture, label in zip(pictures, chosen, strict=True):
        if places:
            cam.append(run_cam(tf.constant(picture[None]), tf.constant([label]))[0].numpy())
        found, share = _integrate(run_gradients, picture, int(label), steps)
        gradients.append(found)
        completeness.append(share)
    return Explanation(
        classes=chosen,
        grad_cam=np.stack([_to_unit(one) for one in cam]) if cam else None,
        gradients=np.stack(gradients) if gradients else np.zeros(pictures.shape[:3], np.float32),
        completeness=np.array(completeness),
        note=_note(units, places),
    )


def embed(
    model: keras.Model, batches: Iterator[Any], *, advance: Callable[[int], None] = lambda _: None
) -> npt.NDArray[np.float32]:
    """(N, D) float32 embeddings: what enters the last dense layer, of length 1.

    An ensemble's are its members' set side by side. A model without such a layer gives its logits.

    Args:
        model: float32 (N, H, W, 3) in 0..255 to logits.
        batches: of pictures.
        advance: called with the number of pictures after each batch.
    """
    heads = [unit.head for unit in find_units(model) if unit.head is not None]

    @tf.function(reduce_retracing=True)
    def run(images: tf.Tensor) -> tf.Tensor:
        with _watching(heads, inputs=True) as seen:
            logits = model(images, training=False)
        found = [seen[id(head)] for head in heads] or [logits]
        flat = [tf.reshape(one, (tf.shape(one)[0], -1)) for one in found]
        return tf.concat([tf.math.l2_normalize(one, axis=1) for one in flat], axis=1)

    parts = []
    for images in batches:
        parts.append(run(tf.convert_to_tensor(images, tf.float32)).numpy())
        advance(len(parts[-1]))
    found = np.concatenate(parts)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-12))


def nearest(
    queries: npt.NDArray[np.float32], known: npt.NDArray[np.float32], *, count: int = 3
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """(N, count) indices of the nearest of ``known`` by cosine, and their similarities."""
    similarity = queries @ known.T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :count].astype(np.int64)
    return order, np.take_along_axis(similarity, order, axis=1)


def find_units(model: keras.Model) -> list[Unit]:
    """The networks of a model: its members where it joins models with logits of their own."""
    members = [
        layer
        for layer in getattr(model, "layers", [])
        if isinstance(layer, keras.Model) and _find(layer, "logits") is not None
    ]
    return [_unit(network) for network in members or [model]]


def _unit(network: keras.Model) -> Unit:
    leaves = list(_leaves(network))
    heads = [leaf for leaf in leaves if isinstance(leaf, keras.layers.Dense)]
    maps = [leaf for leaf in leaves if _map_side(leaf) >= 2]
    spectral = any(getattr(leaf, "space", None) == "fft" for leaf in leaves)
    return Unit(network.name, heads[-1] if heads else None, maps[-1] if maps else None, spectral)


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


def _map_side(layer: keras.layers.Layer) -> int:
    """The shorter side of the map that a layer gives; 0 where it gives none."""
    try:
        shape = tuple(layer.output.shape)
    except (AttributeError, ValueError):
        return 0
    if len(shape) == 4 and None not in shape[1:3]:
        return min(shape[1:3])
    if len(shape) == 3 and shape[1]:  # tokens of a transformer, with or without a class token
        return max(_token_side(shape[1])[0], 0)
    return 0


def _token_side(tokens: int) -> tuple[int, int]:
    """The side of a square of tokens, and how many tokens stand before it; (0, 0) for none."""
    for extra in (0, 1):
        side = math.isqrt(tokens - extra)
        if side >= 2 and side * side == tokens - extra:
            return side, extra
    return 0, 0


def _find(model: keras.Model, name: str) -> keras.layers.Layer | None:
    return next((layer for layer in model.layers if layer.name == name), None)


@contextmanager
def _watching(
    layers: Sequence[keras.layers.Layer], *, inputs: bool = False
) -> Iterator[dict[int, Any]]:
    """What the layers give (or are given) while the model runs: id of the layer -> tensor."""
    seen: dict[int, Any] = {}
    originals = {id(layer): layer.call for layer in layers}

    def watch(layer: keras.layers.Layer) -> Callable[..., Any]:
        original = originals[id(layer)]

        def call(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            seen[id(layer)] = arguments[0] if inputs else result
            return result

        return call

    for layer in layers:
        layer.call = watch(layer)
    try:
        yield seen
    finally:
        for layer in layers:
            del layer.call  # the class's own again


def _grad_cam_function(model: keras.Model, units: Sequence[Unit]) -> Any:
    layers = [unit.features for unit in units]
    size = model.input_shape[1:3]

    @tf.function(reduce_retracing=True)
    def run(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape, _watching(layers) as seen:
            tape.watch(images)
            score = _score(model, images, labels)
        maps = [seen[id(layer)] for layer in layers]
        slopes = tape.gradient(score, maps, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        found = [_cam(one, slope, size) for one, slope in zip(maps, slopes, strict=True)]
        return tf.add_n(found) / len(found)

    return run


def _cam(features: tf.Tensor, slopes: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """(N, H, W): the positive part of the map weighted by its mean slopes, its maximum 1."""
    features, slopes = _as_map(features), _as_map(slopes)
    weights = tf.reduce_mean(slopes, axis=(1, 2), keepdims=True)
    cam = tf.nn.relu(tf.reduce_sum(features * weights, axis=3, keepdims=True))
    cam = tf.image.resize(cam, size)[..., 0]
    return cam / tf.maximum(tf.reduce_max(cam, axis=(1, 2), keepdims=True), 1e-12)


def _as_map(features: tf.Tensor) -> tf.Tensor:
    features = tf.cast(features, tf.float32)
    if len(features.shape) == 3:
        side, extra = _token_side(features.shape[1])
        features = tf.reshape(features[:, extra:], (-1, side, side, features.shape[2]))
    return features


def _gradient_function(model: keras.Model) -> Any:
    @tf.function(reduce_retracing=True)
    def run(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            score = _score(model, images, labels)
        return score, tape.gradient(score, images)

    return run


def _score(model: keras.Model, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    logs = tf.nn.log_softmax(model(images, training=False), axis=1)
    return tf.gather(logs, labels, axis=1, batch_dims=1)


def _integrate(run: Any, picture: Pictures, label: int, steps: int) -> tuple[Pictures, float]:
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    baseline = np.broadcast_to(np.median(border, axis=0), picture.shape).astype(np.float32)
    path = ((np.arange(steps) + 0.5) / steps).astype(np.float32)[:, None, None, None]
    total = np.zeros_like(picture)
    for part in np.array_split(path, max(1, steps // 16)):
        images = baseline + part * (picture - baseline)
        _, slopes = run(tf.constant(images), tf.fill([len(images)], tf.cast(label, tf.int64)))
        total += slopes.numpy().sum(axis=0)
    found: np.ndarray = (picture - baseline) * total / steps
    ends = np.stack([baseline, picture])
    scores, _ = run(tf.constant(ends), tf.fill([2], tf.cast(label, tf.int64)))
    gap = float(scores[1] - scores[0])
    share = float(found.sum() / gap) if abs(gap) > 1e-6 else 1.0
    return found.sum(axis=2), share


def _to_unit(cam: Pictures) -> Pictures:
    return np.asarray(cam / max(float(cam.max()), 1e-12), np.float32)


def _note(units: Sequence[Unit], places: Sequence[Unit]) -> str:
    if len(places) == len(units):
        return ""
    if not places:
        why = "its maps are of frequencies" if units[0].spectral else "it has no map of features"
        return f"No Grad-CAM: {why}."
    return f"Grad-CAM is of {len(places)} of {len(units)} members; the others' maps have no places."
