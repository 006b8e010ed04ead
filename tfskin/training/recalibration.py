"""Batch normalisation's statistics: what they are on given images, and setting them to it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np

from tfskin.layers.batch_norm import BatchNorm
from tfskin.layers.parts import leaf_layers


class Statistics(NamedTuple):
    """Mean and variance per channel, float64 (C,)."""

    mean: np.ndarray
    variance: np.ndarray


def batch_norm_layers(model: keras.Model) -> list[BatchNorm]:
    """Every batch normalisation of a model, in the order of the graph."""
    return [layer for layer in leaf_layers(model) if isinstance(layer, BatchNorm)]


def measure_statistics(
    model: keras.Model, batches: Iterable[Any], *, layers: list[BatchNorm] | None = None
) -> dict[str, Statistics]:
    """Name of a layer -> the statistics of what it sees when batches pass in training mode.

    Dropout is off, and nothing of the model changes. Mean and variance are those of all images
    together: the mean of the batches' means, and the mean of their variances plus the variance
    of their means, each batch counted by its images (Wu and Johnson, "Rethinking 'Batch' in
    BatchNorm", 2021, arXiv:2105.07576, section 3.1).

    Args:
        model: a network.
        batches: float32 images (N, H, W, 3) in 0..255, the larger the better.
        layers: which normalise by their batch meanwhile; those in the mode ``update`` unless
            given. All others use their moving statistics.

    Raises:
        ValueError: no batch.
    """
    if layers is None:
        layers = [layer for layer in batch_norm_layers(model) if layer.mode == "update"]
    sums: dict[str, list[Any]] = {layer.name: [0.0, 0.0] for layer in layers}
    count = 0
    with _observing(model, layers):
        for images in batches:
            model(images, training=True)
            count += len(images)
            for layer in layers:
                mean = np.asarray(keras.ops.convert_to_numpy(layer.moving_mean), "float64")
                variance = np.asarray(keras.ops.convert_to_numpy(layer.moving_variance), "float64")
                first, second = sums[layer.name]
                sums[layer.name] = [
                    first + len(images) * mean,
                    second + len(images) * (variance + mean**2),
                ]
    if not count:
        raise ValueError("no batch of images to measure statistics on")
    return {
        name: Statistics(first / count, np.maximum(second / count - (first / count) ** 2, 0))
        for name, (first, second) in sums.items()
    }


def recalibrate(model: keras.Model, batches: Iterable[Any]) -> int:
    """Set moving statistics to those of ``batches``; returns how many layers changed.

    Of layers that may train, in the mode ``update``: the others were asked to stand still. The
    result depends on the weights and images alone, not on the former statistics of these layers.

    Args:
        model: a trained network.
        batches: clean (unaugmented) training images, float32 (N, H, W, 3) in 0..255.
    """
    layers = [x for x in batch_norm_layers(model) if x.mode == "update" and x.trainable]
    measured = measure_statistics(model, batches, layers=layers) if layers else {}
    for layer in layers:
        layer.moving_mean.assign(measured[layer.name].mean)
        layer.moving_variance.assign(measured[layer.name].variance)
    return len(layers)


@contextmanager
def _observing(model: keras.Model, layers: list[BatchNorm]) -> Iterator[None]:
    """Each of ``layers`` stores its last batch's statistics; everything is put back afterwards."""
    norms = batch_norm_layers(model)
    dropouts = [x for x in leaf_layers(model) if isinstance(x, keras.layers.Dropout)]
    former = [(layer, layer.mode, layer.momentum, layer.trainable) for layer in norms]
    rates = [(layer, layer.rate) for layer in dropouts]
    values = [(w, np.array(keras.ops.convert_to_numpy(w))) for x in norms for w in _moving(x)]
    chosen = {id(layer) for layer in layers}
    try:
        for layer in norms:
            layer.mode = "update" if id(layer) in chosen else "frozen"
            layer.trainable = True
            layer.momentum = 0.0
        for dropout in dropouts:
            dropout.rate = 0.0
        yield
    finally:
        for layer, mode, momentum, trainable in former:
            layer.mode, layer.momentum, layer.trainable = mode, momentum, trainable
        for dropout, rate in rates:
            dropout.rate = rate
        for weight, value in values:
            weight.assign(value)


def _moving(layer: BatchNorm) -> tuple[Any, Any]:
    return layer.moving_mean, layer.moving_variance


@contextmanager
def training_mode(model: keras.Model) -> Iterator[None]:
    """Within it ``model(images, training=True)`` normalises by the batch, and drops nothing."""
    with _observing(model, batch_norm_layers(model)):
        yield
