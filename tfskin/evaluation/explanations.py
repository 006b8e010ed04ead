"""Where a model looks: Grad-CAM, integrated gradients, and the training images nearest to one.

For every functional Keras model, models within models included (an ensemble's members, a backbone).
A mixed-precision model is to be given as float32 (``tfskin.ensembling.as_float32``): its gradients
would underflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfskin.evaluation.taps import Flow, Unit, as_map, find_units, run_tapped

Images = npt.NDArray[np.float32]

STEPS = 32


@dataclass(frozen=True)
class Explanation:
    """Why a model chose a class, for N images.

    Attributes:
        classes: (N,) the explained class of each.
        grad_cam: (N, H, W) float32 in 0..1; None where no network has a map of places.
        gradients: (N, H, W) float32 integrated gradients, summed over the colours: above 0 speaks
            for the class.
        completeness: (N,) sum of the integrated gradients over the difference of the class's
            log-probability between image and baseline: 1 in the limit of many steps.
        note: what a reader must know, such as members that were left out; may be empty.
    """

    classes: npt.NDArray[np.int64]
    grad_cam: Images | None
    gradients: Images
    completeness: npt.NDArray[np.float64]
    note: str


def explain_images(
    model: keras.Model,
    images: Images,
    classes: Sequence[int] | npt.NDArray[Any],
    *,
    steps: int = STEPS,
) -> Explanation:
    """Grad-CAM and integrated gradients of a class.

    Grad-CAM: :func:`grad_cam`.

    Integrated gradients of the class's log-probability: Sundararajan et al., ICML 2017, eq. 1, by
    the midpoint rule. The baseline is not black, which is the colour of a lesion, but the image's
    own skin: a plain image of the median colour of its border.

    Args:
        model: float32 (N, H, W, 3) in 0..255 to (N, C) logits.
        images: (N, H, W, 3) float32.
        classes: N indices.
        steps: of the integral.
    """
    units, chosen = find_units(model), np.asarray(classes, np.int64)
    run_cam, run_gradients = _cam_function(model, units), _gradient_function(model)
    cam, gradients, completeness = [], [], []
    for image, label in zip(images, chosen, strict=True):
        if run_cam is not None:
            cam.append(run_cam(tf.constant(image[None]), tf.constant([label]))[0].numpy())
        found, share = _integrate(run_gradients, image, int(label), steps)
        gradients.append(found)
        completeness.append(share)
    return Explanation(
        classes=chosen,
        grad_cam=np.stack(cam) if cam else None,
        gradients=np.stack(gradients) if gradients else np.zeros(images.shape[:3], np.float32),
        completeness=np.array(completeness),
        note=_note(units),
    )


def grad_cam(
    run: Callable[[tf.Tensor], Flow],
    units: Sequence[Unit],
    images: tf.Tensor,
    classes: tf.Tensor,
) -> tf.Tensor:
    """float32 (N, H, W) heat maps in 0..1 of one class an image.

    Of each network ``relu(sum_k a_k A_k)``, with the channels ``A_k`` of its last map of features
    before pooling and ``a_k`` the mean over places of the gradient of the class's logit, before the
    softmax (Selvaraju et al., ICCV 2017, eq. 1 and 2). Each network's map is brought to a highest
    value of 1 and enlarged to the size of the images by bilinear interpolation. An ensemble's maps
    are then added by the members' shares: the paper knows no ensembles, and a member's own logit
    says what that member saw, whatever the others did. Members whose maps are of frequencies (FFT)
    have no places and are left out. The sum's highest value is 1 again; a map stays 0 where no
    place speaks for the class.

    Args:
        run: images to what flows inside the model, by :func:`tfskin.evaluation.taps.run_tapped`.
        units: of the model; the share of one or more is above 0.
        images: float32 (N, H, W, 3) in 0..255.
        classes: (N,) integers.
    """
    with tf.GradientTape() as tape:
        # Frozen weights are not watched, and then no map of features would be either.
        tape.watch(images)
        flow = run(images)
        seen = [place for place, unit in enumerate(units) if unit.share]
        # No logit depends on another network's map, so one sum has all of their gradients.
        score = tf.add_n([tf.gather(flow.logits[m], classes, batch_dims=1) for m in seen])
    maps = [flow.maps[m] for m in seen]
    slopes = tape.gradient(score, maps, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    total = tf.zeros_like(images[..., 0])
    for m, features, slope in zip(seen, maps, slopes, strict=True):
        importance = tf.reduce_mean(as_map(slope), axis=(1, 2), keepdims=True)
        cam = tf.nn.relu(tf.reduce_sum(importance * as_map(features), axis=3, keepdims=True))
        total += units[m].share * tf.image.resize(_to_one(cam), images.shape[1:3])[..., 0]
    return _to_one(total)


def _to_one(maps: tf.Tensor) -> tf.Tensor:
    """Maps (N, h, w, ...), none below 0, brought to a highest value of 1; zeros stay zeros."""
    highest = tf.reduce_max(maps, axis=tuple(range(1, maps.shape.rank)), keepdims=True)
    return tf.math.divide_no_nan(maps, highest)


def embed(
    model: keras.Model, batches: Iterator[Any], *, advance: Callable[[int], None] = lambda _: None
) -> npt.NDArray[np.float32]:
    """(N, D) float32 embeddings: what enters the layer that gives the logits, of length 1.

    An ensemble's are its members' set side by side.

    Args:
        model: float32 (N, H, W, 3) in 0..255 to logits.
        batches: of images.
        advance: called with the number of images after each batch.
    """
    units = find_units(model)

    @tf.function(reduce_retracing=True)
    def run(images: tf.Tensor) -> tf.Tensor:
        found = run_tapped(lambda given: model(given, training=False), units, images).embeddings
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


def _cam_function(model: keras.Model, units: Sequence[Unit]) -> Any:
    """Images and classes to heat maps; None where no network has a map of places."""
    if not any(unit.share for unit in units):
        return None

    def flow(images: tf.Tensor) -> Flow:
        return run_tapped(lambda given: model(given, training=False), units, images)

    return tf.function(
        lambda images, classes: grad_cam(flow, units, images, classes), reduce_retracing=True
    )


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


def _integrate(run: Any, image: Images, label: int, steps: int) -> tuple[Images, float]:
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    baseline = np.broadcast_to(np.median(border, axis=0), image.shape).astype(np.float32)
    path = ((np.arange(steps) + 0.5) / steps).astype(np.float32)[:, None, None, None]
    total = np.zeros_like(image)
    for part in np.array_split(path, max(1, steps // 16)):
        images = baseline + part * (image - baseline)
        _, slopes = run(tf.constant(images), tf.fill([len(images)], tf.cast(label, tf.int64)))
        total += slopes.numpy().sum(axis=0)
    found: np.ndarray = (image - baseline) * total / steps
    ends = np.stack([baseline, image])
    scores, _ = run(tf.constant(ends), tf.fill([2], tf.cast(label, tf.int64)))
    gap = float(scores[1] - scores[0])
    share = float(found.sum() / gap) if abs(gap) > 1e-6 else 1.0
    return found.sum(axis=2), share


def _note(units: Sequence[Unit]) -> str:
    places = [unit for unit in units if unit.features is not None and not unit.spectral]
    if len(places) == len(units):
        return ""
    if not places:
        why = "its maps are of frequencies" if units[0].spectral else "it has no map of features"
        return f"No Grad-CAM: {why}."
    return f"Grad-CAM is of {len(places)} of {len(units)} members; the others' maps have no places."
