"""Layers of Keras 3 that the networks are made of; they run on every Keras backend."""

from tfskin.layers.batch_norm import BatchNorm, replace_batch_norm, set_batch_norm_mode
from tfskin.layers.blocks import Norm
from tfskin.layers.color import ColorSpace
from tfskin.layers.color_constancy import ShadesOfGray
from tfskin.layers.fourier import log_magnitude
from tfskin.layers.grid_pool import GridPool
from tfskin.layers.parts import head_layers, leaf_layers
from tfskin.layers.scaling import Scale

__all__ = [
    "BatchNorm",
    "ColorSpace",
    "GridPool",
    "Norm",
    "Scale",
    "ShadesOfGray",
    "head_layers",
    "leaf_layers",
    "log_magnitude",
    "replace_batch_norm",
    "set_batch_norm_mode",
]
