"""What MAE and GreenMIM are: an encoder of what is visible alone, and a decoder that meets the rest."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from tfprior.encoders.base import Encoder
from tfprior.pretraining.base import MaskedImageModel
from tfprior.pretraining.decoder import PatchDecoder


class DecodedImageModel(MaskedImageModel):
    """A `MaskedImageModel` with a `PatchDecoder`, whose loss is the mean square error of hidden pixels.

    Args:
        encoder, unit_size, mask_ratio, norm_pix, mean, std: of `MaskedImageModel`.
        decoder_dim: features of the decoder, a multiple of 4.
        decoder_layers: its blocks.
        decoder_heads: heads of attention in each of them.

    Raises:
        ValueError: as `MaskedImageModel` does, and for sizes out of range.
    """

    error_name = "hidden_mse"

    def __init__(
        self,
        encoder: Encoder,
        unit_size: int,
        mask_ratio: float,
        decoder_dim: int,
        decoder_layers: int,
        decoder_heads: int,
        norm_pix: bool,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, unit_size, mask_ratio, norm_pix, mean, std, **kwargs)
        self.decoder_dim = decoder_dim
        self.decoder_layers = decoder_layers
        self.decoder_heads = decoder_heads
        self.decoder = PatchDecoder(
            encoder.feature_size,
            encoder.num_class_tokens,
            decoder_dim,
            decoder_layers,
            decoder_heads,
            self.num_pixels,
            encoder.epsilon,
            name="decoder",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        self.decoder.build((None, None, self.encoder.num_features))
        self.built = True

    @staticmethod
    def error(differences: Any) -> Any:
        return ops.square(differences)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "decoder_dim": self.decoder_dim,
            "decoder_layers": self.decoder_layers,
            "decoder_heads": self.decoder_heads,
            "norm_pix": self.norm_pix,
        }
