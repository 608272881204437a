"""VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937).

Shapes: B batch · H W C image · h w codes · F filters · D size of a code's vector · P parameters of a pixel.
"""

from typing import Any

import keras
from keras import ops
from keras.layers import Conv2D, Conv2DTranspose, ReLU

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.encoders import Encoder
from tfprior.inputs import check_grid_shape, check_sizes, is_integer
from tfprior.quantizers.base import Quantizer, serialize_part
from tfprior.tokenizers.base import Tokenized, Tokenizer


@keras.saving.register_keras_serializable("tfprior")
class VQVAE(Tokenizer):
    """Strided convolutions and residual blocks around a quantizer.

        image ── 4×4 ↓2 ─ … ─ 3×3 ─ residual blocks ─ 1×1 ──┐
                                                        quantizer
        params ─ 4×4 ↑2 ─ … ─ residual blocks ─ 3×3 ────────┘

    An encoder given, a `ViT` for example, stands in place of all before the 1×1: of its patches a code each.

    Args:
        image_shape: (H, W, C); H and W divisible by `downsampling`.
        quantizer: of tfprior.quantizers, for example `VectorQuantizer(512, 64)`.
        distribution: of a pixel given the codes.
        downsampling: pixels of the image for each code, along each axis: a power of 2.
        filters: features inside, F.
        num_residual_blocks: residual blocks on each side of the quantizer.
        residual_filters: features inside a residual block.
        encoder: of images of this shape, to a map of features as large as the grid of codes; it gets levels
            scaled to [−1, 1]. Convolutions when left out.

    Raises:
        ValueError: for options out of range, an image that does not halve as often as it should, and an
            encoder of other images or another map.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        quantizer: Quantizer,
        distribution: OutputDistribution,
        downsampling: int = 4,
        filters: int = 128,
        num_residual_blocks: int = 2,
        residual_filters: int = 32,
        encoder: Encoder | None = None,
        **kwargs: Any,
    ) -> None:
        check_network("VQVAE", downsampling, filters, num_residual_blocks, residual_filters)
        grid = coarse_grid("VQVAE", image_shape, downsampling)
        super().__init__(image_shape, distribution, [quantizer], [grid], **kwargs)
        self.quantizer = quantizer
        (self.code_shape,), (self.codebook_size,) = self.code_shapes, self.codebook_sizes
        self.downsampling = downsampling
        self.filters = filters
        self.num_residual_blocks = num_residual_blocks
        self.residual_filters = residual_filters

        num_halvings = downsampling.bit_length() - 1
        blocks = (filters, num_residual_blocks, residual_filters, self.dtype_policy)
        self.backbone = encoder
        self.encoder = (
            convolutions(num_halvings, quantizer.code_dim, *blocks)
            if encoder is None
            else of_map(check_encoder(encoder, self.image_shape, grid), quantizer.code_dim, self.dtype_policy)
        )
        num_params = distribution.num_params(self.image_shape[2])
        self.decoder = decoder(num_halvings, num_params, *blocks)
        self.build()

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        vectors = (None, *self.code_shape[:2], self.quantizer.code_dim)
        build_chain(self.encoder, (None, *self.image_shape))
        self.quantizer.build(vectors)
        build_chain(self.decoder, vectors)
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Tokenized:
        images, _ = self.unpack(inputs)
        quantized = self.quantizer(self.features(images), training=training)
        params = chain(self.decoder, quantized.quantized)
        return Tokenized(params, quantized.codes, quantized.loss, [quantized.statistics])

    def features(self, images: Tensor) -> Tensor:
        """What is quantized: images (B, H, W, C) → (B, h, w, D)."""
        return chain(self.encoder, self.scaled(images))

    def encode_batch(self, images: Tensor) -> Tensor:
        return self.quantizer.encode(self.features(images))

    def params(self, codes: Tensor) -> Tensor:
        return chain(self.decoder, self.quantizer.decode(codes))

    def initialize(self, inputs: Any) -> None:
        """Sets the codebook from a batch of images, as `fit` does with its first one, unless it has been set.

        Raises:
            ValueError: for no images, or images of the wrong shape, type or range.
        """
        images, _ = self.unpack(self.checked_batch(inputs))
        if self.quantizer.needs_initialization:
            self.quantizer.initialize(self.features(images))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "quantizer": serialize_part(self.quantizer),
            "downsampling": self.downsampling,
            "filters": self.filters,
            "num_residual_blocks": self.num_residual_blocks,
            "residual_filters": self.residual_filters,
            "encoder": keras.saving.serialize_keras_object(self.backbone),
        }


def check_encoder(encoder: Any, image_shape: tuple[int, int, int], grid: tuple[int, int]) -> Encoder:
    """The encoder, or ValueError unless it makes maps of such a grid of such images."""
    if not isinstance(encoder, Encoder):
        raise ValueError(f"VQVAE got encoder={encoder!r}; expected one of tfprior.encoders.")
    if encoder.image_shape != image_shape or encoder.feature_size != grid:
        maps = " × ".join(map(str, encoder.feature_size))
        raise ValueError(
            f"VQVAE got an encoder from images {encoder.image_shape} to maps of {maps}; expected images "
            f"{image_shape} and maps of {' × '.join(map(str, grid))}: downsampling is the patch of a ViT."
        )
    return encoder


def check_network(
    name: str, downsampling: int, filters: int, num_residual_blocks: int, residual_filters: int
) -> None:
    """Raises ValueError for options out of range."""
    if not is_integer(downsampling) or downsampling not in (2**power for power in range(16)):
        raise ValueError(f"{name} got downsampling={downsampling!r}; expected a power of 2: 1, 2, 4, ….")
    check_sizes(name, filters=filters, residual_filters=residual_filters)
    check_sizes(name, least=0, num_residual_blocks=num_residual_blocks)


def coarse_grid(name: str, image_shape: tuple[int, int, int], downsampling: int) -> tuple[int, int]:
    """The image's (H, W) after downsampling.

    Raises:
        ValueError: where that is no whole number.
    """
    height, width, _ = check_grid_shape(image_shape)
    if height % downsampling or width % downsampling:
        raise ValueError(
            f"{name} got images of {height} × {width}, to be downsampled {downsampling} times; expected "
            "height and width divisible by it: crop or pad the images, or downsample less."
        )
    return height // downsampling, width // downsampling


class ResidualUnit(keras.layers.Layer):
    """x + 1×1(relu(3×3(relu(x)))): (…, F) → (…, F)."""

    def __init__(self, filters: int, hidden: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inner = Conv2D(hidden, 3, padding="same", activation="relu", dtype=self.dtype_policy)
        self.outer = Conv2D(filters, 1, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self.inner.build(input_shape)
        self.outer.build((*input_shape[:-1], self.inner.filters))
        self.built = True

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape

    def call(self, inputs: Any) -> Any:
        return inputs + self.outer(self.inner(ops.relu(inputs)))


def residual_blocks(filters: int, count: int, hidden: int, dtype: Any) -> list[keras.layers.Layer]:
    return [*(ResidualUnit(filters, hidden, dtype=dtype) for _ in range(count)), ReLU(dtype=dtype)]


class FeatureMap(keras.layers.Layer):
    """Images (B, H, W, C) → the map (B, h, w, D) of an encoder's features, without class tokens."""

    def __init__(self, encoder: Encoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self.built = True

    def call(self, images: Any) -> Any:
        return self.encoder.map_of(self.encoder(images))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape[0], *self.encoder.feature_size, self.encoder.num_features


def of_map(encoder: Encoder, code_dim: int, dtype: Any) -> list[keras.layers.Layer]:
    """Images (B, H, W, C) → (B, h, w, D), by an encoder."""
    return [FeatureMap(encoder, dtype=dtype), Conv2D(code_dim, 1, dtype=dtype)]


def convolutions(
    num_halvings: int, code_dim: int, filters: int, num_blocks: int, hidden: int, dtype: Any
) -> list[keras.layers.Layer]:
    """Images (B, H, W, C) → (B, h, w, D)."""
    down = [
        Conv2D(filters, 4, strides=2, padding="same", activation="relu", dtype=dtype)
        for _ in range(num_halvings)
    ]
    return [
        *down,
        Conv2D(filters, 3, padding="same", dtype=dtype),
        *residual_blocks(filters, num_blocks, hidden, dtype),
        Conv2D(code_dim, 1, dtype=dtype),
    ]


def decoder(
    num_halvings: int, num_params: int, filters: int, num_blocks: int, hidden: int, dtype: Any
) -> list[keras.layers.Layer]:
    """Quantized vectors (B, h, w, D) → parameters (B, H, W, P)."""
    up = [
        Conv2DTranspose(filters, 4, strides=2, padding="same", activation="relu", dtype=dtype)
        for _ in range(num_halvings - 1)
    ]
    last = (
        Conv2DTranspose(num_params, 4, strides=2, padding="same", dtype=dtype)
        if num_halvings
        else Conv2D(num_params, 3, padding="same", dtype=dtype)
    )
    return [
        Conv2D(filters, 3, padding="same", dtype=dtype),
        *residual_blocks(filters, num_blocks, hidden, dtype),
        *up,
        last,
    ]


def chain(layers: list[keras.layers.Layer], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def build_chain(layers: list[keras.layers.Layer], shape: tuple[Any, ...]) -> None:
    for layer in layers:
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
