"""Features that were computed before -> batches, in the order that their images would have."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfskin.inputs.pipeline import InputOptions, shuffle_records


def make_feature_dataset(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    options: InputOptions,
    epoch: int | None = None,
    skip_batches: int = 0,
) -> tf.data.Dataset:
    """Batches ``(features, labels)`` of one pass, of known cardinality.

    The batches hold the images that :func:`tfskin.inputs.make_dataset` puts into them, in the
    same order, for the same options and epoch.

    Args:
        features: (N, ...) float32 in file order, as ``make_dataset`` without an epoch has it; may
            be a file mapped into memory, of which each batch is read when it is due.
        labels: (N,) integers.
        options: batch size, seed and buffer of the shuffle.
        epoch: which order; None gives that of the files.
        skip_batches: leave out so many batches at the start.
    """
    count = len(labels)
    rows = tf.data.Dataset.range(count)
    if epoch is not None:
        rows = shuffle_records(rows, count, options=options, epoch=epoch)
    rows = rows.skip(skip_batches * options.batch_size).batch(options.batch_size)
    known = np.asarray(labels, np.int32)

    def take(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(features[chosen], np.float32), known[chosen]

    def load(chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found, of_class = tf.numpy_function(take, [chosen], (tf.float32, tf.int32))
        found.set_shape((None, *features.shape[1:]))
        of_class.set_shape((None,))
        return found, of_class

    return rows.map(load).prefetch(2)
