"""What can be wrong with batch normalisation, measured on images."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from tfskin.layers.batch_norm import BatchNorm
from tfskin.training.recalibration import (
    Statistics,
    batch_norm_layers,
    measure_statistics,
    training_mode,
)

STALE_SHIFT = 0.5
"""A mean that is off by half a standard deviation (root mean square over channels) is stale."""

STALE_RATIO = 2.0
"""A variance that is off by this factor (geometric mean over channels) is stale."""

COMPANION_TOLERANCE = 1e-3
"""Largest change of a probability by batch companions; rounding stays below, batch statistics
do not."""

COMPARED = 16


def check_layers(model: keras.Model, batches: Iterable[np.ndarray]) -> list[dict[str, Any]]:
    """A row for each batch normalisation: its moving statistics against those of the images.

    ``mean_shift`` is the root mean square over channels of ``(mean of images - moving mean) /
    sqrt(moving variance + epsilon)``, ``variance_ratio`` the geometric mean over channels of
    ``(variance of images + epsilon) / (moving variance + epsilon)``. ``state`` is ``initial``
    (mean 0 and variance 1 in every channel, as before any training), ``stale`` (beyond
    ``STALE_SHIFT`` or ``STALE_RATIO``) or ``fresh``. The images pass with every layer normalising
    by its batch, so a layer is judged by what it sees behind right ones.

    Args:
        model: a network.
        batches: float32 images (N, H, W, 3) in 0..255.
    """
    layers = batch_norm_layers(model)
    measured = measure_statistics(model, batches, layers=layers)
    return [_judge(layer, measured[layer.name]) for layer in layers]


def _judge(layer: BatchNorm, seen: Statistics) -> dict[str, Any]:
    mean = np.asarray(keras.ops.convert_to_numpy(layer.moving_mean), "float64")
    variance = np.asarray(keras.ops.convert_to_numpy(layer.moving_variance), "float64")
    spread = variance + layer.epsilon
    shift = float(np.sqrt(np.mean((seen.mean - mean) ** 2 / spread)))
    ratio = float(np.exp(np.mean(np.log((seen.variance + layer.epsilon) / spread))))
    state = "fresh"
    if not mean.any() and (variance == 1).all():
        state = "initial"
    elif shift > STALE_SHIFT or not 1 / STALE_RATIO < ratio < STALE_RATIO:
        state = "stale"
    return {
        "layer": layer.name,
        "mode": layer.mode if layer.trainable else "frozen",
        "mean_shift": shift,
        "variance_ratio": ratio,
        "state": state,
    }


def mode_gap(model: keras.Model, images: np.ndarray) -> dict[str, float]:
    """How far training mode (statistics of the batch, no dropout) and inference mode differ.

    ``mean_difference`` is the mean over images of the largest difference of a probability,
    ``changed`` the share of images whose most probable class differs.
    """
    inference = _probabilities(model(images, training=False))
    with training_mode(model):
        outputs = model(images, training=True)
    training = _probabilities(outputs[0] if isinstance(outputs, list | tuple) else outputs)
    return {
        "mean_difference": float(np.abs(training - inference).max(axis=1).mean()),
        "changed": float((training.argmax(axis=1) != inference.argmax(axis=1)).mean()),
    }


def check_companions(
    model: keras.Model, images: np.ndarray, labels: np.ndarray
) -> dict[str, float | bool]:
    """The largest change of an image's probability in other company, at inference.

    Each image is predicted in file order, and then ``shuffled`` among the others, in a batch of a
    ``single_class`` and as a batch of ``one``. ``passed`` is whether each change is below
    ``COMPANION_TOLERANCE``.

    Args:
        model: a network.
        images: float32 (N, H, W, 3) in 0..255.
        labels: (N,) integers.
    """
    expected = _probabilities(model(images, training=False))
    order = np.random.default_rng(0).permutation(len(images))[: -(-len(images) // 2)]
    changes = {"shuffled": _change(model, images, order, expected)}
    changes["single_class"] = max(
        _change(model, images, np.flatnonzero(labels == label), expected)
        for label in np.unique(labels)
    )
    changes["one"] = max(
        _change(model, images, np.array([number]), expected)
        for number in range(min(COMPARED, len(images)))
    )
    return {**changes, "passed": all(c <= COMPANION_TOLERANCE for c in changes.values())}


def _change(
    model: keras.Model, images: np.ndarray, chosen: np.ndarray, expected: np.ndarray
) -> float:
    found = _probabilities(model(images[chosen], training=False))
    return float(np.abs(found - expected[chosen]).max())


def _probabilities(logits: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.softmax(logits, axis=-1)), "float64")
