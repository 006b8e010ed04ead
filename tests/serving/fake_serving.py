"""A server on 127.0.0.1 that answers as TensorFlow Serving does, from a loaded SavedModel."""

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)


@dataclass
class Behaviour:
    """What the server does besides answering."""

    fail_first: int = 0
    delay: float = 0.0
    requests: list[str] = field(default_factory=list)


class Fake(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, name: str, loaded: Any, behaviour: Behaviour) -> None:
        self.name, self.signatures, self.behaviour = name, loaded.signatures, behaviour

    def answer(self, signature: str, encoded: list[bytes]) -> dict[str, Any]:
        self.behaviour.requests.append(signature)
        time.sleep(self.behaviour.delay)
        if self.behaviour.fail_first > 0:
            self.behaviour.fail_first -= 1
            raise ConnectionError("overloaded")
        return self.signatures[signature](image_bytes=tf.constant(encoded, tf.string))

    def Predict(self, request, context):
        if request.model_spec.name != self.name:
            context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
        encoded = tf.make_ndarray(request.inputs["image_bytes"]).tolist()
        try:
            outputs = self.answer(request.model_spec.signature_name, encoded)
        except ConnectionError as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        response = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return response

    def GetModelMetadata(self, request, context):
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self.signatures.items():
            outputs = found.signature_def[name].outputs
            for output in signature.structured_outputs:
                outputs[output].CopyFrom(meta_graph_pb2.TensorInfo(name=output))
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(found)
        return response


class Handler(BaseHTTPRequestHandler):
    fake: Fake

    def log_message(self, *_):
        pass

    def reply(self, code: int, values: Any) -> None:
        data = json.dumps(values).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        outputs: dict[str, Any] = {
            name: {"outputs": {key: {} for key in signature.structured_outputs}}
            for name, signature in self.fake.signatures.items()
        }
        if self.path != f"/v1/models/{self.fake.name}/metadata":
            return self.reply(404, {"error": "Servable not found for request"})
        return self.reply(200, {"metadata": {"signature_def": {"signature_def": outputs}}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        encoded = [base64.b64decode(row["b64"]) for row in body["instances"]]
        try:
            outputs = self.fake.answer(body.get("signature_name", "serving_default"), encoded)
        except ConnectionError as error:
            return self.reply(503, {"error": str(error)})
        columns = {name: value.numpy() for name, value in outputs.items()}
        rows = [
            {name: _plain(values[row]) for name, values in columns.items()}
            for row in range(len(encoded))
        ]
        return self.reply(200, {"predictions": rows})


def _plain(value: Any) -> Any:
    """As TensorFlow Serving writes JSON: text for strings."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


@contextmanager
def serve_model(folder, name, behaviour):
    """The ports of REST and gRPC."""
    fake = Fake(name, tf.saved_model.load(str(folder)), behaviour)
    handler = type("BoundHandler", (Handler,), {"fake": fake})
    rest = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=rest.serve_forever, daemon=True)
    thread.start()
    server = grpc.server(ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield rest.server_address[1], port
    finally:
        rest.shutdown()
        rest.server_close()
        thread.join()
        server.stop(None).wait()
