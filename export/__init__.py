"""Bundles: a prior, or a tokenizer with its priors, as SavedModel and ONNX graphs with a manifest.

They serve runtimes without Keras or Python. `tfprior.export.client` needs numpy and onnxruntime only, so
nothing here loads before it is used.
"""

import importlib
from typing import Any

_EXPORTS = {
    "load_manifest": "tfprior.export.manifest_file",
    "save": "tfprior.export.bundle",
    "verify": "tfprior.export.verification",
}
_SUBMODULES = ("client",)

__all__ = ["client", "load_manifest", "save", "verify"]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
