"""The runtimes that a bundle's functions are tried in."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tfprior.export.arrays import Run
from tfprior.export.manifest import Manifest
from tfprior.export.manifest_file import checked_files
from tfprior.export.onnx_functions import OnnxFunctions


class Runtime(NamedTuple):
    """Opens a bundle's functions of one format; `module` and `extra` are what it needs installed."""

    title: str
    format: str
    module: str
    extra: str | None
    open: Callable[[Path, Manifest], Run]

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None

    @property
    def missing(self) -> str:
        """Why it is not there, and the remedy."""
        remedy = "" if self.extra is None else f" (pip install 'tfprior[{self.extra}]')"
        return f"{self.title} is not installed{remedy}"


def _onnx(path: Path, manifest: Manifest) -> Run:
    return OnnxFunctions(path, threads=1).run


def _saved_model(path: Path, manifest: Manifest) -> Run:
    from tfprior.export.saved_model import open_saved_model

    return open_saved_model(checked_files(path, manifest, "saved_model") / "1", manifest.functions)


def _litert(path: Path, manifest: Manifest) -> Run:
    from tfprior.export.litert import open_litert

    checked_files(path, manifest, "litert")
    return open_litert(path, manifest)


def _openvino(path: Path, manifest: Manifest) -> Run:
    from tfprior.export.openvino_functions import open_openvino

    return open_openvino(path, manifest)


RUNTIMES = {
    "onnx": Runtime("ONNX Runtime", "onnx", "onnxruntime", None, _onnx),
    "saved_model": Runtime("TensorFlow", "saved_model", "tensorflow", None, _saved_model),
    "litert": Runtime("LiteRT", "litert", "ai_edge_litert", "litert", _litert),
    "openvino": Runtime("OpenVINO", "onnx", "openvino", "openvino", _openvino),
}
"""By the names that `verify` knows them; the first ones are what each format is made for."""
USUAL = ("onnx", "saved_model", "litert")
