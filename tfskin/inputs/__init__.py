"""Shards -> batches: sampling, windows, decode, augment, sharing, pipeline."""

from tfskin.inputs.augment import make_augment
from tfskin.inputs.classes import class_names, count_images, describe_thin_classes
from tfskin.inputs.decode import decode_and_resize, resize_image
from tfskin.inputs.labels import (
    Sample,
    damage_named,
    find_damage,
    read_labels,
    read_samples,
    records_order,
)
from tfskin.inputs.pipeline import InputOptions, count_rows, count_windows, make_dataset
from tfskin.inputs.sampling import class_quotas
from tfskin.inputs.sharing import ReplicaShare, local_rows
from tfskin.inputs.windows import average_window_logits, average_windows

__all__ = [
    "InputOptions",
    "ReplicaShare",
    "Sample",
    "average_window_logits",
    "average_windows",
    "class_names",
    "class_quotas",
    "count_images",
    "count_rows",
    "count_windows",
    "damage_named",
    "decode_and_resize",
    "describe_thin_classes",
    "find_damage",
    "local_rows",
    "make_augment",
    "make_dataset",
    "read_labels",
    "read_samples",
    "records_order",
    "resize_image",
]
