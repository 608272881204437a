"""Causal layers, which run over a whole image or sequence, or one step at a time; and those of encoders."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "attention": ["CausalSelfAttention", "MultiHeadAttention"],
        "causal_conv": ["CausalConv2D"],
        "feed_forward": ["FeedForward"],
        "gated": ["GatedActivation", "GatedBlock"],
        "gated_resnet": ["GatedResNet"],
        "image_scaling": ["ImageScaling"],
        "masked_conv": ["MaskedConv2D"],
        "masked_dense": ["MaskedDense"],
        "patch_merging": ["PatchMerging"],
        "patches": ["PatchEmbedding"],
        "residual": ["ResidualBlock"],
        "shifted_conv": ["ShiftedConv2D", "ShiftedConv2DTranspose"],
        "streaming": ["empty_state"],
        "swin_block": ["SwinBlock"],
        "transformer_block": ["TransformerBlock"],
        "value_encoding": ["OUTSIDE", "ValueEncoding"],
        "weight_norm": ["WeightNormDense"],
    },
)
