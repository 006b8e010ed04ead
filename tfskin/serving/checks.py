"""Whether a network may be served, and whether a SavedModel says what its network does."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfskin.errors import UserError
from tfskin.inputs.decode import decode_and_resize
from tfskin.serving.exif import read_orientation
from tfskin.serving.graph import GraphOptions, dihedral_views
from tfskin.serving.loading import load_saved_model
from tfskin.serving.robust_decode import decode_batch

MAX_DIFFERENCE = 1e-5
"""Largest difference of a probability between the SavedModel and the Keras model."""

MAX_COMPANION_EFFECT = 1e-3
"""Largest change of a logit, relative to the largest logit, when batch companions change."""

_NONE_READ = (
    "{name}: none of the {count} check images can be read; give at least one upright JPEG or PNG"
)


class Checked(NamedTuple):
    """What :func:`check_export` finds."""

    difference: float
    """The largest difference of a probability."""
    readable: list[int]
    """The images that the SavedModel can read."""
    outputs: list[str]
    """Names of the default signature's outputs."""


def check_export(
    path: Path | str,
    model: keras.Model,
    encoded: Sequence[bytes],
    *,
    options: GraphOptions,
    name: str = "",
) -> Checked:
    """What a SavedModel answers, and how far that is from its Keras model.

    The SavedModel is loaded afresh and gets all images in one batch; the Keras model gets each
    image alone, from the function that training decodes and resizes with. Images that training
    never sees as they are (unreadable, or turned by EXIF) are left out.

    Args:
        path: the SavedModel's folder.
        model: what it was made of.
        encoded: encoded images.
        options: what the SavedModel does around the model.
        name: of the model, for the error.

    Raises:
        UserError: no image can be compared, or the difference exceeds ``MAX_DIFFERENCE``.
    """
    # On the CPU, because a GPU's TensorFloat-32 convolutions alone differ by more.
    with tf.device("/CPU:0"):
        # Kept until the answer is there: a signature does not keep its variables alive.
        loaded = load_saved_model(path)
        served = loaded.signatures["serving_default"]
        outputs = served(image_bytes=tf.constant(list(encoded), tf.string))
        valid = outputs["valid"].numpy()
        differences = [
            np.abs(outputs["probabilities"][row].numpy() - expected).max()
            for row, expected in _expected_rows(model, encoded, valid, options)
        ]
    if not differences:
        raise UserError(_NONE_READ.format(name=name, count=len(encoded)))
    difference = float(np.max(differences))
    if not difference <= MAX_DIFFERENCE:
        raise UserError(
            f"{name}: the SavedModel's probabilities differ by {difference:.1e} from the "
            f"model's (at most {MAX_DIFFERENCE:.0e} is allowed); is it a float32 model?"
        )
    return Checked(difference, np.flatnonzero(valid).tolist(), list(outputs))


def check_companions(
    model: keras.Model, encoded: Sequence[bytes], *, options: GraphOptions, name: str = ""
) -> None:
    """Refuse a model whose prediction for an image changes with the other images of its batch.

    That is what a BatchNormalization in training mode does. Each image is predicted alone, with
    the other images, and with black, white and noise.

    Raises:
        UserError: a logit changes by more than ``MAX_COMPANION_EFFECT`` of the largest one, or
            none of the images can be read.
    """
    height, width = options.image_size
    noise = np.random.default_rng(0).uniform(0, 255, (1, height, width, 3))
    strangers = np.concatenate([np.zeros_like(noise), np.full_like(noise, 255), noise])
    with tf.device("/CPU:0"):
        decoded = decode_batch(
            tf.constant(list(encoded), tf.string),
            image_size=options.image_size,
            resize=options.resize,
            max_pixels=options.max_pixels,
        )
        known = decoded.images.numpy()[decoded.valid.numpy()]
        if not len(known):
            raise UserError(_NONE_READ.format(name=name, count=len(encoded)))
        known = np.concatenate([known[:4], strangers.astype("float32")])
        together = np.asarray(model(known, training=False), "float32")
        alone = np.concatenate(
            [np.asarray(model(image[np.newaxis], training=False)) for image in known]
        )
    effect = float(np.abs(together - alone).max() / max(np.abs(alone).max(), 1e-6))
    if not effect <= MAX_COMPANION_EFFECT:
        raise UserError(
            f"{name}: its predictions change by {effect:.0%} with the other images of the "
            "batch, as they do when a BatchNormalization runs in training mode; "
            "it cannot be served"
        )


def _expected_rows(
    model: keras.Model, encoded: Sequence[bytes], valid: np.ndarray, options: GraphOptions
) -> Iterator[tuple[int, np.ndarray]]:
    """Row and probabilities of every image that can be compared."""
    for row, data in enumerate(encoded):
        if not valid[row] or int(read_orientation(tf.constant(data))) != 1:
            continue
        image = decode_and_resize(tf.constant(data), options.image_size, options.resize)
        views = [image[tf.newaxis]]
        if options.test_time_augmentation:
            views = dihedral_views(views[0])
        logits = np.concatenate([np.asarray(model(view, training=False)) for view in views])
        yield row, options.decision.to_probabilities(logits).mean(axis=0)
