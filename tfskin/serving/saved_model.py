"""A trained model as one SavedModel that TensorFlow Serving loads."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfskin
from tfskin.config import Resize
from tfskin.ensembling import as_float32
from tfskin.errors import UserError
from tfskin.files import replace_folder
from tfskin.inputs.decode import decode_and_resize
from tfskin.serving.exif import read_orientation
from tfskin.serving.robust_decode import MAX_PIXELS, decode_batch
from tfskin.serving.versions import next_version

MAX_DIFFERENCE = 1e-5
"""Largest difference of a probability between the SavedModel and the Keras model."""

MAX_COMPANION_EFFECT = 1e-3
"""Largest change of a logit, relative to the largest logit, when batch companions change."""


@dataclass(frozen=True)
class ExportOptions:
    """Where a SavedModel goes and what it does besides the network."""

    class_names: Sequence[str]
    image_size: tuple[int, int]
    output_dir: Path | str
    name: str
    version: int | None = None
    """TensorFlow Serving's number of the model; none for the next free one."""
    resize: Resize = "squash"
    temperature: float = 1.0
    max_pixels: int = MAX_PIXELS


def export_saved_model(
    model: keras.Model, *, options: ExportOptions, check_images: Sequence[bytes]
) -> Path:
    """The folder ``<output_dir>/<name>/<version>`` of a new SavedModel, checked before it appears.

    Its one signature, ``serving_default``, takes ``image_bytes`` (strings (N,), JPEG or PNG files)
    and gives

    - ``probabilities``: float32 (N, C), ``softmax(logits / temperature)``;
    - ``class_names``: string (N, C), the same in every row, because TensorFlow Serving's row
      format and its batching need outputs whose first axis is the batch;
    - ``valid``: bool (N,), false where the file could not be read. The probabilities of such a
      row are zeros (JSON has no NaN); the other rows are what they would be alone.

    Mixed-precision models are rebuilt in float32. ``assets.extra/class_names.json`` and
    ``assets.extra/export.json`` describe the model to people and tools.

    Args:
        model: float32 (N, h, w, 3) in 0..255 to the output of its layer "logits".
        options: names, sizes and place.
        check_images: encoded images, at least one of them readable, for comparing the SavedModel
            with ``model``.

    Raises:
        UserError: the version exists; no check image can be read; the model's predictions change
            with the other images of a batch; the SavedModel differs from the model by more than
            ``MAX_DIFFERENCE``. Nothing is left behind.
    """
    _check_options(model, options)
    folder = _version_folder(options)
    created = [parent for parent in (folder.parent, *folder.parents[1:]) if not parent.exists()]
    try:
        with replace_folder(folder) as temporary:
            exported = as_float32(model)
            check_companions(exported, check_images, options=options)
            _write(exported, temporary, options)
            # A mixed-precision model differs from its rebuild by the rounding of half precision.
            reference = model if _computes_in_float32(model) else exported
            difference = check_export(temporary, reference, check_images, options=options)
            _describe(temporary, options, difference)
    except FileExistsError:
        raise UserError(f"{folder}: exists already; choose another version") from None
    except BaseException:
        for parent in created:
            if parent.exists() and not any(parent.iterdir()):
                parent.rmdir()
        raise
    return folder


def make_serving_function(
    model: keras.Model,
    *,
    class_names: Sequence[str],
    image_size: tuple[int, int],
    resize: Resize = "squash",
    temperature: float = 1.0,
    max_pixels: int = MAX_PIXELS,
) -> tf.types.experimental.PolymorphicFunction:
    """The graph that is served: from ``image_bytes``, strings (N,), to the dict of outputs.

    See :func:`export_saved_model` for the outputs. One trace serves batches of every size.
    """
    names = tf.constant(list(class_names))

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False
    )
    def serve(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        images, valid = decode_batch(
            image_bytes, image_size=image_size, resize=resize, max_pixels=max_pixels
        )
        logits = tf.cast(model(images, training=False), tf.float32)
        probabilities = tf.nn.softmax(logits / temperature)
        return {
            "probabilities": tf.where(valid[:, tf.newaxis], probabilities, 0.0),
            "class_names": tf.tile(names[tf.newaxis], [tf.shape(valid)[0], 1]),
            "valid": valid,
        }

    return serve


def check_export(
    path: Path | str, model: keras.Model, encoded: Sequence[bytes], *, options: ExportOptions
) -> float:
    """The largest difference of a probability between a SavedModel and its Keras model.

    The SavedModel is loaded afresh and gets all images in one batch; the Keras model gets each
    image alone, from the function that training decodes and resizes with. Images that training
    never sees as they are (unreadable, or turned by EXIF) are left out.

    Raises:
        UserError: no image can be compared, or the difference exceeds ``MAX_DIFFERENCE``.
    """
    # On the CPU, because a GPU's TensorFloat-32 convolutions alone differ by more.
    with tf.device("/CPU:0"):
        served = tf.saved_model.load(str(path)).signatures["serving_default"]
        outputs = served(image_bytes=tf.constant(list(encoded), tf.string))
        valid = outputs["valid"].numpy()
        differences = [
            np.abs(outputs["probabilities"][row].numpy() - expected).max()
            for row, expected in _expected_rows(model, encoded, valid, options)
        ]
    if not differences:
        raise UserError(
            f"{options.name}: none of the {len(encoded)} check images can be read; "
            "give at least one upright JPEG or PNG"
        )
    difference = float(np.max(differences))
    if not difference <= MAX_DIFFERENCE:
        raise UserError(
            f"{options.name}: the SavedModel's probabilities differ by {difference:.1e} from the "
            f"model's (at most {MAX_DIFFERENCE:.0e} is allowed); is it a float32 model?"
        )
    return difference


def check_companions(
    model: keras.Model, encoded: Sequence[bytes], *, options: ExportOptions
) -> None:
    """Refuse a model whose prediction for an image changes with the other images of its batch.

    That is what a BatchNormalization in training mode does. Each image is predicted alone, with
    the other images, and with black, white and noise.

    Raises:
        UserError: a logit changes by more than ``MAX_COMPANION_EFFECT`` of the largest one.
    """
    height, width = options.image_size
    noise = np.random.default_rng(0).uniform(0, 255, (1, height, width, 3))
    strangers = np.concatenate([np.zeros_like(noise), np.full_like(noise, 255), noise])
    with tf.device("/CPU:0"):
        images, valid = decode_batch(
            tf.constant(list(encoded[:4]), tf.string),
            image_size=options.image_size,
            resize=options.resize,
            max_pixels=options.max_pixels,
        )
        known = np.concatenate([images.numpy()[valid.numpy()], strangers.astype("float32")])
        together = np.asarray(model(known, training=False), "float32")
        alone = np.concatenate(
            [np.asarray(model(image[np.newaxis], training=False)) for image in known]
        )
    effect = float(np.abs(together - alone).max() / max(np.abs(alone).max(), 1e-6))
    if not effect <= MAX_COMPANION_EFFECT:
        raise UserError(
            f"{options.name}: its predictions change by {effect:.0%} with the other images of the "
            "batch, as they do when a BatchNormalization runs in training mode; "
            "it cannot be served"
        )


def _check_options(model: keras.Model, options: ExportOptions) -> None:
    if not options.name or Path(options.name).name != options.name:
        raise UserError(f"'{options.name}': a model's name is one folder name, without slashes")
    if options.version is not None and options.version < 1:
        raise UserError(f"version {options.version}: a version is a whole number from 1")
    if not options.temperature > 0:
        raise UserError(f"temperature {options.temperature}: must be above 0")
    layer = getattr(model.outputs[0], "_keras_history", (None,))[0]
    if len(model.outputs) != 1 or getattr(layer, "name", None) != "logits":
        raise ValueError("the model's one output must be its layer 'logits'")
    classes = model.outputs[0].shape[-1]
    if classes != len(options.class_names):
        raise UserError(
            f"{options.name}: the model has {classes} outputs, but {len(options.class_names)} "
            f"class names were given ({', '.join(options.class_names)})"
        )


def _computes_in_float32(model: keras.Model) -> bool:
    return all(
        _computes_in_float32(layer)
        if isinstance(layer, keras.Model)
        else layer.compute_dtype == "float32"
        for layer in model.layers
    )


def _version_folder(options: ExportOptions) -> Path:
    parent = Path(options.output_dir) / options.name
    if parent.exists() and not parent.is_dir():
        raise UserError(f"{parent}: is a file; choose another output folder or name")
    version = next_version(parent) if options.version is None else options.version
    return parent / str(version)


def _write(model: keras.Model, folder: Path, options: ExportOptions) -> None:
    archive = keras.export.ExportArchive()
    archive.track(model)
    serve = make_serving_function(
        model,
        class_names=options.class_names,
        image_size=options.image_size,
        resize=options.resize,
        temperature=options.temperature,
        max_pixels=options.max_pixels,
    )
    serve.get_concrete_function()
    archive.add_endpoint("serving_default", serve)
    with _quiet_tensorflow():
        archive.write_out(str(folder), verbose=False)


def _describe(folder: Path, options: ExportOptions, difference: float) -> None:
    extra = folder / "assets.extra"
    extra.mkdir()
    description = {
        "name": options.name,
        "class_names": list(options.class_names),
        "image_size": list(options.image_size),
        "resize": options.resize,
        "temperature": options.temperature,
        "max_pixels": options.max_pixels,
        "max_difference_from_keras": difference,
        "tfskin": tfskin.__version__,
        "tensorflow": tf.__version__,
    }
    for name, value in (
        ("class_names.json", description["class_names"]),
        ("export.json", description),
    ):
        text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
        (extra / name).write_text(text + "\n", encoding="utf-8")


def _expected_rows(
    model: keras.Model, encoded: Sequence[bytes], valid: np.ndarray, options: ExportOptions
) -> Iterator[tuple[int, np.ndarray]]:
    """Row and probabilities of every image that can be compared."""
    for row, data in enumerate(encoded):
        if not valid[row] or int(read_orientation(tf.constant(data))) != 1:
            continue
        image = decode_and_resize(tf.constant(data), options.image_size, options.resize)
        logits = np.asarray(model(image[tf.newaxis], training=False), "float64")[0]
        scaled = np.exp((logits - logits.max()) / options.temperature)
        yield row, scaled / scaled.sum()


@contextmanager
def _quiet_tensorflow() -> Iterator[None]:
    """Keeps TensorFlow's "Assets written to" off the terminal."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)
