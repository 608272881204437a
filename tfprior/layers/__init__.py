"""Causal layers on rasters, which run over a whole image or one step at a time."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "causal_conv": ["CausalConv2D"],
        "gated": ["GatedActivation", "GatedBlock"],
        "gated_resnet": ["GatedResNet"],
        "masked_conv": ["MaskedConv2D"],
        "masked_dense": ["MaskedDense"],
        "residual": ["ResidualBlock"],
        "shifted_conv": ["ShiftedConv2D", "ShiftedConv2DTranspose"],
        "streaming": ["empty_state"],
        "value_encoding": ["OUTSIDE", "ValueEncoding"],
        "weight_norm": ["WeightNormDense"],
    },
)
