"""Priors: p(values | condition) over integer grids, defined once and run two ways."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "any_order_transformer": ["AnyOrderTransformer"],
        "autoregressive": ["AutoregressivePrior"],
        "base": ["Prior"],
        "causal_transformer": ["CausalTransformer"],
        "encoder_decoder_transformer": ["EncoderDecoderTransformer"],
        "gated_pixel_cnn": ["GatedPixelCNN"],
        "masked": ["MaskedPrior"],
        "masked_transformer": ["MaskedTransformer"],
        "pixel_cnn": ["PixelCNN"],
        "pixelcnn_pp": ["PixelCNNPP"],
        "raster": ["RasterPrior"],
        "transformer": ["TransformerPrior"],
    },
)
