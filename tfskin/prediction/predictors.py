"""A run's model, a SavedModel or a server as one thing that takes encoded images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfskin.errors import UserError, shorten
from tfskin.files import digest_files
from tfskin.prediction.answers import Answers, HeatMap
from tfskin.prediction.windows import WindowModel

if TYPE_CHECKING:
    import keras

    from tfskin.schema import WindowConfig
    from tfskin.serving.graph import GraphOptions
    from tfskin.serving.options import ServerOptions


BatchFunction = Callable[[list[bytes]], Answers]
ExplainFunction = Callable[[list[bytes]], list[HeatMap]]


@dataclass(frozen=True)
class Predictor:
    """A model that takes encoded images.

    Attributes:
        class_names: index -> class.
        function: the bytes of N JPEG or PNG files -> their answers.
        name: what the model is called in messages.
        explain: the bytes of N readable files -> their heat maps; None where it cannot.
        extras: of ``malignancy`` and ``prediction_set``, what answers hold.
        parallel: calls that are best made side by side.
        windows: how it answers for an image, where it was trained on windows: ``function`` then
            takes windows, and gives probabilities before their calibration.
        version: tells models of one name apart: a digest of their files, or a server's number.
    """

    class_names: Sequence[str]
    function: BatchFunction
    name: str
    explain: ExplainFunction | None = None
    extras: tuple[str, ...] = ()
    parallel: int = 2
    windows: WindowModel | None = None
    version: str = ""


def saved_model_predictor(path: Path | str, *, trust: bool = False) -> Predictor:
    """The predictor of a SavedModel that tfskin exported.

    Args:
        path: a version's folder, or the model's folder, whose newest version is taken.
        trust: whether its graph may do more than compute; a SavedModel is a program.

    Raises:
        UserError: there is no SavedModel, tfskin did not export it, or its graph has operations on
            files, hosts or Python (:func:`tfskin.serving.loading.refuse_outside`).
    """
    import tensorflow as tf

    from tfskin.serving.loading import load_saved_model

    folder = find_saved_model(path)
    try:
        loaded = load_saved_model(folder, trust=trust)
    except (OSError, ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder}: cannot be loaded as a SavedModel: {reason}") from None
    serve = loaded.signatures.get("serving_default")
    wanted = {"probabilities", "class_names", "valid"}
    if serve is None or not wanted <= set(serve.structured_outputs):
        raise UserError(
            f"{folder}: its serving_default signature lacks {', '.join(sorted(wanted))}; "
            "export the model with tfskin-export"
        )

    def call(signature: str, encoded: list[bytes]) -> dict[str, np.ndarray]:
        # `loaded` is named here because a signature does not keep its variables alive.
        function = loaded.signatures[signature]
        try:
            return _as_arrays(function(image_bytes=tf.constant(encoded, tf.string)))
        except (tf.errors.OpError, TypeError, ValueError) as error:
            reason = shorten(str(error), 200)
            raise UserError(f"{folder}: fails on images ({reason}); export it again") from None

    # The names come with every row, also with one that is no image.
    class_names = _read_names(call("serving_default", [b""]), str(folder))
    outputs = {name: list(s.structured_outputs) for name, s in loaded.signatures.items()}
    predictor = _make_predictor(call, class_names, str(folder), outputs=outputs)
    variables = sorted((folder / "variables").glob("*"))
    return replace(predictor, version=digest_files(folder / "saved_model.pb", *variables))


def keras_predictor(model: "keras.Model", *, options: "GraphOptions") -> Predictor:
    """The predictor of a Keras model: what its SavedModel would be, without writing one.

    A mixed-precision model computes in float32 here, as it does when it is served.

    Args:
        model: float32 (N, h, w, 3) in 0..255 to logits.
        options: what its SavedModel's graph would do around it.
    """
    import tensorflow as tf

    from tfskin.ensembling import as_float32
    from tfskin.serving.graph import Served, make_signatures

    signatures = make_signatures(Served(as_float32(model), options))

    def call(signature: str, encoded: list[bytes]) -> dict[str, np.ndarray]:
        return _as_arrays(signatures[signature](tf.constant(encoded, tf.string)))

    names = options.decision.class_names
    default = signatures["serving_default"].get_concrete_function()
    # The others are traced when they are called: seconds that most calls need not spend.
    outputs = dict.fromkeys(signatures, ()) | {"serving_default": default.structured_outputs}
    return _make_predictor(call, names, model.name, outputs=outputs)


def window_predictor(
    model: "keras.Model", *, options: "GraphOptions", windows: "WindowConfig", max_side: int | None
) -> Predictor:
    """The predictor of a Keras model that was trained on windows of images.

    The windows' probabilities are averaged before they are calibrated, as they are when the run
    is judged.

    Args:
        model: float32 (N, h, w, 3) in 0..255, of windows, to logits.
        options: as for :func:`keras_predictor`.
        windows: size and stride.
        max_side: images whose longer side has more pixels are shrunk to it first.
    """
    from tfskin.evaluation.decision import Decision, decide

    decision = options.decision

    def answer(means: np.ndarray) -> Answers:
        found = decide(np.log(np.maximum(means, 1e-30)), decision)
        return Answers(
            found.probabilities,
            np.ones(len(means), bool),
            found.malignancy,
            found.prediction_set,
        )

    plain = replace(options, decision=Decision(class_names=decision.class_names))
    extras = {"malignancy": decision.malignant, "prediction_set": decision.conformal}
    return replace(
        keras_predictor(model, options=plain),
        explain=None,
        extras=tuple(name for name, known in extras.items() if known),
        windows=WindowModel(windows, max_side, answer),
    )


def server_predictor(url: str, *, options: "ServerOptions | None" = None) -> Predictor:
    """The predictor of a model that TensorFlow Serving serves.

    Args:
        url: see :func:`tfskin.serving.client.connect`.
        options: time limits and retries.

    Raises:
        UserError: a URL of another form, no answer, or a model that tfskin did not export.
    """
    from tfskin.serving.client import connect

    client = connect(url, options)
    signatures = client.signatures()
    outputs = set(signatures.get("serving_default", ()))
    wanted = {"probabilities", "class_names", "valid"}
    if not wanted <= outputs:
        raise UserError(
            f"{url}: its serving_default signature lacks {', '.join(sorted(wanted - outputs))}; "
            "export the model with tfskin-export"
        )

    def call(signature: str, encoded: list[bytes]) -> dict[str, np.ndarray]:
        return client.predict(signature, encoded)

    answer = call("serving_default", [b""])
    names = _read_names(answer, url)
    predictor = _make_predictor(call, names, url, outputs=signatures, parallel=client.parallel)
    version = int(answer["model_version"][0]) if "model_version" in answer else ""
    return replace(predictor, version=str(version))


def find_saved_model(path: Path | str) -> Path:
    """The SavedModel's own folder: ``path``, or its version of the highest number.

    Raises:
        UserError: there is none.
    """
    from tfskin.serving.versions import list_versions

    folder = Path(path)
    for candidate in (folder, *(version for _, version in reversed(list_versions(folder)))):
        if (candidate / "saved_model.pb").is_file():
            return candidate
    what = "no such folder" if not folder.exists() else "holds no SavedModel"
    raise UserError(f"{path}: {what}; tfskin-export writes <output>/<name>/<version>")


def _make_predictor(
    call: Callable[[str, list[bytes]], dict[str, np.ndarray]],
    class_names: Sequence[str],
    name: str,
    *,
    outputs: Mapping[str, Sequence[str]],
    parallel: int = 2,
) -> Predictor:
    def classify(encoded: list[bytes]) -> Answers:
        outputs = call("serving_default", encoded)
        _check_shapes(outputs, (len(encoded), len(class_names)), name)
        return Answers(
            outputs["probabilities"],
            outputs["valid"],
            outputs.get("malignancy"),
            outputs.get("prediction_set"),
        )

    def explain(encoded: list[bytes]) -> list[HeatMap]:
        outputs = call("explain", encoded)
        pairs = zip(outputs["heat_map"], outputs["box"], strict=True)
        return [
            HeatMap(values, (float(box[0]), float(box[1]), float(box[2]), float(box[3])))
            for values, box in pairs
        ]

    extras = [
        name for name in ("malignancy", "prediction_set") if name in outputs["serving_default"]
    ]
    return Predictor(
        list(class_names),
        classify,
        name,
        explain if "explain" in outputs else None,
        tuple(extras),
        parallel,
    )


def _check_shapes(outputs: Mapping[str, np.ndarray], shape: tuple[int, int], name: str) -> None:
    """Refuse answers of another form than the model's signature has.

    Raises:
        UserError: names the output.
    """
    images, _ = shape
    wanted = {"probabilities": shape, "valid": (images,)}
    wanted |= {"malignancy": (images,), "prediction_set": shape}
    for output, form in wanted.items():
        found = outputs.get(output)
        if found is None and output in ("malignancy", "prediction_set"):
            continue
        kinds = "fiu" if output in ("probabilities", "malignancy") else "b"
        if found is None or found.shape != form or found.dtype.kind not in kinds:
            raise UserError(
                f"{name}: its output '{output}' is not of the form {form} that tfskin-export "
                "gives it; export the model again"
            )


def _as_arrays(outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in outputs.items()}


def _read_names(answer: Mapping[str, Any], name: str) -> list[str]:
    """The class names that come with the first row of an answer."""
    try:
        names = [_text(one) for one in answer["class_names"][0]]
    except (KeyError, IndexError, TypeError, UnicodeDecodeError):
        names = []
    if not names or len(set(names)) < len(names):
        raise UserError(f"{name}: does not name its classes; export it with tfskin-export")
    return names


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
