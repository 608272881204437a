"""Quantizers: vectors to codes and back."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["Quantizer"],
        "finite_scalar": ["FiniteScalarQuantizer"],
        "lookup_free": ["LookupFreeQuantizer"],
        "product": ["ProductQuantizer"],
        "residual": ["ResidualVectorQuantizer"],
        "vector": ["VectorQuantizer"],
    },
)
