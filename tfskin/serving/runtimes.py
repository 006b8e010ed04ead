"""A trained model for ONNX Runtime and for LiteRT."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

import tfskin
from tfskin.datasets.sizes import MAX_PIXELS
from tfskin.ensembling import as_float32
from tfskin.errors import UserError
from tfskin.files import replace_file, write_json
from tfskin.inputs import Sample
from tfskin.inputs.decode import decode_and_resize
from tfskin.locks import only_writer
from tfskin.serving.checks import check_companions
from tfskin.serving.graph import GraphOptions
from tfskin.serving.portable import build_portable

Runtime = Literal["onnx", "litert"]
SUFFIXES: dict[Runtime, str] = {"onnx": ".onnx", "litert": ".tflite"}

MAX_RUNTIME_DIFFERENCE = 1e-4
"""Largest difference of a probability between another runtime and Keras."""


@dataclass(frozen=True)
class RuntimeExport:
    """Where a model for another runtime goes.

    Attributes:
        graph: image size, resize and decisions.
        output_dir: the folder of all exports.
        name: of the model.
        runtime: which runtime.
    """

    graph: GraphOptions
    output_dir: Path | str
    name: str
    runtime: Runtime


def export_runtime(
    model: keras.Model, *, options: RuntimeExport, samples: Sequence[Sample]
) -> Path:
    """The file ``<output_dir>/<name>.onnx`` or ``.tflite``, checked before it appears.

    It maps ``image`` (N, h, w, 3) float32 RGB in 0..255 to ``probabilities`` (N, C), calibrated.
    Decoding and resizing are left to the caller, because these runtimes take no files: beside it,
    ``<file>.json`` says how an image is to be decoded and resized, the class names, and what to
    make of the probabilities. A file of an earlier export is replaced.

    Args:
        model: float32 (N, h, w, 3) in 0..255 to the output of its layer "logits".
        options: runtime, names and place.
        samples: encoded images that the runtime is compared on.

    Raises:
        UserError: the runtime's packages are not installed, the model's predictions change with
            the other images of a batch, or the runtime's probabilities differ from Keras' by more
            than ``MAX_RUNTIME_DIFFERENCE``. No file is left then.
    """
    graph = options.graph
    if graph.test_time_augmentation or graph.float16_weights or graph.max_pixels != MAX_PIXELS:
        raise UserError(
            "test-time augmentation, float16 weights and max_pixels are there for a SavedModel only"
        )
    exported = as_float32(model)
    encoded = [sample.data for sample in samples]
    check_companions(exported, encoded, options=graph, name=options.name)
    portable = build_portable(exported, graph.decision)
    images = np.stack(
        [
            decode_and_resize(tf.constant(data), graph.image_size, graph.resize).numpy()
            for data in encoded
        ]
    )
    expected = graph.decision.to_probabilities(exported.predict_on_batch(images))
    path = Path(options.output_dir) / f"{options.name}{SUFFIXES[options.runtime]}"
    write, load = (
        (_write_onnx, load_onnx) if options.runtime == "onnx" else (_write_litert, load_litert)
    )
    with only_writer(path):
        with replace_file(path) as temporary:
            write(portable, temporary)
            difference = float(np.abs(load(temporary)(images) - expected).max())
            if not difference <= MAX_RUNTIME_DIFFERENCE:
                raise UserError(
                    f"{options.name}: {options.runtime} gives probabilities that differ by "
                    f"{difference:.1e} from Keras' (at most {MAX_RUNTIME_DIFFERENCE:.0e} is "
                    "allowed)"
                )
            size = temporary.stat().st_size
        write_json(path.with_name(f"{path.name}.json"), _contract(options, difference, size))
    return path


def load_onnx(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Images (N, h, w, 3) to probabilities (N, C), by ONNX Runtime on all cores."""
    onnxruntime = _import("onnxruntime", "onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda images: session.run(None, {given.name: images.astype(np.float32)})[0]


def load_litert(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Images (N, h, w, 3) to probabilities (N, C), by LiteRT."""
    interpreters = _import("ai_edge_litert.interpreter", "litert")
    interpreter = interpreters.Interpreter(model_path=str(path))
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(given["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], images.astype(np.float32))
        interpreter.invoke()
        return interpreter.get_tensor(made["index"])

    return run


def _write_onnx(portable: keras.Model, path: Path) -> None:
    _import("tf2onnx", "onnx")
    _import("onnx", "onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tf2onnx speaks of its own old calls
        spec = keras.InputSpec(
            shape=(None, *portable.input_shape[1:]), dtype="float32", name="image"
        )
        portable.export(str(path), format="onnx", verbose=False, input_signature=[spec])


def _write_litert(portable: keras.Model, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        portable.export(str(path), format="litert", verbose=False)


def _import(module: str, extra: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(
            f"{module.split('.')[0]} is not installed; pip install 'tfskin[{extra}]'"
        ) from None


def _contract(options: RuntimeExport, difference: float, size: int) -> dict[str, Any]:
    """What a caller must do before and after the model."""
    graph, decision = options.graph, options.graph.decision
    conformal = decision.conformal
    height, width = graph.image_size
    return {
        "name": options.name,
        "runtime": options.runtime,
        "input": {
            "name": "image",
            "dtype": "float32",
            "shape": [None, height, width, 3],
            "meaning": "upright RGB in 0..255, NHWC, not scaled; transparency laid over white",
            "decode": "JPEG with the accurate integer inverse DCT (Pillow's default)",
            "resize": graph.resize,
            "filter": "bilinear, antialiased (Pillow: Image.BILINEAR, within one grey level)",
        },
        "output": {
            "name": "probabilities",
            "dtype": "float32",
            "shape": [None, len(decision.class_names)],
            "meaning": "calibrated, in the order of class_names",
        },
        "class_names": list(decision.class_names),
        "malignant": list(decision.malignant),
        "thresholds": decision.levels,
        "conformal": {
            "coverage": conformal.coverage if conformal else None,
            "per_class": conformal.per_class if conformal else {},
        },
        "max_difference_from_keras": difference,
        "bytes": size,
        "tfskin": tfskin.__version__,
        "left_out": "decoding and resizing of files, members, features, heat maps",
    }
