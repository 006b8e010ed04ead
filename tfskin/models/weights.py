"""Weights into a network, and a report of what matched."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tfskin.errors import UserError
from tfskin.layers.parts import head_layers, leaf_layers
from tfskin.models.imagenet import cache_folder, fetch_imagenet, scale_of_rgb
from tfskin.models.names import count_from_zero, snake_case
from tfskin.models.packaged import PACKAGED, find_packaged
from tfskin.models.weight_files import (
    TORCH_ORDER,
    Arrays,
    StoredWeights,
    origin_of,
    read_weight_file,
    scale_of,
    write_named_weights,
)

# torchvision's names of the modules whose name here is not the same with `_` for `.`.
TORCH_NAMES = {
    "fc": "logits",
    "features.0": "conv1",
    "features.3": "conv2",
    "features.6": "conv3",
    "features.8": "conv4",
    "features.10": "conv5",
    "classifier.1": "fc1",
    "classifier.4": "fc2",
    "classifier.6": "logits",
}
SAME_CLASS = {"batch_norm": "batch_normalization"}


@dataclass(frozen=True)
class WeightReport:
    """What of a network came from a file.

    Attributes:
        source: the file.
        matched: tensors that were taken.
        total: tensors of the network.
        fresh: layers of the head that keep their initial weights.
        licence: that of the weights, where they came with one, and the package.
    """

    source: str
    matched: int
    total: int
    fresh: tuple[str, ...]
    licence: str = ""

    def __str__(self) -> str:
        """One line for people."""
        line = f"weights: {self.matched} of {self.total} tensors from {self.source}"
        line += f"; fresh: {', '.join(self.fresh)}" if self.fresh else ""
        return line + (f"; licence: {self.licence}" if self.licence else "")


def load_weights(model: keras.Model, source: str, *, name: str) -> WeightReport:
    """Put weights into ``model`` and say how many tensors matched.

    The backbone must match wholly, layer by layer and shape by shape. A layer of the head that the
    file lacks, or has in another shape (another number of classes), keeps its initial weights.

    Args:
        model: a network of the table.
        source: ``imagenet``; a file (``.keras``, ``.weights.h5``, ``.h5``, ``.safetensors``,
            ``.pth``); or the folder of a former run.
        name: the network's name in the table.

    Raises:
        UserError: nothing of that name, no network connection (the message says which file to
            fetch and where to put it), a package that is not installed, a file that cannot be
            read, weights whose images were scaled in another way than the model's first layer
            does, or weights of another network (the message names the first layer that differs
            and both shapes). The model's weights are then what they were.
    """
    layers = [layer for layer in leaf_layers(model) if layer.weights]
    licence = ""
    if source == "imagenet" and name in PACKAGED:
        scale_of_rgb(model)
        path, stored = _read_packaged(name, layers)
        licence = f"{PACKAGED[name].licence} ({PACKAGED[name].package})"
    else:
        path = _find(model, source, name)
        stored = read_weight_file(path)
    head = {id(layer) for layer in head_layers(model)}
    found = _by_layer(stored, layers, head, path)
    taken: list[tuple[keras.layers.Layer, Arrays]] = []
    fresh = []
    for layer in layers:
        arrays, reason = _checked(layer, found.get(layer.name))
        if arrays is not None:
            taken.append((layer, arrays))
        elif id(layer) in head:
            fresh.append(layer.name)
        else:
            raise UserError(f"{path}: layer '{layer.name}' of {model.name} {reason}")
    if stored.scale not in (None, scale_of(model)):
        raise UserError(
            f"{path}: its images were scaled as '{stored.scale}', {model.name} scales them as "
            f"'{scale_of(model)}'; choose other weights, or the network of that kind "
            "(model.stride_placement: v1.5 for PyTorch's ResNets, v1 for Keras's; "
            "model.color_space)"
        )
    for layer, arrays in taken:
        if not all(np.isfinite(array).all() for array in arrays):
            raise UserError(
                f"{path}: its layer '{layer.name}' holds weights that are no numbers (NaN or "
                "infinity); choose other weights"
            )
    for layer, arrays in taken:
        layer.set_weights(arrays)
    total = sum(len(layer.weights) for layer in layers)
    matched = sum(len(arrays) for _, arrays in taken)
    return WeightReport(str(path), matched, total, tuple(fresh), licence)


def _read_packaged(name: str, layers: list[keras.layers.Layer]) -> tuple[Path, StoredWeights]:
    """The weights of an installed package, and the file in Keras's layout that keeps them.

    The file is written where it is missing, or was made of another one; without leave to write
    there, the package's own file is read each time.
    """
    packaged, path = PACKAGED[name], find_packaged(name)
    kept = cache_folder() / f"{name}-imagenet-{packaged.sha256[:8]}.h5"
    if origin_of(kept) == packaged.sha256:
        return kept, read_weight_file(kept)
    named = _from_torch(read_weight_file(path).torch, layers)
    stored = StoredWeights(named=named, scale=packaged.scale)
    try:
        write_named_weights(kept, named, scale=packaged.scale, origin=packaged.sha256)
    except OSError:
        return path, stored
    return kept, stored


def _find(model: keras.Model, source: str, name: str) -> Path:
    if source == "imagenet":
        return fetch_imagenet(model, name)
    path = Path(source)
    if path.is_dir():
        if not (path / "model.keras").is_file():
            raise UserError(f"model.weights: {path} is no finished run: it has no model.keras")
        return path / "model.keras"
    if not path.is_file():
        raise UserError(f"model.weights: no file or run '{source}' (known besides: imagenet)")
    return path


def _checked(layer: keras.layers.Layer, arrays: Arrays | None) -> tuple[Arrays | None, str]:
    """The arrays where they fit the layer, else none and what is wrong."""
    if arrays is None:
        return None, "is not in the file; is it of the same network?"
    wanted = [tuple(weight.shape) for weight in layer.weights]
    given = [tuple(array.shape) for array in arrays]
    if wanted == given:
        return arrays, ""
    for weight, one, other in zip(layer.weights, wanted, given, strict=False):
        if one != other:
            return None, f"needs '{weight.name}' of shape {one}, the file has {other}"
    return None, f"needs {len(wanted)} tensors, the file has {len(given)}"


def _by_layer(
    stored: StoredWeights, layers: list[keras.layers.Layer], head: set[int], path: Path
) -> dict[str, Arrays]:
    """Name of a layer of ours -> the arrays that the file has for it."""
    if stored.torch:
        return _from_torch(stored.torch, layers)
    if stored.counted:
        return _from_counted(stored.counted, layers, head, path)
    if "conv1_conv" in stored.named and any(layer.name == "layer1_0_conv1" for layer in layers):
        return from_keras_resnet(stored.named)
    names = count_from_zero(stored.named) | {"predictions": "logits"}
    return {names.get(name, name): arrays for name, arrays in stored.named.items()}


def _from_counted(
    counted: dict[str, list[Arrays]],
    layers: list[keras.layers.Layer],
    head: set[int],
    path: Path,
) -> dict[str, Arrays]:
    """The k-th layer of a class in the file is the k-th of that class in the network."""
    stored = {SAME_CLASS.get(kind, kind): arrays for kind, arrays in counted.items()}
    ours: dict[str, list[keras.layers.Layer]] = {}
    for layer in layers:
        kind = snake_case(type(layer).__name__)
        ours.setdefault(SAME_CLASS.get(kind, kind), []).append(layer)
    found: dict[str, Arrays] = {}
    for kind, same in ours.items():
        given = stored.get(kind, [])
        body = [layer for layer in same if id(layer) not in head]
        chosen = same if len(given) == len(same) else body
        if chosen and len(given) != len(chosen):
            raise UserError(
                f"{path}: holds {len(given)} {kind} layers, the network has {len(same)} "
                f"({len(body)} of them below its head); is it of the same network?"
            )
        found |= {layer.name: arrays for layer, arrays in zip(chosen, given, strict=False)}
    return found


def from_keras_resnet(named: dict[str, Arrays]) -> dict[str, Arrays]:
    """Weights of ``keras.applications``'s ResNets under our names, without biases.

    A bias ``b`` before batch normalisation is the same as the moving mean less ``b``.
    """
    found: dict[str, Arrays] = {}
    for name, arrays in named.items():
        if name == "predictions":
            found["logits"] = arrays
        elif name.endswith("_conv"):
            found[_resnet_name(name, "conv")] = arrays[:1]
        elif name.endswith("_bn"):
            kernel_and_bias = named[name.removesuffix("_bn") + "_conv"]
            gamma, beta, mean, variance = arrays
            bias = kernel_and_bias[1] if len(kernel_and_bias) > 1 else np.zeros_like(mean)
            found[_resnet_name(name, "bn")] = [gamma, beta, mean - bias, variance]
    return found


def _resnet_name(name: str, kind: str) -> str:
    """``conv3_block1_2_bn`` -> ``layer2_0_bn2``; ``conv1_conv`` -> ``conv1``."""
    parts = name.split("_")
    if len(parts) == 2:
        return "conv1" if kind == "conv" else "bn1"
    stage, block, number = int(parts[0][4:]) - 1, int(parts[1][5:]) - 1, int(parts[2])
    if number == 0:
        return f"layer{stage}_{block}_downsample_{0 if kind == 'conv' else 1}"
    return f"layer{stage}_{block}_{kind}{number}"


def _from_torch(
    modules: dict[str, dict[str, np.ndarray]], layers: list[keras.layers.Layer]
) -> dict[str, Arrays]:
    by_name = {layer.name: layer for layer in layers}
    found: dict[str, Arrays] = {}
    for module, tensors in modules.items():
        plain = ".".join(part.lstrip("_") for part in module.split("."))
        name = TORCH_NAMES.get(plain, plain.replace(".", "_"))
        if name in by_name:
            ordered = [tensors[key] for key in TORCH_ORDER if key in tensors]
            found[name] = [_from_torch_layout(array, by_name[name]) for array in ordered]
    return found


def _from_torch_layout(array: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """(out, in, height, width) -> (height, width, in, out); (out, in) -> (in, out).

    A depthwise kernel is (channels, 1, height, width) there and (height, width, channels, 1) here.
    """
    if array.ndim == 4:
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        return array.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    if array.ndim != 2:
        return array
    grid = _flattened(layer)
    if grid is not None and np.prod(grid) == array.shape[1]:
        height, width, channels = grid
        array = array.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
        array = array.reshape(len(array), -1)
    return array.T


def _flattened(layer: keras.layers.Layer) -> tuple[int, int, int] | None:
    """The map (height, width, channels) that a dense layer sees flattened, if it does."""
    before = layer.input._keras_history.operation
    if isinstance(before, keras.layers.Flatten):
        return tuple(before.input.shape[1:])
    return None
