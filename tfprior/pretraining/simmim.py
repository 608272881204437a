"""SimMIM (Xie et al. 2021, "A Simple Framework for Masked Image Modeling", arXiv:2111.09886).

Shapes: B batch · H W C image · N patches · U units · D features of a patch · M places of the encoder's map.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfprior.encoders.base import Encoder
from tfprior.encoders.weights_parts import Part
from tfprior.layers.pointwise_dense import PointwiseDense
from tfprior.pretraining.base import MaskedImageModel, Predicted
from tfprior.pretraining.masking import ranks_of
from tfprior.pretraining.published_weights import simmim_parts


@keras.saving.register_keras_serializable("tfprior")
class SimMIM(MaskedImageModel):
    """Any encoder over all patches, hidden ones as one learned token, and pixels by one linear layer.

        image ── patches ── hidden ones ← mask token ── encoder ── dense ── pixels, s × s of each place

    Each image has a mask of its own. The loss is the mean absolute error of hidden pixels, `hidden_mae`.

    Args:
        encoder: a ViT or a Swin.
        mask_ratio: share of units that is hidden, rounded up.
        unit_size: side of a unit in pixels; a multiple of the encoder's patch that divides the images.
        mean, std: of the images' channels, in [0, 1]; see `ImageScaling`.

    Raises:
        ValueError: for a ratio that hides nothing or all, and units that do not fit.
    """

    error_name = "hidden_mae"

    def __init__(
        self,
        encoder: Encoder,
        mask_ratio: float = 0.6,
        unit_size: int = 32,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(encoder, unit_size, mask_ratio, False, mean, std, **kwargs)
        self.head = PointwiseDense(self.num_pixels, name="head", dtype=self.dtype_policy)
        self.build()

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        small = keras.initializers.TruncatedNormal(stddev=0.02)
        self.mask_token = self.add_weight((self.encoder.hidden_dim,), small, name="mask_token")
        self.head.build((None, None, self.encoder.num_features))
        self.built = True

    def mask(self, noise: Any, count: Any, training: bool) -> Any:
        return self.noise_for(count, training) if noise is None else noise

    def predict_hidden(self, images: Any, mask: Any) -> Predicted:
        hidden = ranks_of(mask) >= self.num_visible  # (B, U)
        tokens = self.encoder.tokens_of(images)  # (B, N, D)
        token = ops.cast(self.mask_token, tokens.dtype)
        tokens = ops.where(self.of_patches(hidden)[..., None], token, tokens)
        features = self.encoder.encode(self.encoder.placed(tokens))
        return Predicted(self.head(features[:, self.encoder.num_class_tokens :]), hidden)

    def of_patches(self, of_units: Any) -> Any:
        """What units have (B, U), of the patches in them: (B, N)."""
        patches = self.unit_size // self.encoder.patch_size
        (down, across), (height, width) = self.unit_map, self.encoder.patch_map
        x = ops.reshape(of_units, (-1, down, 1, across, 1))
        x = ops.broadcast_to(x, (ops.shape(x)[0], down, patches, across, patches))
        return ops.reshape(x, (-1, height * width))

    def parts_around(self) -> list[Part]:
        """What others store beside the encoder's weights, for `load_safetensors`."""
        return list(simmim_parts(self))

    @staticmethod
    def error(differences: Any) -> Any:
        return ops.abs(differences)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unit_size": self.unit_size}
