"""Layers of Keras 3 that the networks are made of; they run on every Keras backend."""

from tfskin.layers.batch_norm import BatchNorm, replace_batch_norm, set_batch_norm_mode
from tfskin.layers.color import ColorSpace
from tfskin.layers.fourier import log_magnitude
from tfskin.layers.scaling import Scale

__all__ = [
    "BatchNorm",
    "ColorSpace",
    "Scale",
    "log_magnitude",
    "replace_batch_norm",
    "set_batch_norm_mode",
]
