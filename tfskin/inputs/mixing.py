"""Images mixed with one another, and their labels with them: MixUp and CutMix."""

from __future__ import annotations

import tensorflow as tf

from tfskin.schema import AugmentConfig

# Beside the numbers of the other random changes, whose seeds are (seed, counter).
_SEED_OFFSET = 2**31


def mixes(config: AugmentConfig | None) -> bool:
    """Whether images are mixed, so that labels are shares of each class."""
    return config is not None and bool(config.mixup or config.cutmix)


def draw_mix(config: AugmentConfig, *, seed: int, epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """The random numbers of one image's mixing, a function of (seed, epoch, index): float32 (4,).

    The share of the image itself, which is Beta(alpha, alpha) with the alpha of ``mixup`` or
    ``cutmix``; the centre of CutMix's box, down and across, uniform in [0, 1); and 1 where
    CutMix is done, 0 for MixUp. Where both are on, each is done half of the time.
    """
    counter = tf.cast(index, tf.int64) + tf.cast(epoch, tf.int64) * 2**40
    seeds = tf.stack([tf.constant(seed + _SEED_OFFSET, tf.int64), counter])
    down, across, coin = tf.unstack(tf.random.stateless_uniform([3], seeds, alg="philox"))
    cuts = tf.cast(coin < 0.5, tf.float32) if config.mixup else tf.ones([])
    cuts = cuts if config.cutmix else tf.zeros([])
    alpha = tf.where(cuts > 0, config.cutmix or 1.0, config.mixup or 1.0)
    # Beta(a, a) is X / (X + Y) of two gamma variates.
    pair = tf.random.stateless_gamma([2], seeds + tf.constant([1, 0], tf.int64), alpha)
    share = tf.math.divide_no_nan(pair[0], pair[0] + pair[1])
    return tf.stack([share, down, across, cuts])


def mix_batch(
    images: tf.Tensor, labels: tf.Tensor, numbers: tf.Tensor, *, num_classes: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """A batch whose images are each mixed with the next one of the batch.

    - MixUp: ``share * image + (1 - share) * next`` (Zhang et al., "mixup", 2017,
      arXiv:1710.09412, equation 1).
    - CutMix: a box with the frame's aspect ratio and ``1 - share`` of its area, cut off at the
      border, is taken from the next image (Yun et al., "CutMix", 2019, arXiv:1905.04899,
      section 3.1); the share becomes that of the pixels that are left.

    Both papers draw one share a batch and a permutation; here each image has a share of its own,
    and the next one of a shuffled batch is as random as any other. A batch of one image stays.

    Args:
        images: float32 (N, H, W, 3).
        labels: int32 (N,).
        numbers: float32 (N, 4) of :func:`draw_mix`.
        num_classes: C.

    Returns:
        images as before, and shares of each class float32 (N, C), whose rows sum to 1.
    """
    share, down, across, cuts = tf.unstack(numbers, axis=1)
    box = _boxes(tf.sqrt(1.0 - share), down, across, images.shape[1], images.shape[2])
    left = 1.0 - tf.reduce_mean(box, axis=(1, 2))
    share = tf.where(cuts > 0, left, share)
    own = tf.where(cuts[:, None, None] > 0, 1.0 - box, share[:, None, None])[..., None]
    others = tf.roll(images, -1, axis=0)
    whole = tf.one_hot(labels, num_classes)
    shares = share[:, None] * whole + (1.0 - share[:, None]) * tf.roll(whole, -1, axis=0)
    return others + own * (images - others), shares


def _boxes(
    side: tf.Tensor, down: tf.Tensor, across: tf.Tensor, height: int, width: int
) -> tf.Tensor:
    """1 inside the box of each image, 0 outside: float32 (N, H, W)."""

    def inside(centre: tf.Tensor, size: int) -> tf.Tensor:
        pixels = (tf.range(size, dtype=tf.float32) + 0.5) / size
        return tf.cast(tf.abs(pixels[None, :] - centre[:, None]) < side[:, None] / 2, tf.float32)

    return inside(down, height)[:, :, None] * inside(across, width)[:, None, :]
