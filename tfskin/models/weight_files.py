"""What files of weights hold, whatever wrote them: layer name -> arrays in Keras's layout."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfskin.errors import UserError
from tfskin.layers import Scale
from tfskin.layers.parts import leaf_layers

Arrays = list[np.ndarray]
TORCH_ORDER = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class StoredWeights:
    """The weights of a file.

    Attributes:
        named: layer name -> its arrays, in the order of ``layer.weights``.
        counted: class of layer (``conv2d``) -> the arrays of each such layer in the order of the
            graph: Keras's ``.weights.h5`` has no names.
        torch: module name -> its tensors by name, in PyTorch's layout.
        scale: the mode of :class:`tfskin.layers.Scale` that their images had, ``otherwise``
            where there was none; None where that is not known.
    """

    named: dict[str, Arrays] = field(default_factory=dict)
    counted: dict[str, list[Arrays]] = field(default_factory=dict)
    torch: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    scale: str | None = None


def read_weight_file(path: Path) -> StoredWeights:
    """The weights of a ``.keras``, ``.weights.h5``, ``.h5``, ``.safetensors`` or ``.pth`` file.

    ``.pth`` and ``.pt`` need PyTorch, and are read with ``weights_only=True``: a pickle that would
    run code is refused.

    Raises:
        UserError: no such file, a suffix that is none of these, a damaged file, PyTorch missing.
    """
    readers: dict[str, Callable[[Path], StoredWeights]] = {
        ".keras": _read_keras,
        ".h5": _read_h5,
        ".hdf5": _read_h5,
        ".safetensors": _read_safetensors,
        ".pth": _read_torch,
        ".pt": _read_torch,
    }
    if not path.is_file():
        raise UserError(f"{path}: no such file of weights")
    if path.suffix not in readers:
        raise UserError(
            f"{path}: weights are read from {', '.join(readers)}, not from '{path.suffix}'"
        )
    try:
        return readers[path.suffix](path)
    except UserError:
        raise
    except Exception as error:  # each format fails in its own ways
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: cannot be read as weights: {reason}") from None


def _read_keras(path: Path) -> StoredWeights:
    model = keras.saving.load_model(path, compile=False)
    return StoredWeights(
        named={
            layer.name: [keras.ops.convert_to_numpy(weight) for weight in layer.weights]
            for layer in leaf_layers(model)
            if layer.weights
        },
        scale=scale_of(model),
    )


def scale_of(model: keras.Model) -> str:
    """How a network scales RGB images: the mode of its first layer, or ``otherwise``."""
    scales = [layer.mode for layer in leaf_layers(model) if isinstance(layer, Scale)]
    return scales[0] if scales else "otherwise"


def _read_h5(path: Path) -> StoredWeights:
    import h5py

    with h5py.File(path, "r") as file:
        if "layers" in file:
            return StoredWeights(counted=_read_counted(file))
        root = file.get("model_weights", file)
        if "layer_names" not in root.attrs:
            raise UserError(f"{path}: holds no weights of a Keras model")
        named = {}
        for name in _texts(root.attrs["layer_names"]):
            arrays = [np.asarray(root[name][w]) for w in _texts(root[name].attrs["weight_names"])]
            if arrays:
                named[name] = arrays
        # What Keras calls so are its ResNets, whose weights are Caffe's.
        return StoredWeights(named=named, scale="caffe" if "conv1_conv" in named else None)


def _read_counted(group: Any) -> dict[str, list[Arrays]]:
    """Keras 3's layout: ``layers/<class>``, ``layers/<class>_1``, ... in the order of the graph.

    A nested model is such a group among the layers.
    """
    found: dict[str, list[tuple[int, Arrays]]] = {}
    nested: list[dict[str, list[Arrays]]] = []
    for name, layer in group["layers"].items():
        if "layers" in layer:
            nested.append(_read_counted(layer))
            continue
        variables = layer.get("vars", {})
        kind, _, number = name.rpartition("_")
        if not number.isdecimal():
            kind, number = name, "0"
        arrays = [np.asarray(variables[key]) for key in sorted(variables, key=int)]
        if arrays:
            found.setdefault(kind, []).append((int(number), arrays))
    counted = {
        kind: [arrays for _, arrays in sorted(layers, key=lambda pair: pair[0])]
        for kind, layers in found.items()
    }
    for inner in nested:
        for kind, layers in inner.items():
            counted[kind] = layers + counted.get(kind, [])
    return counted


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _read_safetensors(path: Path) -> StoredWeights:
    from safetensors.numpy import load_file

    return StoredWeights(torch=_by_module(load_file(path)), scale="imagenet")


def check_torch(path: Path) -> None:
    """Refuse a file that PyTorch has to read where it is not installed.

    Raises:
        UserError: it is such a file, and PyTorch is missing.
    """
    if path.suffix in (".pth", ".pt") and importlib.util.find_spec("torch") is None:
        raise UserError(
            f"{path}: reading it needs PyTorch (pip install torch); or give the same weights as "
            ".safetensors"
        )


def _read_torch(path: Path) -> StoredWeights:
    check_torch(path)
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    tensors = {key: value.numpy() for key, value in state.items()}
    return StoredWeights(torch=_by_module(tensors), scale="imagenet")


def _by_module(tensors: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    modules: dict[str, dict[str, np.ndarray]] = {}
    for key, tensor in tensors.items():
        module, _, variable = key.removeprefix("module.").rpartition(".")
        if variable in TORCH_ORDER:
            modules.setdefault(module, {})[variable] = tensor
    return modules
