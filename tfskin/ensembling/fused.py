"""Members and their combiner -> one Keras model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfskin.ensembling.combiner import FLOOR, Combiner

REDUCED = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def as_float32(model: keras.Model, *, name: str | None = None) -> keras.Model:
    """A copy of a model that computes in float32 throughout, with the same weights.

    Mixed precision keeps its variables in float32, so nothing is lost. The outputs differ from the
    mixed-precision ones by the rounding of float16.

    Args:
        model: functional or sequential; nested models are rebuilt too.
        name: of the copy; the model's own unless given.
    """
    config = _with_float32(model.get_config())
    copy = type(model).from_config({**config, "name": name or model.name})
    copy.set_weights(model.get_weights())
    return copy


def computes_in_float32(model: keras.Model) -> bool:
    """Whether no layer of a model, nested ones included, computes in half precision."""
    return not any(layer.compute_dtype in REDUCED for layer in model._flatten_layers())


def build_ensemble(members: Sequence[keras.Model], combiner: Combiner) -> keras.Model:
    """One functional model, from image to the ensemble's log-probabilities.

    Input "image": (N, H, W, 3) float32 in 0..255, of the largest member's height and width; a
    smaller member sees it shrunk by an antialiased resize, which is close to, not the same as, its
    own single resize of the original. Output "logits": (N, C) float32 log-probabilities after the
    temperature, so ``softmax(logits)`` are the probabilities of :func:`combine`. Members are
    copied, in float32, under the names ``member_0_<name>``, ``member_1_<name>``, ...

    Args:
        members: models with one image input and one output layer named "logits".
        combiner: of as many members, in the same order.

    Raises:
        ValueError: no such output layer, an input without a fixed size, members with different
            classes, or a combiner of another number of members or classes.
    """
    sizes = [_check_member(member) for member in members]
    classes = {member.output_shape[-1] for member in members}
    if len(members) != combiner.num_members or len(classes) != 1:
        raise ValueError(
            f"{len(members)} members with {sorted(classes)} classes for a combiner of "
            f"{combiner.num_members} members: the numbers must agree"
        )
    if combiner.bias and {len(combiner.bias)} != classes:
        raise ValueError(f"stacking of {len(combiner.bias)} classes for members of {classes}")
    largest = max(height for height, _ in sizes), max(width for _, width in sizes)
    image = keras.Input((*largest, 3), name="image", dtype="float32")
    resized = {
        size: image
        if size == largest
        else ResizeImages(size, name=f"resize_{size[0]}x{size[1]}")(image)
        for size in dict.fromkeys(sizes)
    }
    logits = [
        as_float32(member, name=f"member_{m}_{member.name}")(resized[size])
        for m, (member, size) in enumerate(zip(members, sizes, strict=True))
    ]
    return keras.Model(image, CombineLogits(combiner, name="logits")(logits), name="ensemble")


@keras.saving.register_keras_serializable(package="tfskin")
class ResizeImages(keras.layers.Layer):
    """(N, height, width, 3) float32 images by antialiased bilinear interpolation."""

    def __init__(self, size: tuple[int, int], **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float32"})
        self.size = (int(size[0]), int(size[1]))

    def call(self, images: Any) -> Any:
        """(N, H, W, 3) becomes (N, height, width, 3)."""
        return keras.ops.image.resize(
            images, self.size, interpolation="bilinear", antialias=True, data_format="channels_last"
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "size": list(self.size)}


@keras.saving.register_keras_serializable(package="tfskin")
class CombineLogits(keras.layers.Layer):
    """(N, C) float32 log-probabilities of the ensemble from M members' (N, C) logits."""

    def __init__(self, combiner: Combiner | dict[str, Any], **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float32"})
        self.combiner = combiner if isinstance(combiner, Combiner) else Combiner.from_dict(combiner)

    def call(self, logits: list[Any]) -> Any:
        """A list of M (N, C) becomes (N, C), by the formulas of the module."""
        ops, combiner = keras.ops, self.combiner
        stacked = ops.stack(logits)
        if combiner.method == "mean_probabilities" or combiner.method == "weights":
            mixed = ops.sum(self._weights() * ops.softmax(stacked, axis=-1), axis=0)
        else:
            logs = ops.maximum(ops.log_softmax(stacked, axis=-1), math.log(FLOOR))
            if combiner.method == "mean_logits":
                mixed = ops.softmax(ops.sum(self._weights() * logs, axis=0), axis=-1)
            else:
                mixed = self._stack(logs, ops.softmax(stacked, axis=-1))
        floored = ops.log(ops.maximum(mixed, FLOOR))
        return ops.log_softmax(floored / combiner.temperature, axis=-1)

    def _weights(self) -> Any:
        weights = np.asarray(self.combiner.weights, dtype=np.float32)
        return keras.ops.convert_to_tensor(weights[:, None, None])

    def _stack(self, logs: Any, probabilities: Any) -> Any:
        ops = keras.ops
        members, _, size = logs.shape
        coefficients = np.asarray(self.combiner.coefficients, dtype=np.float32)
        by_member = coefficients.reshape(size, members, size).transpose(1, 0, 2)[:, None]
        # Not a matrix product: GPUs round its factors to ten bits (TF32).
        centred = logs - ops.mean(logs, axis=-1, keepdims=True)
        scores = ops.sum(by_member * centred[:, :, None, :], axis=(0, 3))
        scores = scores + np.asarray(self.combiner.bias, dtype=np.float32)
        is_missing = np.isin(np.arange(size), self.combiner.missing).astype(np.float32)
        kept = is_missing * ops.mean(probabilities, axis=0)
        return kept + (1 - ops.sum(kept, axis=-1, keepdims=True)) * ops.softmax(scores, axis=-1)

    def compute_output_shape(self, input_shape: list[Any]) -> Any:
        """The shape of one member's logits."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "combiner": self.combiner.to_dict()}


def _check_member(member: keras.Model) -> tuple[int, int]:
    """Height and width of a member's input."""
    if list(getattr(member, "output_names", [])) != ["logits"]:
        raise ValueError(f"model '{member.name}': its one output layer must be named 'logits'")
    shape = member.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:3]:
        raise ValueError(f"model '{member.name}': input {shape}, expected (None, H, W, 3)")
    return shape[1], shape[2]


def _with_float32(config: Any) -> Any:
    """A Keras config in which every reduced-precision policy or dtype is float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": "float32"}}
        return {
            key: "float32" if key == "dtype" and value in REDUCED else _with_float32(value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_with_float32(value) for value in config)
    return config
