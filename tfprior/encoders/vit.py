"""Vision Transformer (Dosovitskiy et al. 2020, "An Image Is Worth 16x16 Words", arXiv:2010.11929).

Shapes: B batch · H W C image · p side of a patch · h w = H / p, W / p · N = h · w patches · P class tokens, 0
or 1 · D features.
"""

from typing import Any, ClassVar, Literal, Self

import keras
import numpy as np
from keras import ops

from tfprior.encoders.base import Encoder, ImageShape, rates_by_depth
from tfprior.inputs import check_sizes
from tfprior.layers.feed_forward import Activation
from tfprior.layers.position_encodings import resized, sin_cos_2d
from tfprior.layers.transformer_block import TransformerBlock


def _sizes(patch_size: int, num_layers: int, num_heads: int, hidden_dim: int) -> dict[str, int]:
    return {
        "patch_size": patch_size,
        "num_layers": num_layers,
        "num_heads": num_heads,
        "hidden_dim": hidden_dim,
    }


@keras.saving.register_keras_serializable("tfprior")
class ViT(Encoder):
    """A Transformer over the patches of an image: (B, H, W, C) → (B, P + N, D).

        image ── patches ── embedding ── + positions ─┬─ blocks × num_layers ── norm ── features
                                         class token ─┘

    `encode` takes any of the patches, as MAE needs it.

    Args:
        image_shape: (H, W, C) of the images; H and W are multiples of the patch.
        patch_size: p.
        num_layers: blocks.
        num_heads: heads of attention in each of them.
        hidden_dim: D, a multiple of the heads.
        mlp_dim: features inside the feed-forward parts; 4 D when left out.
        use_class_token: whether there is one; it comes first.
        positions: "learned", or "sin_cos" of rows and columns, fixed, as in MAE (arXiv:2111.06377).
        activation: of the feed-forward parts; "gelu" is exact, as in all that was published.
        dropout: rate of dropout on tokens, attention, each part's result, and inside feed-forward parts.
        stochastic_depth: rate at which the last block's parts are left out in training; fewer before it.
        layer_scale: what each part's result is multiplied by at first, 1e-5 in DINOv2; none when left out.
        epsilon: of the norms; 1e-6 in the paper and in MAE, 1e-12 in Hugging Face's configuration.

    Raises:
        ValueError: for sizes out of range, images that do not divide into patches, features that do not
            split into heads, and unknown positions.
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny_16": _sizes(16, 12, 3, 192),
        "small_14": _sizes(14, 12, 6, 384),
        "small_16": _sizes(16, 12, 6, 384),
        "base_14": _sizes(14, 12, 12, 768),
        "base_16": _sizes(16, 12, 12, 768),
        "base_32": _sizes(32, 12, 12, 768),
        "large_14": _sizes(14, 24, 16, 1024),
        "large_16": _sizes(16, 24, 16, 1024),
        "large_32": _sizes(32, 24, 16, 1024),
        "huge_14": _sizes(14, 32, 16, 1280),
    }

    def __init__(
        self,
        image_shape: ImageShape = (224, 224, 3),
        patch_size: int = 16,
        num_layers: int = 12,
        num_heads: int = 12,
        hidden_dim: int = 768,
        mlp_dim: int | None = None,
        use_class_token: bool = True,
        positions: Literal["learned", "sin_cos"] = "learned",
        activation: Activation = "gelu",
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        layer_scale: float | None = None,
        epsilon: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, patch_size, hidden_dim, **kwargs)
        check_sizes("ViT", num_layers=num_layers, num_heads=num_heads, mlp_dim=mlp_dim or 4 * hidden_dim)
        if positions not in ("learned", "sin_cos"):
            raise ValueError(f"Unknown positions {positions!r}; expected learned or sin_cos.")
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.mlp_dim = mlp_dim
        self.use_class_token = use_class_token
        self.positions = positions
        self.activation = activation
        self.dropout = dropout
        self.stochastic_depth = stochastic_depth
        self.layer_scale = layer_scale
        self.epsilon = epsilon
        self.num_class_tokens = int(use_class_token)
        self.feature_size = self.patch_map
        self.num_features = hidden_dim
        dtype = self.dtype_policy
        self.dropped = keras.layers.Dropout(dropout, dtype=dtype)
        self.blocks = [
            TransformerBlock(
                num_heads,
                mlp_dim or 4 * hidden_dim,
                activation,
                causal=False,
                dropout=dropout,
                epsilon=epsilon,
                layer_scale=layer_scale,
                stochastic_depth=rate,
                name=f"block_{index}",
                dtype=dtype,
            )
            for index, rate in enumerate(rates_by_depth(stochastic_depth, num_layers))
        ]
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon, name="norm", dtype=dtype)
        self.build((None, *self.image_shape))

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        height, width = self.patch_map
        tokens = (None, self.num_class_tokens + height * width, self.hidden_dim)
        small = keras.initializers.TruncatedNormal(stddev=0.02)
        self.patches.build((None, *self.image_shape))
        if self.use_class_token:
            self.class_token = self.add_weight(tokens[-1:], small, name="class_token")
        if self.positions == "learned":
            self.table = self.add_weight(tokens[1:], small, name="positions")
        else:
            of_patches = sin_cos_2d(height, width, self.hidden_dim)
            self.table = np.pad(of_patches, ((self.num_class_tokens, 0), (0, 0)))
        for layer in (*self.blocks, self.norm):
            layer.build(tokens)
        self.built = True

    def tokens_of(self, images: Any) -> Any:
        return self.patches(images)

    def placed(self, tokens: Any) -> Any:
        return tokens + ops.cast(self.table[self.num_class_tokens :], tokens.dtype)

    def transform(self, tokens: Any) -> Any:
        """Any tokens of patches (B, T, D) that tell where they stand → (B, P + T, D)."""
        x = self.dropped(self.with_class_token(tokens))
        for block in self.blocks:
            x = block(x)
        return x

    def with_class_token(self, tokens: Any) -> Any:
        """(B, T, D) → (B, P + T, D)."""
        if not self.use_class_token:
            return tokens
        first = ops.cast(self.class_token + self.table[0], tokens.dtype)
        first = ops.broadcast_to(first, (ops.shape(tokens)[0], 1, self.hidden_dim))
        return ops.concatenate([first, tokens], axis=1)

    def resize_positions(self, image_shape: ImageShape) -> Self:
        """This encoder for images of another size, with the same weights; positions are interpolated.

        Learned ones bicubically, as PyTorch's encoders are fine-tuned at higher resolution.

        Raises:
            ValueError: for images of other channels, or that do not divide into patches.
        """
        config = {**self.get_config(), "image_shape": image_shape}
        other = type(self).from_config(config)
        if other.image_shape[2] != self.image_shape[2]:
            raise ValueError(
                f"image_shape={image_shape!r} has {other.image_shape[2]} channels; expected "
                f"{self.image_shape[2]}, as the patches were learned from."
            )
        if self.positions == "learned":
            count, table = self.num_class_tokens, ops.convert_to_numpy(self.table)
            of_patches = resized(table[count:], self.patch_map, other.patch_map)
            table = np.concatenate([table[:count], of_patches])
        for weight, same in zip(other.weights, self.weights, strict=True):
            weight.assign(table if same is self.table else same)
        return other

    @property
    def layers_by_depth(self) -> list[list[keras.layers.Layer]]:
        return [*([block] for block in self.blocks), [self.norm]]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
            "use_class_token": self.use_class_token,
            "positions": self.positions,
            "activation": self.activation,
            "dropout": self.dropout,
            "stochastic_depth": self.stochastic_depth,
            "layer_scale": self.layer_scale,
            "epsilon": self.epsilon,
        }
