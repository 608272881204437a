"""Causal layers on rasters, which run over a whole image or one step at a time, and quantizers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "causal_conv": ["CausalConv2D"],
        "finite_scalar_quantizer": ["FiniteScalarQuantizer"],
        "gated": ["GatedActivation", "GatedBlock"],
        "gated_resnet": ["GatedResNet"],
        "lookup_free_quantizer": ["LookupFreeQuantizer"],
        "masked_conv": ["MaskedConv2D"],
        "masked_dense": ["MaskedDense"],
        "product_quantizer": ["ProductQuantizer"],
        "quantizer": ["Quantizer"],
        "residual": ["ResidualBlock"],
        "residual_quantizer": ["ResidualVectorQuantizer"],
        "shifted_conv": ["ShiftedConv2D", "ShiftedConv2DTranspose"],
        "value_encoding": ["ValueEncoding"],
        "vector_quantizer": ["VectorQuantizer"],
        "weight_norm": ["WeightNormDense"],
    },
)
