"""A bundle whose SavedModel TensorFlow Serving runs: sampled over REST or gRPC, without TensorFlow here.

    sampler = ServingSampler("my_prior", "http://localhost:8501")   # or "grpc://localhost:8500"
    images = sampler.sample(16, seed=0)

`sample` is one request: the state of a step would travel for every pixel.
"""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from tfprior.export.arrays import Arrays
from tfprior.export.checks import BundleError
from tfprior.export.manifest_file import load_manifest
from tfprior.export.onnx_generator import OnnxGenerator
from tfprior.export.onnx_sampler import OnnxSampler
from tfprior.export.ports import PortDescription, argument
from tfprior.export.tensor_protos import predict_request, predict_response

PREDICT = "/tensorflow.serving.PredictionService/Predict"
MOST_BYTES = 2**30


class ServingFunctions:
    """A bundle's functions as signatures of a model that a server holds.

    Args:
        path: the bundle, of which the manifest alone is read.
        address: http://HOST:PORT of the server's REST API, or grpc://HOST:PORT.
        model: its name there; that of the bundle's folder when left out.
        timeout: seconds of a request.

    Raises:
        BundleError: for a bundle that is missing, damaged or newer, or without a SavedModel.
        ValueError: for another kind of address.
    """

    def __init__(self, path: str | Path, address: str, model: str | None = None, timeout: float = 60) -> None:
        self.path, self.manifest = Path(path), load_manifest(path)
        if not any(file.path.startswith("saved_model/") for file in self.manifest.files):
            raise BundleError(
                f"The bundle {path} holds no SavedModel; export it with formats=('saved_model',)."
            )
        self.model, self.timeout = model or self.path.resolve().name, timeout
        scheme, _, host = address.rstrip("/").partition("://")
        if scheme not in ("http", "https", "grpc") or not host:
            raise ValueError(f"address={address!r}; expected http://HOST:PORT or grpc://HOST:PORT.")
        self.address = address.rstrip("/")
        self._ask = self._rest
        if scheme == "grpc":
            import grpc

            self._channel = grpc.insecure_channel(
                host,
                options=[
                    ("grpc.max_receive_message_length", MOST_BYTES),
                    ("grpc.max_send_message_length", MOST_BYTES),
                ],
            )
            self._ask = self._grpc

    def run(self, function: str, arrays: Arrays) -> Arrays:
        """Runs one function; arrays that it does not take are left out.

        Raises:
            BundleError: for arrays of another shape or type than the manifest says.
            ConnectionError: where the server does not answer, or says that it cannot.
        """
        described = self.manifest.functions[function]
        out = self._ask(
            function, {argument(port.name): arrays[port.name] for port in described.inputs}, described.outputs
        )
        batch = len(arrays[described.inputs[0].name])
        for port in described.outputs:
            array = out.get(port.name)
            if array is None or array.dtype != port.dtype or not port.fits(array.shape, batch):
                raise BundleError(
                    f"The model {self.model} at {self.address} gives {port.name} of {function!r} as "
                    f"{None if array is None else (str(array.dtype), array.shape)}; expected {port.dtype} "
                    f"{(batch, *port.sizes)}: it is not that of the bundle {self.path}."
                )
        return out

    def open(self, function: str) -> None:
        """Nothing: the server holds the functions."""

    check_file = open

    def _rest(self, function: str, inputs: Arrays, outputs: tuple[PortDescription, ...]) -> Arrays:
        body = {
            "signature_name": function,
            "inputs": {name: array.tolist() for name, array in inputs.items()},
        }
        if any(not array.size for array in inputs.values()):
            raise ValueError(
                f"{function!r} takes arrays without any numbers, whose shapes JSON cannot tell: use grpc://."
            )
        request = urllib.request.Request(
            f"{self.address}/v1/models/{self.model}:predict",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                told = json.loads(answer.read(MOST_BYTES))["outputs"]
            if len(outputs) == 1:
                told = {argument(outputs[0].name): told}
            return {port.name: np.asarray(told[argument(port.name)], port.dtype) for port in outputs}
        except urllib.error.HTTPError as error:
            raise self._failed(function, error.read(2000).decode(errors="replace")) from error
        except (OSError, ValueError, LookupError, TypeError, OverflowError) as error:
            raise self._failed(function, error) from error

    def _grpc(self, function: str, inputs: Arrays, outputs: tuple[PortDescription, ...]) -> Arrays:
        import grpc

        ask = self._channel.unary_unary(PREDICT)
        try:
            told = predict_response(ask(predict_request(self.model, function, inputs), timeout=self.timeout))
        except grpc.RpcError as error:
            raise self._failed(function, error.details()) from error
        except ValueError as error:
            raise self._failed(function, error) from error
        return {port.name: told[argument(port.name)] for port in outputs if argument(port.name) in told}

    def _failed(self, function: str, why: Any) -> ConnectionError:
        words = " ".join(str(why).split())[:300]
        return ConnectionError(f"{self.address} does not run {function!r} of the model {self.model}: {words}")


class ServingSampler(OnnxSampler):
    """Draws from a prior that TensorFlow Serving runs, as `OnnxSampler` does from its bundle.

    Args:
        path: the bundle.
        address: http://HOST:PORT, or grpc://HOST:PORT.
        model: the server's name of it; that of the bundle's folder when left out.
        timeout: seconds of a request.
        prefix: of the prior, where the bundle holds several.

    Raises:
        BundleError: for a bundle that is missing, damaged or newer, or without a SavedModel.
        ValueError: for another kind of address.
    """

    def __init__(
        self,
        path: str | Path,
        address: str,
        model: str | None = None,
        timeout: float = 60,
        prefix: str = "",
    ) -> None:
        self._hold(ServingFunctions(path, address, model, timeout), threads=1, prefix=prefix)
        self.methods.sort(key=lambda method: method != "loop")  # one request


class ServingGenerator(OnnxGenerator):
    """Images from a bundle with a tokenizer that TensorFlow Serving runs; arguments: `ServingSampler`."""

    def __init__(self, path: str | Path, address: str, model: str | None = None, timeout: float = 60) -> None:
        functions = ServingFunctions(path, address, model, timeout)
        self._hold(functions, lambda prefix: ServingSampler(path, address, model, timeout, prefix))
