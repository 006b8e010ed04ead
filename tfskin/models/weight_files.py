"""What files of weights hold, whatever wrote them: layer name -> arrays in Keras's layout."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfskin.errors import UserError
from tfskin.files import replace_file
from tfskin.layers import Scale
from tfskin.layers.parts import leaf_layers
from tfskin.models.torch_files import read_torch_tensors

Arrays = list[np.ndarray]
TORCH_ORDER = ("weight", "bias", "running_mean", "running_var")
TORCH_SCALES = {"conv1": "imagenet", "features.0": "imagenet", "_conv_stem": "mean_127"}
"""First convolution of torchvision's networks and of ``efficientnet_lite_pytorch`` -> scaling."""

SCALE, ORIGIN = "tfskin_scale", "tfskin_origin"
"""Attributes of the files of :func:`write_named_weights`."""


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

    ``.pth`` and ``.pt`` are read without PyTorch (:func:`read_torch_tensors`): a pickle that asks
    for anything but tensors is refused.

    Raises:
        UserError: no such file, a suffix that is none of these, a damaged file.
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
        scale = root.attrs.get(SCALE) or ("caffe" if "conv1_conv" in named else None)
        return StoredWeights(named=named, scale=scale)


def write_named_weights(path: Path, named: dict[str, Arrays], *, scale: str, origin: str) -> None:
    """Write weights in Keras's ``.h5`` layout, which ``load_weights(..., by_name=True)`` reads too.

    Args:
        path: ends in ``.h5``; it is written whole.
        named: layer name -> its arrays, in the order of ``layer.weights``.
        scale: the mode of :class:`tfskin.layers.Scale` that their images had.
        origin: the SHA-256 of the file that they come from.
    """
    import h5py

    with replace_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(
            {SCALE: scale, ORIGIN: origin, "layer_names": [n.encode() for n in named]}
        )
        for name, arrays in named.items():
            group = file.create_group(name)
            names = [f"weight_{number}" for number in range(len(arrays))]
            group.attrs["weight_names"] = [key.encode() for key in names]
            for key, array in zip(names, arrays, strict=True):
                group[key] = array


def origin_of(path: Path) -> str | None:
    """The SHA-256 that :func:`write_named_weights` wrote down; none for any other file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get(ORIGIN)
    except OSError:
        return None


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

    return _of_torch(load_file(path))


def _read_torch(path: Path) -> StoredWeights:
    return _of_torch(read_torch_tensors(path))


def _of_torch(tensors: dict[str, np.ndarray]) -> StoredWeights:
    modules = _by_module(tensors)
    return StoredWeights(torch=modules, scale=_scale_of_torch(modules))


def _scale_of_torch(modules: Collection[str]) -> str | None:
    """What the networks whose modules have such names are trained with, if that is known.

    A file of tensors does not say how its images were scaled; the ports and libraries that name
    their first convolution in these ways have one scaling each.
    """
    if any(name.endswith("._se_reduce") for name in modules):
        return "imagenet"  # EfficientNet, whose other modules are those of EfficientNet-Lite
    return next((scale for name, scale in TORCH_SCALES.items() if name in modules), None)


def _by_module(tensors: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    modules: dict[str, dict[str, np.ndarray]] = {}
    for key, tensor in tensors.items():
        module, _, variable = key.removeprefix("module.").rpartition(".")
        if variable in TORCH_ORDER:
            modules.setdefault(module, {})[variable] = tensor
    return modules
