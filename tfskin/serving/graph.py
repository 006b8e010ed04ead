"""What is served: signatures from encoded images, or images, to named outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfskin.datasets.sizes import MAX_PIXELS
from tfskin.evaluation.decision import Decision
from tfskin.evaluation.explanations import grad_cam
from tfskin.evaluation.taps import Flow, find_units, run_tapped
from tfskin.schema import Resize
from tfskin.serving.decisions import decide_in_graph
from tfskin.serving.heat_map import find_boxes
from tfskin.serving.robust_decode import Decoded, decode_batch, resize_batch

Tensors = dict[str, tf.Tensor]
Function = Any
"""A ``tf.function`` with one signature."""

# The same in every row, whatever its file.
_CONSTANT = ("class_names", "member_names", "operating_points", "model_version")


@dataclass(frozen=True)
class GraphOptions:
    """What the graph does around the network.

    Attributes:
        image_size: height and width that the network takes.
        decision: from logits to probabilities and to what follows from them.
        resize: how an image is brought to ``image_size``.
        max_pixels: the largest height times width that is decoded.
        test_time_augmentation: average over the image's mirrored and turned copies: eight where
            height and width are equal, else four.
        float16_weights: keep the weights in half the bytes; the graph computes in float32.
        top: how many classes ``top_names`` holds, fewer where there are fewer classes.
        model_version: TensorFlow Serving's number, which comes with every row.
        member_names: of an ensemble's members; empty for the names of their networks.
    """

    image_size: tuple[int, int]
    decision: Decision
    resize: Resize = "squash"
    max_pixels: int = MAX_PIXELS
    test_time_augmentation: bool = False
    float16_weights: bool = False
    top: int = 3
    model_version: int = 0
    member_names: tuple[str, ...] = ()


class Served:
    """A network with its decisions as functions of a graph.

    Args:
        model: float32 (N, h, w, 3) in 0..255 to the output of its layer "logits"; float32 weights.
        options: what the graph does around it.
    """

    def __init__(self, model: keras.Model, options: GraphOptions) -> None:
        self.options, self.model = options, model
        self.units = find_units(model)
        self.member_names: tuple[str, ...] = ()
        if len(self.units) > 1:
            names = [unit.name.split("_", 2)[-1] for unit in self.units]
            given = options.member_names
            self.member_names = unique_names(given if len(given) == len(names) else names)
        self.decode = _decode_function(options).get_concrete_function()
        self.variables = list(model.variables)
        if options.float16_weights:
            weights = (*model.trainable_variables, *model.non_trainable_variables)
            self.variables = [_halve(variable) for variable in weights]

    def flow(self, images: tf.Tensor) -> Flow:
        """What flows inside the network for images (N, h, w, 3)."""
        return run_tapped(self._logits, self.units, images)

    def _logits(self, images: tf.Tensor) -> tf.Tensor:
        if not self.options.float16_weights:
            return self.model(images, training=False)
        # The state of a Dropout's seed is no weight, and stays what it is.
        wide = [
            tf.cast(variable.value, tf.float32) if variable.dtype == "float16" else variable.value
            for variable in self.variables
        ]
        count = len(self.model.trainable_variables)
        logits, _ = self.model.stateless_call(wide[:count], wide[count:], images, training=False)
        return logits

    def classify(self, images: tf.Tensor) -> Tensors:
        """Images (N, h, w, 3) to the outputs of ``serving_default`` that need no file."""
        decision, views = self.options.decision, [images]
        if self.options.test_time_augmentation:
            views = dihedral_views(images)
        flow = self.flow(tf.concat(views, axis=0))
        each = decision.to_probabilities(flow.output, ops=keras.ops)
        probabilities = _mean_of_views(each, len(views))
        count = tf.shape(images)[0]
        names = tf.constant(list(decision.class_names))
        result = {
            "probabilities": probabilities,
            "class_names": tf.tile(names[tf.newaxis], [count, 1]),
            "model_version": tf.fill([count], tf.constant(self.options.model_version, tf.int64)),
            **decide_in_graph(probabilities, decision, top=self.options.top),
        }
        if self.member_names:
            stacked = tf.stack([tf.nn.softmax(one) for one in flow.logits], axis=1)
            result["member_probabilities"] = _mean_of_views(stacked, len(views))
            result["member_names"] = tf.tile(tf.constant([list(self.member_names)]), [count, 1])
        return result

    def embed(self, decoded: Decoded) -> Tensors:
        """Decoded files to the outputs of ``features``."""
        return {"features": tf.concat(self.flow(decoded.images).embeddings, axis=-1)}

    def explain(self, decoded: Decoded) -> Tensors:
        """Decoded files to the outputs of ``explain``."""
        options, classified = self.options, self.classify(decoded.images)
        classes = classified["top_indices"][:, 0]
        return {
            "heat_map": grad_cam(self.flow, self.units, decoded.images, classes),
            "box": find_boxes(decoded.sizes, options.image_size, options.resize),
            "class_index": classes,
            "class_name": classified["top_names"][:, 0],
            "probability": classified["top_probabilities"][:, 0],
        }


def make_signatures(served: Served) -> dict[str, Function]:
    """The functions that a SavedModel offers, by name; one trace serves batches of every size.

    ``serving_default`` takes ``image_bytes``, strings (N,): JPEG, PNG, GIF or BMP files. Its
    outputs, one row a file:

    ======================  =============  =======================================================
    probabilities           float32 (N, C)  calibrated; zeros where the file could not be read
    class_names             string (N, C)   index -> class, the same in every row
    top_probabilities       float32 (N, K)  of the K most probable classes, highest first
    top_indices, top_names  int32, string   of those
    entropy                 float32 (N,)    ``-sum p log p`` in nats, 0 (sure) to ``log C``
    malignancy              float32 (N,)    sum over the malignant classes
    operating_points        string (N, T)   names of the thresholds
    is_malignant            bool (N, T)     whether ``malignancy`` reaches them
    prediction_set          bool (N, C)     which classes cannot be ruled out at the run's coverage
    member_probabilities    float32 (N, M, C)  of an ensemble's members, each one's own softmax
    member_names            string (N, M)
    model_version           int64 (N,)
    valid                   bool (N,)       whether the file could be read
    reason                  string (N,)     why not, one of ``robust_decode.REASONS``
    ======================  =============  =======================================================

    Names come with every row because TensorFlow Serving's row format and its batching need
    outputs whose first axis is the batch. Malignancy, operating points and prediction sets are
    there when the run's ``decision.json`` holds what they need; members for ensembles.

    ``images`` and ``images_uint8`` take ``images`` (N, H, W, 3), RGB in 0..255, of a size that a
    file may have (:mod:`tfskin.datasets.sizes`), and give the same outputs; an image whose pixels
    are no numbers from 0 to 255, or lie between 0 and 1, is not valid. ``features`` gives the
    embedding ``features`` float32 (N, F), ``valid`` and ``reason``. ``explain``, where a heat map
    can be made, gives for the most probable class ``class_index``, ``class_name``,
    ``probability``, the ``heat_map`` float32 (N, h, w) in 0..1, and its ``box`` float32 (N, 4) on
    the upright image.
    """
    functions = {
        "serving_default": _bytes_function(served, lambda decoded: served.classify(decoded.images)),
        "images": _images_function(served, tf.float32),
        "images_uint8": _images_function(served, tf.uint8),
        "features": _bytes_function(served, served.embed),
    }
    if any(unit.share for unit in served.units):
        functions["explain"] = _bytes_function(served, served.explain)
    return functions


def dihedral_views(images: tf.Tensor) -> list[tf.Tensor]:
    """The images (N, h, w, 3) mirrored and turned: eight views of squares, else four.

    The symmetries of the square (of the rectangle): a lesion has no up and no right.
    """
    flipped = tf.reverse(images, [2])
    views = [images, flipped, tf.reverse(images, [1]), tf.reverse(flipped, [1])]
    if images.shape[1] == images.shape[2]:
        views += [tf.transpose(view, (0, 2, 1, 3)) for view in views]
    return views


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names with ``_2``, ``_3`` where one comes again."""
    return tuple(
        name if names[:place].count(name) == 0 else f"{name}_{names[:place].count(name) + 1}"
        for place, name in enumerate(names)
    )


def _halve(variable: keras.Variable) -> keras.Variable:
    dtype = "float16" if variable.dtype == "float32" else variable.dtype
    return keras.Variable(variable.value, dtype=dtype, trainable=False, name=variable.name)


def _mean_of_views(values: tf.Tensor, views: int) -> tf.Tensor:
    if views == 1:
        return values
    return tf.reduce_mean(tf.reshape(values, [views, -1, *values.shape[1:]]), axis=0)


def _decode_function(options: GraphOptions) -> Function:
    """Files (N,) to :class:`Decoded`: a function of its own, which all signatures share.

    It is most of the graph: traced and stored for each signature, an export would take three
    times as long to write and to load.
    """

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def decode(image_bytes: tf.Tensor) -> Decoded:
        return decode_batch(
            image_bytes,
            image_size=options.image_size,
            resize=options.resize,
            max_pixels=options.max_pixels,
        )

    return decode


def _bytes_function(served: Served, answer: Callable[[Decoded], Tensors]) -> Function:
    signature = [tf.TensorSpec([None], tf.string, name="image_bytes")]

    @tf.function(input_signature=signature, autograph=False)
    def serve(image_bytes: tf.Tensor) -> Tensors:
        return _answer_read(served.decode(image_bytes), answer)

    return serve


def _answer_read(decoded: Decoded, answer: Callable[[Decoded], Tensors]) -> Tensors:
    """The answers, blank in the rows that could not be read, and which these are."""
    answers = {
        name: values if name in _CONSTANT else _blank_unread(values, decoded.valid)
        for name, values in answer(decoded).items()
    }
    return {**answers, "valid": decoded.valid, "reason": decoded.reason}


def _images_function(served: Served, dtype: tf.DType) -> Function:
    options = served.options
    signature = [tf.TensorSpec([None, None, None, 3], dtype, name="images")]

    @tf.function(input_signature=signature, autograph=False)
    def serve(images: tf.Tensor) -> Tensors:
        resized = resize_batch(
            images,
            image_size=options.image_size,
            resize=options.resize,
            max_pixels=options.max_pixels,
        )
        return _answer_read(resized, lambda decoded: served.classify(decoded.images))

    return serve


def _blank_unread(values: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Zero, false or empty text in the rows of files that could not be read (JSON has no NaN)."""
    shape = tf.concat([tf.shape(valid), tf.ones(values.shape.rank - 1, tf.int32)], 0)
    blank = tf.zeros((), values.dtype) if values.dtype != tf.string else tf.constant("")
    return tf.where(tf.reshape(valid, shape), values, blank)
