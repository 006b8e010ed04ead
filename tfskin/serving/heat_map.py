"""Grad-CAM in a graph: where on the picture a class is seen."""

from collections.abc import Callable

import tensorflow as tf

from tfskin.inputs.decode import CUT_MARGINS
from tfskin.schema import Resize


def weigh_heat_maps(
    call: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    images: tf.Tensor,
    classes: tf.Tensor,
    map_weights: dict[int, float],
) -> tf.Tensor:
    """float32 (N, h, w) heat maps in 0..1 of one class an image.

    Of each member ``relu(sum_k a_k A_k)`` with the feature maps ``A_k`` of its last layer before
    pooling and ``a_k`` the mean over places of the gradient of the class's logit: Grad-CAM. Each
    member's map is brought to a highest value of 1, and the maps are added by the members' weights.
    A map that is zero everywhere (nothing speaks for the class) stays zero. The result is enlarged
    to the size of the images by bilinear interpolation and its highest value is 1 again.

    Args:
        call: images to the outputs of :class:`tfskin.serving.taps.TappedModel`.
        images: float32 (N, h, w, 3).
        classes: int32 (N,).
        map_weights: member -> weight.

    Reference: Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2.
    """
    height, width = images.shape[1:3]
    with tf.GradientTape(persistent=True) as tape:
        # Frozen weights are not watched, and then no activation would be either.
        tape.watch(images)
        outputs = call(images)
        scores = {
            member: tf.gather(outputs[f"member_{member}"], classes, batch_dims=1)
            for member in map_weights
        }
    total = tf.zeros((tf.shape(images)[0], height, width))
    for member, weight in map_weights.items():
        activations = outputs[f"map_{member}"]
        slopes = tape.gradient(scores[member], activations)
        importance = tf.reduce_mean(slopes, axis=(1, 2), keepdims=True)
        grid = tf.nn.relu(tf.reduce_sum(importance * activations, axis=-1, keepdims=True))
        enlarged = tf.image.resize(_to_one(grid), (height, width))[..., 0]
        total += weight * enlarged
    return _to_one(total[..., tf.newaxis])[..., 0]


def find_boxes(sizes: tf.Tensor, image_size: tuple[int, int], resize: Resize) -> tf.Tensor:
    """float32 (N, 4): what part of the upright original the network saw, as fractions of its sides.

    ``top, left, bottom, right``: 0, 0, 1, 1 for the whole picture (``squash``); the centre for
    ``crop`` and ``imagenet``; below 0 and above 1 where ``pad`` added margins. A heat map lies over
    that part.
    """
    count = tf.shape(sizes)[0]
    if resize == "squash":
        return tf.tile(tf.constant([[0.0, 0.0, 1.0, 1.0]]), [count, 1])
    sides = tf.cast(tf.maximum(sizes, 1), tf.float32)
    ratios = tf.constant(image_size, tf.float32) / sides
    margin = CUT_MARGINS.get(resize)
    choose = tf.reduce_max if margin else tf.reduce_min
    ratio = choose(ratios, axis=1, keepdims=True) * (margin or 1.0)
    # Half of what the network's size is of the scaled picture's, to each side of its centre.
    half = ratios / ratio / 2
    return tf.concat([0.5 - half, 0.5 + half], axis=1)


def _to_one(maps: tf.Tensor) -> tf.Tensor:
    """Maps (N, h, w, 1), none below 0, brought to a highest value of 1; zeros stay zeros."""
    highest = tf.reduce_max(maps, axis=(1, 2, 3), keepdims=True)
    return tf.math.divide_no_nan(maps, highest)
