"""Small quantizers for tests, one of each kind.

Shapes: N vectors · D their size · K codes · G codes of a vector.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from tfprior.quantizers import (
    FiniteScalarQuantizer,
    LookupFreeQuantizer,
    ProductQuantizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
)

SMALL = {
    "vector": lambda **options: VectorQuantizer(8, 6, **options),
    "cosine": lambda **options: VectorQuantizer(
        8, 6, metric="cosine", gradient="rotation", entropy_weight=0.1, **options
    ),
    "gradients": lambda **options: VectorQuantizer(8, 6, decay=None, restart_below=None, **options),
    "residual": lambda **options: ResidualVectorQuantizer(
        [VectorQuantizer(8, 6) for _ in range(3)], **options
    ),
    "product": lambda **options: ProductQuantizer([VectorQuantizer(8, 2), VectorQuantizer(8, 4)], **options),
    "finite": lambda **options: FiniteScalarQuantizer((4, 3, 2, 2, 5, 2), **options),
    "lookup-free": lambda **options: LookupFreeQuantizer(6, **options),
}
WITH_CODEBOOK = ("vector", "cosine", "gradients", "residual", "product")


def with_codebook(codebook: Any, **options: Any) -> VectorQuantizer:
    """A vector quantizer with this codebook, without restarts, that `update` alone moves."""
    codebook = np.asarray(codebook, "float32")
    defaults = {"restart_below": None, "initialization": "uniform"}
    layer = VectorQuantizer(*codebook.shape, **{**defaults, **options})
    layer.learns_by_itself = False
    layer.build((None, codebook.shape[1]))
    layer._codebook.assign(codebook)
    return layer


def initialized(name: str, x: np.ndarray, **options: Any) -> Any:
    """One of `SMALL`, its codebooks set from vectors."""
    layer = SMALL[name](**options)
    layer.initialize(x)
    return layer


def gradient(function: Any, at: Any) -> np.ndarray:
    x = tf.convert_to_tensor(at)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return np.asarray(tape.gradient(y, x))


def counts_of(codes: Any, size: int) -> np.ndarray:
    """How often each code occurs (G, K)."""
    flat = np.asarray(codes).reshape(-1, codes.shape[-1])
    return np.stack([np.bincount(column, minlength=size) for column in flat.T]).astype("float32")


def contents(layer: Any) -> list[bytes]:
    """The bytes of all variables, those of random generators too."""
    return [np.asarray(variable.value).tobytes() for variable in layer.variables]
