"""Pictures of any folder become a table of predictions."""

import glob
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from tfskin.config import Resize
from tfskin.datasets.pictures import read_picture
from tfskin.datasets.records import IMAGE_SUFFIXES
from tfskin.errors import UserError
from tfskin.files import replace_file
from tfskin.progress import progress_bar

if TYPE_CHECKING:
    import keras

BatchFunction = Callable[[list[bytes]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Predictor:
    """A model that takes encoded pictures.

    Attributes:
        class_names: index -> class.
        function: the bytes of N JPEG or PNG files -> float32 probabilities (N, C) and bool (N,),
            false where a file could not be read.
        name: what the model is called in messages.
    """

    class_names: Sequence[str]
    function: BatchFunction
    name: str


@dataclass(frozen=True)
class Prediction:
    """What a model says about one picture.

    Attributes:
        path: the picture's file.
        class_names: index -> class.
        probabilities: one for each class, summing to 1; empty when there is an ``error``.
        error: why the picture could not be read; empty when it could.
    """

    path: Path
    class_names: Sequence[str]
    probabilities: tuple[float, ...]
    error: str = ""

    @property
    def predicted(self) -> str:
        """The class of the highest probability; empty when there is an error."""
        return "" if self.error else self.class_names[int(np.argmax(self.probabilities))]

    @property
    def probability(self) -> float:
        """The highest probability; NaN when there is an error."""
        return float("nan") if self.error else max(self.probabilities)


def saved_model_predictor(path: Path | str) -> Predictor:
    """The predictor of a SavedModel that tfskin exported.

    Args:
        path: a version's folder, or the model's folder, whose newest version is taken.

    Raises:
        UserError: there is no SavedModel, or tfskin did not export it.
    """
    import tensorflow as tf

    folder = find_saved_model(path)
    try:
        loaded = tf.saved_model.load(str(folder))
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

    def function(encoded: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        outputs = serve(image_bytes=tf.constant(encoded, tf.string))
        return outputs["probabilities"].numpy(), outputs["valid"].numpy()

    # The names come with every row, also with one that is no picture.
    names = serve(image_bytes=tf.constant([b""]))["class_names"][0].numpy()
    class_names = [name.decode() for name in names]
    # The signature does not keep the loaded object, and with it the variables, alive.
    function.loaded = loaded  # type: ignore[attr-defined]
    return Predictor(class_names, function, str(folder))


def keras_predictor(
    model: "keras.Model",
    *,
    class_names: Sequence[str],
    image_size: tuple[int, int],
    resize: Resize = "squash",
    temperature: float = 1.0,
) -> Predictor:
    """The predictor of a Keras model: what its SavedModel would be, without writing one.

    A mixed-precision model computes in float32 here, as it does when it is served.

    Args:
        model: float32 (N, h, w, 3) in 0..255 to logits.
        class_names: index -> class.
        image_size: height and width that the model takes.
        resize: how a picture is brought to ``image_size``.
        temperature: probabilities are ``softmax(logits / temperature)``.
    """
    import tensorflow as tf

    from tfskin.ensembling import as_float32
    from tfskin.serving.saved_model import make_serving_function

    serve = make_serving_function(
        as_float32(model),
        class_names=class_names,
        image_size=image_size,
        resize=resize,
        temperature=temperature,
    )

    def function(encoded: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        outputs = serve(tf.constant(encoded, tf.string))
        return outputs["probabilities"].numpy(), outputs["valid"].numpy()

    return Predictor(list(class_names), function, model.name)


def is_saved_model(path: Path | str) -> bool:
    """Whether a folder is a SavedModel, or holds numbered versions of one."""
    return _newest_saved_model(Path(path)) is not None


def find_saved_model(path: Path | str) -> Path:
    """The SavedModel's own folder: ``path``, or its version of the highest number.

    Raises:
        UserError: there is none.
    """
    folder = _newest_saved_model(Path(path))
    if folder is None:
        what = "no such folder" if not Path(path).exists() else "holds no SavedModel"
        raise UserError(f"{path}: {what}; tfskin-export writes <output>/<name>/<version>")
    return folder


def find_images(inputs: Sequence[Path | str]) -> list[Path]:
    """The pictures that files, folders and patterns stand for, each once, in that order.

    A folder gives its files with a picture's suffix, sorted, from its subfolders too, but
    not hidden ones. A pattern is one of :mod:`glob`, with ``**`` for any folders. A file that is
    named itself is taken whatever its suffix.

    Raises:
        UserError: a path is missing, or a folder or pattern has no pictures.
    """
    found: dict[Path, None] = {}
    for given in inputs:
        found.update(dict.fromkeys(_expand(Path(given))))
    if not found:
        raise UserError("no pictures given; name files, folders or patterns such as 'photos/*.jpg'")
    return list(found)


def predict_images(
    predictor: Predictor, paths: Sequence[Path | str], *, batch_size: int = 32
) -> Iterator[Prediction]:
    """One prediction for each picture, in order, with one batch in memory at a time.

    A picture that cannot be read gets a prediction with an ``error`` and harms no other. Formats
    that the model does not take (BMP, GIF, TIFF, WebP) are read by Pillow and handed on as PNG.

    Args:
        predictor: the model.
        paths: files.
        batch_size: pictures in one call of the model.
    """
    with progress_bar("predicting", total=len(paths)) as advance:
        for start in range(0, len(paths), batch_size):
            batch = [Path(path) for path in paths[start : start + batch_size]]
            yield from _predict_batch(predictor, batch)
            advance(len(batch))


def predictions_table(
    predictions: Iterable[Prediction], *, class_names: Sequence[str]
) -> pd.DataFrame:
    """A table with one row a picture: path, predicted, probability, each class, error.

    ``probability`` is the predicted class's; the probabilities of a picture with an ``error`` are
    empty (NaN). The column of a class that is named like another column is ``class <name>``.
    """
    fixed = ("path", "predicted", "probability", "error")
    columns = [f"class {name}" if name in fixed else name for name in class_names]
    rows = [
        [_printable(one.path), one.predicted, one.probability]
        + (list(one.probabilities) or [float("nan")] * len(columns))
        + [one.error]
        for one in predictions
    ]
    return pd.DataFrame(rows, columns=["path", "predicted", "probability", *columns, "error"])


def _printable(path: Path) -> str:
    """A path as text that any file can hold; bytes that are no UTF-8 are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def write_predictions_csv(table: pd.DataFrame, path: Path | str) -> None:
    """Write the table of :func:`predictions_table` as CSV (UTF-8), atomically."""
    with replace_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


def _newest_saved_model(folder: Path) -> Path | None:
    from tfskin.serving.versions import list_versions

    for candidate in (folder, *(path for _, path in reversed(list_versions(folder)))):
        if (candidate / "saved_model.pb").is_file():
            return candidate
    return None


def _expand(given: Path) -> list[Path]:
    if given.is_dir():
        found = list(_walk(given))
        if not found:
            raise UserError(
                f"{given}: no pictures in this folder "
                f"(files ending in {', '.join(sorted(IMAGE_SUFFIXES))})"
            )
        return found
    if given.exists():
        return [given]
    if not glob.has_magic(str(given)):
        raise UserError(f"{given}: no such file or folder")
    # Path.glob takes no pattern that starts at the root.
    matches = map(Path, sorted(glob.glob(str(given), recursive=True)))  # noqa: PTH207
    found = [match for match in matches if match.is_file() and _is_picture(match)]
    if not found:
        raise UserError(f"{given}: no pictures match this pattern")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read: {error.strerror}")

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if _is_picture(Path(name)))


def _is_picture(path: Path) -> bool:
    # Names that start with a dot are hidden, as are the "._x.jpg" that macOS leaves on disks.
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _predict_batch(predictor: Predictor, paths: list[Path]) -> Iterator[Prediction]:
    names = predictor.class_names
    errors = dict.fromkeys(paths, "")
    rows = _predict_encoded(predictor, {path: _read_bytes(path) for path in paths})
    # What the model cannot read, Pillow may, as it did for the training images.
    pictures: dict[Path, bytes] = {}
    for path in paths:
        if path not in rows:
            try:
                pictures[path] = _encode_png(path)
                errors[path] = "too large or too narrow for the model"
            except UserError as fault:
                # "path: what is wrong; what to do", of which a table needs what is wrong.
                errors[path] = str(fault).removeprefix(f"{path}: ").split("; ")[0]
    if pictures:
        rows |= _predict_encoded(predictor, pictures)
    for path in paths:
        error = "" if path in rows else errors[path]
        yield Prediction(path, names, rows.get(path, ()), error)


def _predict_encoded(
    predictor: Predictor, encoded: dict[Path, bytes]
) -> dict[Path, tuple[float, ...]]:
    """The probabilities of every file that the model can read."""
    probabilities, valid = predictor.function(list(encoded.values()))
    return {
        path: tuple(map(float, row))
        for path, row, good in zip(encoded, probabilities, valid, strict=True)
        if good
    }


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # read_picture will say why


def _encode_png(path: Path) -> bytes:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        picture = read_picture(path)
    stream = io.BytesIO()
    picture.info.clear()  # a profile or comment of the source would be written again
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
