"""Discrete generative priors with exact likelihoods in Keras.

Submodules load on first use, so `import tfprior` stays light and `tfprior.export.client` runs where
neither Keras nor TensorFlow is installed. Saved models are found all the same: see `tfprior.registration`.
"""

import importlib
from typing import Any

from tfprior.registration import register_with_keras

__version__ = "0.1.0"

_SUBMODULES = (
    "bulk",
    "compression",
    "data",
    "distributions",
    "encoders",
    "export",
    "generator",
    "layers",
    "measuring",
    "pictures",
    "pretraining",
    "priors",
    "probing",
    "quantizers",
    "registry",
    "runs",
    "sampling",
    "tokenizers",
    "training",
)

__all__ = ["__version__", *_SUBMODULES]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


register_with_keras()
