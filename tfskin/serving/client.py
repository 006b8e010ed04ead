"""A model on a running TensorFlow Serving, asked over REST or gRPC."""

import base64
import json
import re
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tfskin.errors import UserError
from tfskin.serving.options import ServerOptions

_REST_URL = re.compile(r"https?://[^/]+/v1/models/(?P<name>[^/:]+)(/versions/\d+)?")
_GRPC_URL = re.compile(r"grpc://(?P<host>[^/]+:\d+)/(?P<name>[^/:]+)(/(?P<version>\d+))?")
_RETRIED_CODES = (429, 502, 503, 504)
# gRPC lets a channel try a call five times at most.
_GRPC_ATTEMPTS = 5


class Client(Protocol):
    """A model on a server."""

    parallel: int

    def signatures(self) -> dict[str, list[str]]:
        """Signature -> names of its outputs."""

    def predict(self, signature: str, encoded: Sequence[bytes]) -> dict[str, np.ndarray]:
        """The outputs of a signature that takes ``image_bytes``, for N files."""


def connect(url: str, options: ServerOptions | None = None) -> Client:
    """The model behind a URL.

    Args:
        url: ``http://host:8501/v1/models/NAME``, ``https`` alike, or ``grpc://host:8500/NAME``;
            a version goes behind it, as ``/versions/3`` and as ``/3``.
        options: time limits and retries.

    Raises:
        UserError: a URL of another form. Calls of the client raise it when the server gives no
            answer within the time, does not know the model, or refuses the request.
    """
    options = options or ServerOptions()
    url = url.removesuffix("/").removesuffix(":predict")
    if _REST_URL.fullmatch(url):
        return RestClient(url, options)
    if match := _GRPC_URL.fullmatch(url):
        return GrpcClient(url, match, options)
    raise UserError(
        f"{url}: must be http://host:8501/v1/models/NAME or grpc://host:8500/NAME, where NAME is "
        "the model's name"
    )


class RestClient:
    """A model behind TensorFlow Serving's REST interface; JSON, images as base64."""

    def __init__(self, url: str, options: ServerOptions) -> None:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        self.url, self.parallel, self._timeout = url, options.parallel, options.timeout
        retry = Retry(
            total=options.retries,
            status_forcelist=_RETRIED_CODES,
            allowed_methods=("GET", "POST"),  # asking twice changes nothing
            backoff_factor=0.5,
            raise_on_status=False,
        )
        self._session = requests.Session()
        adapter = HTTPAdapter(max_retries=retry, pool_maxsize=options.parallel)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def signatures(self) -> dict[str, list[str]]:
        """Signature -> names of its outputs."""
        answer = self._ask("GET", f"{self.url}/metadata")
        try:
            found = answer["metadata"]["signature_def"]["signature_def"]
            return {name: list(signature["outputs"]) for name, signature in found.items()}
        except (KeyError, TypeError):
            raise UserError(f"{self.url}: does not answer as TensorFlow Serving does") from None

    def predict(self, signature: str, encoded: Sequence[bytes]) -> dict[str, np.ndarray]:
        """The outputs of a signature that takes ``image_bytes``, for N files."""
        instances = [{"b64": base64.b64encode(data).decode("ascii")} for data in encoded]
        body = {"signature_name": signature, "instances": instances}
        rows = self._ask("POST", f"{self.url}:predict", body).get("predictions")
        if not isinstance(rows, list) or len(rows) != len(encoded):
            raise UserError(f"{self.url}: does not answer as TensorFlow Serving does")
        try:
            return {name: np.asarray([row[name] for row in rows]) for name in rows[0]}
        except (KeyError, TypeError, ValueError, IndexError):  # rows of different forms
            raise UserError(f"{self.url}: does not answer as TensorFlow Serving does") from None

    def _ask(self, method: str, url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        import requests

        try:
            answer = self._session.request(method, url, json=body, timeout=self._timeout)
        except requests.RequestException as error:
            if isinstance(error, requests.Timeout) or "timed out" in str(error):
                raise _too_late(self.url, self._timeout) from None
            refused = isinstance(error, requests.ConnectionError)
            reason = "no connection" if refused else _first_line(error)
            raise UserError(f"{self.url}: {reason}; is the server running?") from None
        try:
            values = answer.json()
        except json.JSONDecodeError:
            values = None
        if not isinstance(values, dict):
            raise UserError(f"{self.url}: does not answer as TensorFlow Serving does")
        if answer.status_code != 200:
            reason = str(values.get("error", answer.reason))
            raise UserError(f"{self.url}: {' '.join(reason.split())}")
        return values


class GrpcClient:
    """A model behind TensorFlow Serving's gRPC interface; images as they are."""

    def __init__(self, url: str, match: re.Match[str], options: ServerOptions) -> None:
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        self.url, self.parallel, self._timeout = url, options.parallel, options.timeout
        self._name, self._version = match["name"], match["version"]
        channel = grpc.insecure_channel(match["host"], options=_channel_options(options))
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def signatures(self) -> dict[str, list[str]]:
        """Signature -> names of its outputs."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec(), metadata_field=["signature_def"]
        )
        answer = self._call(self._stub.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)
        return {name: list(signature.outputs) for name, signature in found.signature_def.items()}

    def predict(self, signature: str, encoded: Sequence[bytes]) -> dict[str, np.ndarray]:
        """The outputs of a signature that takes ``image_bytes``, for N files."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(model_spec=self._spec())
        request.model_spec.signature_name = signature
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(list(encoded), tf.string))
        answer = self._call(self._stub.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}

    def _spec(self) -> Any:
        from tensorflow_serving.apis import model_pb2

        spec = model_pb2.ModelSpec(name=self._name)
        if self._version:
            spec.version.value = int(self._version)
        return spec

    def _call(self, method: Any, request: Any) -> Any:
        import grpc

        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise _too_late(self.url, self._timeout) from None
            reason = _first_line(error.details() or error.code().name)
            is_away = error.code() == grpc.StatusCode.UNAVAILABLE
            hint = "; is the server running?" if is_away else ""
            raise UserError(f"{self.url}: {reason}{hint}") from None


def _channel_options(options: ServerOptions) -> list[tuple[str, Any]]:
    policy = {
        "maxAttempts": min(options.retries + 1, _GRPC_ATTEMPTS),
        "initialBackoff": "0.5s",
        "maxBackoff": "8s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
    }
    chosen: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
    ]
    if options.retries:
        service = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
        chosen.append(("grpc.service_config", json.dumps(service)))
    return chosen


def _too_late(url: str, timeout: float) -> UserError:
    return UserError(
        f"{url}: no answer within {timeout:g} seconds; give a smaller --batch-size or a longer "
        "--timeout"
    )


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
