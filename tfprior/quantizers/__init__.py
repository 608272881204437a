"""Quantizers: vectors to codes and back.

One import registers all of them with Keras, so that a file with quantizers in it can be loaded.
"""

from tfprior.quantizers.base import Quantizer
from tfprior.quantizers.finite_scalar import FiniteScalarQuantizer
from tfprior.quantizers.lookup_free import LookupFreeQuantizer
from tfprior.quantizers.product import ProductQuantizer
from tfprior.quantizers.residual import ResidualVectorQuantizer
from tfprior.quantizers.vector import VectorQuantizer

__all__ = [
    "FiniteScalarQuantizer",
    "LookupFreeQuantizer",
    "ProductQuantizer",
    "Quantizer",
    "ResidualVectorQuantizer",
    "VectorQuantizer",
]
