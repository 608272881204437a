"""The ONNX functions of a bundle, run by name: NumPy and ONNX Runtime alone."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from tfprior.export.manifest import checked_file, load_manifest

Arrays = dict[str, np.ndarray]


class OnnxFunctions:
    """Named arrays in, named arrays out; a file is checked against the manifest before it is opened.

    Args:
        path: the bundle.
        threads: for a single operation.

    Raises:
        BundleError: for a bundle that is missing, damaged or newer.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        self.path = Path(path)
        self.manifest = load_manifest(path)
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def __contains__(self, function: str) -> bool:
        return function in self.manifest["functions"]

    def run(self, function: str, arrays: Arrays) -> Arrays:
        """Runs one function; arrays that it does not take are left out."""
        names = [port["name"] for port in self.manifest["functions"][function]["outputs"]]
        feeds = {name: arrays[name] for name in self._inputs(function) if name in arrays}
        return dict(zip(names, self.session(function).run(names, feeds), strict=True))

    def session(self, function: str) -> onnxruntime.InferenceSession:
        """The opened function.

        Raises:
            BundleError: for a file that is missing or changed.
        """
        if function not in self._sessions:
            file = checked_file(self.path, self.manifest, f"onnx/{function}.onnx")
            self._sessions[function] = onnxruntime.InferenceSession(
                str(file), self._options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[function]

    def zeros(self, function: str, name: str, batch: int) -> np.ndarray:
        """What an input is at first where it is all zeros: (batch, …) float32."""
        return np.zeros((batch, *self._inputs(function)[name][1:]), "float32")

    def _inputs(self, function: str) -> dict[str, list[Any]]:
        return {port["name"]: port["shape"] for port in self.manifest["functions"][function]["inputs"]}
