"""VQ-VAE-2 (Razavi et al. 2019, arXiv:1906.00446).

Shapes: B batch · H W C image · h w bottom codes · F filters · D size of a vector · P parameters.
"""

from typing import Any

import keras
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.quantizers.base import Quantizer, serialize_part
from tfprior.tokenizers.base import Tokenized, Tokenizer
from tfprior.tokenizers.vq_vae import build_chain, chain, check_network, coarse_grid, convolutions, decoder


@keras.saving.register_keras_serializable("tfprior")
class VQVAE2(Tokenizer):
    """Two grids of codes: coarse ones for what spans the image, and fine ones that know them.

        image ── encoder ──────────┬─────────── 1×1 ─ bottom quantizer ──┐
                                   ▼             ▲                       │
                               encoder ↓2     decoder ↑2                 ├─ decoder ── params
                                   │             │                       │
                                   └─ top quantizer ─── nearest ↑2 ──────┘

    Codes are a list [top (B, h / 2, w / 2, G), bottom (B, h, w, G)]. A prior of the bottom ones takes
    `condition_map(top)` as its spatial condition.

    Args:
        image_shape: (H, W, C); H and W divisible by 2 · `downsampling`.
        top_quantizer: of tfprior.quantizers, for the coarse codes.
        bottom_quantizer: of tfprior.quantizers, for the fine ones.
        distribution: of a pixel given the codes.
        downsampling: pixels of the image for each bottom code, along each axis: a power of 2.
        filters: features inside, F.
        num_residual_blocks: of each encoder and decoder.
        residual_filters: features inside a residual block.

    Raises:
        ValueError: for options out of range, or an image that does not halve as often as it should.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        top_quantizer: Quantizer,
        bottom_quantizer: Quantizer,
        distribution: OutputDistribution,
        downsampling: int = 4,
        filters: int = 128,
        num_residual_blocks: int = 2,
        residual_filters: int = 32,
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        check_network(name, downsampling, filters, num_residual_blocks, residual_filters)
        height, width = coarse_grid(name, image_shape, 2 * downsampling)
        super().__init__(
            image_shape,
            distribution,
            [top_quantizer, bottom_quantizer],
            [(height, width), (2 * height, 2 * width)],
            **kwargs,
        )
        self.top_quantizer = top_quantizer
        self.bottom_quantizer = bottom_quantizer
        self.downsampling = downsampling
        self.filters = filters
        self.num_residual_blocks = num_residual_blocks
        self.residual_filters = residual_filters

        num_halvings = downsampling.bit_length() - 1
        blocks = (filters, num_residual_blocks, residual_filters, self.dtype_policy)
        top_dim, bottom_dim = top_quantizer.code_dim, bottom_quantizer.code_dim
        num_params = distribution.num_params(self.image_shape[2])
        self.bottom_encoder = convolutions(num_halvings, filters, *blocks)
        self.top_encoder = convolutions(1, top_dim, *blocks)
        self.top_decoder = decoder(1, filters, *blocks)
        self.to_bottom = keras.layers.Conv2D(bottom_dim, 1, dtype=self.dtype_policy)
        self.decoder = decoder(num_halvings, num_params, *blocks)
        self.build()

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        (height, width, _), (h, w, _) = self.code_shapes
        top, bottom = self.top_quantizer.code_dim, self.bottom_quantizer.code_dim
        build_chain(self.bottom_encoder, (None, *self.image_shape))
        build_chain(self.top_encoder, (None, h, w, self.filters))
        self.top_quantizer.build((None, height, width, top))
        build_chain(self.top_decoder, (None, height, width, top))
        self.to_bottom.build((None, h, w, 2 * self.filters))
        self.bottom_quantizer.build((None, h, w, bottom))
        build_chain(self.decoder, (None, h, w, top + bottom))
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Tokenized:
        images, _ = self.unpack(inputs)
        fine, coarse = self.features(images)
        top = self.top_quantizer(coarse, training=training)
        bottom = self.bottom_quantizer(self.bottom_features(fine, top.quantized), training=training)
        return Tokenized(
            chain(self.decoder, ops.concatenate([upsampled(top.quantized), bottom.quantized], axis=3)),
            [top.codes, bottom.codes],
            top.loss + bottom.loss,
            [top.statistics, bottom.statistics],
        )

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images → fine features (B, h, w, F), and coarse ones to be quantized (B, h / 2, w / 2, D)."""
        fine = chain(self.bottom_encoder, self.scaled(images))
        return fine, chain(self.top_encoder, ops.relu(fine))

    def bottom_features(self, fine: Tensor, top: Tensor) -> Tensor:
        """What the bottom codes stand for, given the quantized top: (B, h, w, D)."""
        return self.to_bottom(ops.concatenate([fine, chain(self.top_decoder, top)], axis=3))

    def encode_batch(self, images: Tensor) -> list[Tensor]:
        fine, coarse = self.features(images)
        top = self.top_quantizer.encode(coarse)
        bottom = self.bottom_features(fine, self.top_quantizer.decode(top))
        return [top, self.bottom_quantizer.encode(bottom)]

    def params(self, codes: list[Tensor]) -> Tensor:
        top, bottom = codes
        vectors = [upsampled(self.top_quantizer.decode(top)), self.bottom_quantizer.decode(bottom)]
        return chain(self.decoder, ops.concatenate(vectors, axis=3))

    @property
    def condition_shapes(self) -> list[tuple[int, ...] | None]:
        return [None, (*self.code_shapes[1][:2], self.top_quantizer.code_dim)]

    def condition_map(self, top: Tensor) -> Tensor:
        """Top codes (B, h / 2, w / 2, G) → a spatial condition for the bottom ones (B, h, w, D) float32."""
        return upsampled(self.top_quantizer.decode(top))

    def initialize(self, inputs: Any) -> None:
        """Sets the codebooks that nothing has set yet from a batch of images, as `fit` does with its first.

        Raises:
            ValueError: for no images, or images of the wrong shape, type or range.
        """
        images, _ = self.unpack(self.checked_batch(inputs))
        fine, coarse = self.features(images)
        if self.top_quantizer.needs_initialization:
            self.top_quantizer.initialize(coarse)
        if self.bottom_quantizer.needs_initialization:
            top = self.top_quantizer.decode(self.top_quantizer.encode(coarse))
            self.bottom_quantizer.initialize(self.bottom_features(fine, top))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "top_quantizer": serialize_part(self.top_quantizer),
            "bottom_quantizer": serialize_part(self.bottom_quantizer),
            "downsampling": self.downsampling,
            "filters": self.filters,
            "num_residual_blocks": self.num_residual_blocks,
            "residual_filters": self.residual_filters,
        }


def upsampled(x: Tensor) -> Tensor:
    """Every vector four times: (B, h, w, D) → (B, 2h, 2w, D)."""
    height, width, size = x.shape[1:]
    x = ops.reshape(x, (-1, height, 1, width, 1, size))
    x = ops.concatenate([x, x], axis=2)
    return ops.reshape(ops.concatenate([x, x], axis=4), (-1, 2 * height, 2 * width, size))
