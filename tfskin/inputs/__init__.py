"""Shards -> batches: decode, augment, pipeline."""

from tfskin.inputs.augment import make_augment
from tfskin.inputs.classes import class_names, count_images
from tfskin.inputs.decode import decode_and_resize, resize_image
from tfskin.inputs.labels import Sample, damage_named, find_damage, read_labels, read_samples
from tfskin.inputs.pipeline import InputOptions, make_dataset

__all__ = [
    "InputOptions",
    "Sample",
    "class_names",
    "count_images",
    "damage_named",
    "decode_and_resize",
    "find_damage",
    "make_augment",
    "make_dataset",
    "read_labels",
    "read_samples",
    "resize_image",
]
