"""MAE (He et al. 2021, "Masked Autoencoders Are Scalable Vision Learners", arXiv:2111.06377).

Shapes: B batch · H W C image · N patches · V of them visible · P class tokens · D features.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfprior.encoders.vit import ViT
from tfprior.encoders.weights_parts import Part
from tfprior.pretraining.base import Predicted
from tfprior.pretraining.decoded import DecodedImageModel
from tfprior.pretraining.masking import ranks_of, rows_at
from tfprior.pretraining.published_weights import decoder_parts


@keras.saving.register_keras_serializable("tfprior")
class MAE(DecodedImageModel):
    """A ViT over the visible quarter of patches, and a shallow decoder over all of them.

        image ── patches + positions ── visible ones ── ViT ── + mask tokens ── decoder ── pixels

    Each image has a mask of its own. The loss is the mean square error of hidden patches, `hidden_mse`.

    Args:
        encoder: a ViT; in the paper with sin and cos positions.
        mask_ratio: share of patches that is hidden.
        decoder_dim: features of the decoder, a multiple of 4.
        decoder_layers: its blocks.
        decoder_heads: heads of attention in each of them.
        norm_pix: whether pixels are predicted relative to the mean and deviation of their patch.
        mean, std: of the images' channels, in [0, 1]; see `ImageScaling`.

    Raises:
        ValueError: for another encoder, a ratio that hides nothing or all, and sizes out of range.
    """

    def __init__(
        self,
        encoder: ViT,
        mask_ratio: float = 0.75,
        decoder_dim: int = 512,
        decoder_layers: int = 8,
        decoder_heads: int = 16,
        norm_pix: bool = True,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(encoder, ViT):
            raise ValueError(
                f"MAE got a {type(encoder).__name__}; expected a ViT, which takes any patches: GreenMIM does "
                "this with a Swin."
            )
        sizes = (decoder_dim, decoder_layers, decoder_heads)
        super().__init__(encoder, encoder.patch_size, mask_ratio, *sizes, norm_pix, mean, std, **kwargs)
        self.build()

    def mask(self, noise: Any, count: Any, training: bool) -> Any:
        return self.noise_for(count, training) if noise is None else noise

    def predict_hidden(self, images: Any, mask: Any) -> Predicted:
        ranks = ranks_of(mask)  # (B, N)
        visible = ops.argsort(mask, axis=-1)[:, : self.num_visible]
        tokens = rows_at(self.encoder.embed(images), visible)  # (B, V, D)
        features = self.encoder.encode(tokens)  # (B, P + V, D)
        return Predicted(self.decoder(features, ranks), ranks >= self.num_visible)

    def parts_around(self) -> list[Part]:
        """What others store beside the encoder's weights, for `load_safetensors`."""
        return decoder_parts(self.decoder)
