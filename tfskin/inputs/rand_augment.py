"""RandAugment: a few random changes an image, chosen from those that there are anyway."""

from __future__ import annotations

import tensorflow as tf

from tfskin.schema import RANDOM_CHANGES, AugmentConfig

LIMITS = {
    "rotation": 30.0,
    "zoom": 0.5,
    "shift": 0.3,
    "shear": 17.0,
    "brightness": 0.5,
    "contrast": 0.9,
    "saturation": 0.9,
    "hue": 0.1,
}
"""Strength of each change at magnitude 1: those of the paper where it has the change."""

RAND_NUMBERS = tuple(f"rand_{name}" for name in RANDOM_CHANGES)

_SIGNS = {name: (name,) for name in RANDOM_CHANGES} | {"shift": ("shift_y", "shift_x")}


def with_limits(config: AugmentConfig) -> AugmentConfig:
    """The config in which every change that may be chosen has its limit as strength."""
    if not config.rand_augment:
        return config
    return config.model_copy(update={name: LIMITS[name] for name in _chosen_from(config)})


def choose_changes(config: AugmentConfig, numbers: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The image's random numbers with ``rand_augment`` changes at +-magnitude, the others at 0.

    Cubuk et al., "RandAugment", 2019, arXiv:1909.13719, section 3: N changes at one magnitude.
    They are drawn without replacement and done in one resampling and one pass over the colours, in
    :mod:`tfskin.inputs.augment`'s order, and are those that dermoscopic images bear (no
    posterising, solarising, equalising or inverting, which would change what a lesion is).

    Args:
        config: as the user wrote it, without limits.
        numbers: uniform in [0, 1), among them ``RAND_NUMBERS``.
    """
    if not config.rand_augment:
        return numbers
    names = _chosen_from(config)
    places = tf.stack([numbers[f"rand_{name}"] for name in names])
    rank = tf.reduce_sum(tf.cast(places[None, :] < places[:, None], tf.int32), axis=1)
    levels = config.rand_magnitude * tf.cast(rank < config.rand_augment, tf.float32)
    changed = dict(numbers)
    for number, name in enumerate(names):
        for sign in _SIGNS[name]:
            # A strength s is applied as s * (2u - 1).
            direction = tf.where(numbers[sign] < 0.5, -0.5, 0.5)
            changed[sign] = 0.5 + direction * levels[number]
    return changed


def _chosen_from(config: AugmentConfig) -> list[str]:
    return [name for name in RANDOM_CHANGES if not getattr(config, name)]
