"""Requests that TensorFlow Serving runs before it takes the first one from outside."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

WARM_UP_FILE = "tf_serving_warmup_requests"
BATCH_SIZES = (1, 2, 4, 8, 16, 32)
"""Sizes that a server is warmed up for, and that its batching may make."""

_REPEATS = 2  # the first run of a graph optimises it, the second shows what it costs


def write_warm_up(
    folder: Path, images: Sequence[bytes], *, name: str, signatures: Sequence[str]
) -> Path:
    """The file ``assets.extra/tf_serving_warmup_requests`` of a SavedModel's ``folder``, written.

    A TFRecord of ``PredictionLog``: the images to ``serving_default`` in batches of every size
    of :data:`BATCH_SIZES`, twice, and one or two images to every other signature.

    Args:
        folder: the SavedModel's.
        images: encoded, at least one; they are repeated to fill a batch.
        name: of the model.
        signatures: its signatures.

    Reference: TensorFlow Serving's guide "SavedModel Warmup".
    """
    path = folder / "assets.extra" / WARM_UP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, values in _requests(images, signatures):
            writer.write(_prediction_log(values, name=name, signature=signature))
    return path


def replay_warm_up(
    folder: Path | str, signatures: dict[str, tf.types.experimental.Callable]
) -> int:
    """The number of warm-up requests of a SavedModel, after running them as the server does."""
    from tensorflow_serving.apis import prediction_log_pb2

    path = Path(folder) / "assets.extra" / WARM_UP_FILE
    count = 0
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {
            name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()
        }
        signatures[request.model_spec.signature_name](**inputs)
        count += 1
    return count


def _requests(
    images: Sequence[bytes], signatures: Sequence[str]
) -> Iterator[tuple[str, dict[str, np.ndarray | list[bytes]]]]:
    for _ in range(_REPEATS):
        for size in BATCH_SIZES:
            batch = [images[row % len(images)] for row in range(size)]
            yield "serving_default", {"image_bytes": batch}
    decoded = tf.io.decode_image(images[0], channels=3, expand_animations=False).numpy()[None]
    for signature in signatures:
        if signature == "images":
            yield signature, {"images": decoded.astype(np.float32)}
        elif signature == "images_uint8":
            yield signature, {"images": decoded}
        elif signature != "serving_default":
            yield signature, {"image_bytes": list(images[:1])}
            yield signature, {"image_bytes": list(images[:2])}


def _prediction_log(
    inputs: dict[str, np.ndarray | list[bytes]], *, name: str, signature: str
) -> bytes:
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString()
