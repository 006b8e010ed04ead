"""Batch normalisation's statistics: what they are on given images, and setting them to it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np

from tfskin.layers.batch_norm import BatchNorm
from tfskin.layers.parts import leaf_layers
from tfskin.training.checkpoints import assign_all, copy_values


class Statistics(NamedTuple):
    """Mean and variance per channel, float64 (C,)."""

    mean: np.ndarray
    variance: np.ndarray


def batch_norm_layers(model: keras.Model) -> list[BatchNorm]:
    """Every batch normalisation of a model, in the order of the graph."""
    return [layer for layer in leaf_layers(model) if isinstance(layer, BatchNorm)]


def measure_statistics(
    model: keras.Model, batches: Iterable[Any], *, layers: list[BatchNorm]
) -> list[Statistics]:
    """For each layer the statistics of what it sees when batches pass in training mode.

    Dropout is off, and nothing of the model changes. Mean and variance are those of all images
    together: the mean of the batches' means, and the mean of their variances plus the variance
    of their means, each batch counted by its images (Wu and Johnson, "Rethinking 'Batch' in
    BatchNorm", 2021, arXiv:2105.07576, section 3.1).

    Args:
        model: a network.
        batches: float32 images (N, H, W, 3) in 0..255, the larger the better.
        layers: which normalise by their batch meanwhile; all others use their moving statistics.

    Raises:
        ValueError: no batch.
    """
    sums: list[list[Any]] = [[0.0, 0.0] for _ in layers]
    count = 0
    with training_mode(model, layers):
        for images in batches:
            model(images, training=True)
            count += len(images)
            for layer, sum_of in zip(layers, sums, strict=True):
                mean, variance = (
                    np.asarray(keras.ops.convert_to_numpy(weight), "float64")
                    for weight in _moving(layer)
                )
                sum_of[0] = sum_of[0] + len(images) * mean
                sum_of[1] = sum_of[1] + len(images) * (variance + mean**2)
    if not count:
        raise ValueError("no batch of images to measure statistics on")
    return [
        Statistics(first / count, np.maximum(second / count - (first / count) ** 2, 0))
        for first, second in sums
    ]


def recalibrate(model: keras.Model, batches: Iterable[Any]) -> int:
    """Set moving statistics to those of ``batches``; returns how many layers changed.

    Of layers that may train, in the mode ``update``: the others were asked to stand still. The
    result depends on the weights and images alone, not on the former statistics of these layers.

    Args:
        model: a trained network.
        batches: clean (unaugmented) training images, float32 (N, H, W, 3) in 0..255.
    """
    layers = [x for x in batch_norm_layers(model) if x.mode == "update" and x.trainable]
    measured = measure_statistics(model, batches, layers=layers) if layers else []
    for layer, statistics in zip(layers, measured, strict=True):
        layer.moving_mean.assign(statistics.mean)
        layer.moving_variance.assign(statistics.variance)
    return len(layers)


@contextmanager
def training_mode(model: keras.Model, layers: list[BatchNorm] | None = None) -> Iterator[None]:
    """Within it ``model(images, training=True)`` normalises by the batch, and drops nothing.

    Each of ``layers`` (all unless given) stores its last batch's statistics; the others use their
    moving ones. Everything is put back afterwards.
    """
    norms = batch_norm_layers(model)
    layers = norms if layers is None else layers
    dropouts = [x for x in leaf_layers(model) if isinstance(x, keras.layers.Dropout)]
    former = [(layer, layer.mode, layer.momentum, layer.trainable) for layer in norms]
    rates = [(layer, layer.rate) for layer in dropouts]
    moving = [weight for layer in norms for weight in _moving(layer)]
    values = copy_values(moving)
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
        assign_all(moving, values)


def _moving(layer: BatchNorm) -> tuple[Any, Any]:
    return layer.moving_mean, layer.moving_variance
