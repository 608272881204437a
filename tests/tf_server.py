"""What TensorFlow Serving does of a SavedModel, in this process: real messages over gRPC, and REST."""

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Signatures by name; tensors come back as `content`, or value by value as the real server's do."""

    def __init__(self, name: str, saved_model: Path) -> None:
        self.name, self.signatures = name, tf.saved_model.load(str(saved_model)).signatures
        self.content = False

    def outputs(self, model: str, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        if model != self.name or signature not in self.signatures:
            raise KeyError(f"Servable not found for request: {model} {signature}")
        run = self.signatures[signature]
        takes = run.structured_input_signature[1]
        out = run(**{name: tf.constant(value, takes[name].dtype) for name, value in inputs.items()})
        return {name: tensor.numpy() for name, tensor in out.items()}

    def Predict(self, request: Any, context: Any) -> Any:
        spec = request.model_spec
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        try:
            out = self.outputs(spec.name, spec.signature_name, inputs)
        except Exception as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        answer = predict_pb2.PredictResponse()
        answer.model_spec.CopyFrom(spec)
        for name, array in out.items():
            proto = answer.outputs[name]
            if self.content:
                proto.CopyFrom(tf.make_tensor_proto(array))
                continue
            proto.dtype = tf.as_dtype(array.dtype).as_datatype_enum
            for size in array.shape:
                proto.tensor_shape.dim.add(size=size)
            field = proto.float_val if array.dtype == np.float32 else proto.int_val
            field.extend(array.ravel().tolist())
        return answer


@contextlib.contextmanager
def serving(name: str, saved_model: Path) -> Iterator[tuple[Service, dict[str, str]]]:
    """The service, and its addresses by scheme."""
    service = Service(name, saved_model)

    class Rest(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model = self.path.removeprefix("/v1/models/").removesuffix(":predict")
            try:
                out = service.outputs(model, asked["signature_name"], asked["inputs"])
                told, status = {name: array.tolist() for name, array in out.items()}, 200
                body: Any = {"outputs": told if len(told) > 1 else next(iter(told.values()))}
            except Exception as error:
                body, status = {"error": str(error)}, 404
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with ThreadingHTTPServer(("127.0.0.1", 0), Rest) as rest:
        threading.Thread(target=rest.serve_forever, daemon=True).start()
        try:
            yield (
                service,
                {"grpc": f"grpc://127.0.0.1:{port}", "http": f"http://127.0.0.1:{rest.server_port}/"},
            )
        finally:
            rest.shutdown()
            server.stop(0).wait()
