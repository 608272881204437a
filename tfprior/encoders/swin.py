"""Swin Transformer (Liu et al. 2021, "Hierarchical … using Shifted Windows", arXiv:2103.14030).

Shapes: B batch · H W C image · p side of a patch · h w map of a stage, half as large in each · N = h · w of
the last one · D features there.
"""

from typing import Any, ClassVar

import keras

from tfprior.encoders.base import Encoder, ImageShape, rates_by_depth
from tfprior.inputs import check_sizes
from tfprior.layers.feed_forward import Activation
from tfprior.layers.patch_merging import PatchMerging
from tfprior.layers.swin_block import SwinBlock


def _sizes(hidden_dim: int, num_layers: tuple[int, ...], num_heads: tuple[int, ...]) -> dict[str, Any]:
    return {"hidden_dim": hidden_dim, "num_layers": num_layers, "num_heads": num_heads}


@keras.saving.register_keras_serializable("tfprior")
class Swin(Encoder):
    """Stages of attention within windows, at half the size one after the other: (B, H, W, C) → (B, N, D).

        image ── patches ── norm ── stage ── stage ── stage ── stage ── norm ── features
                                    h, w     h/2      h/4      h/8
        stage    blocks, every second one with shifted windows ── 2 × 2 tokens merged, but for the last stage

    Maps that windows do not divide are padded, and the padding hidden; of maps no larger than a window,
    windows are as large as the map. Weights do not depend on the size of images.

    Args:
        image_shape: (H, W, C) of the images; H and W are multiples of the patch.
        patch_size: p.
        num_layers: blocks of each stage.
        num_heads: heads of attention in the blocks of each stage.
        hidden_dim: features of the first stage, a multiple of its heads; twice as many in each that follows.
        window_size: side of a window.
        mlp_ratio: features inside the feed-forward parts, by those of the stage.
        activation: of the feed-forward parts; "gelu" is exact, as in all that was published.
        dropout: rate of dropout on tokens, attention, each part's result, and inside feed-forward parts.
        stochastic_depth: rate at which the last block's parts are left out in training; fewer before it.
        epsilon: of the norms.

    Raises:
        ValueError: for sizes out of range, images that do not divide into patches, and stages that have
            layers but no heads.
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": _sizes(96, (2, 2, 6, 2), (3, 6, 12, 24)),
        "small": _sizes(96, (2, 2, 18, 2), (3, 6, 12, 24)),
        "base": _sizes(128, (2, 2, 18, 2), (4, 8, 16, 32)),
        "large": _sizes(192, (2, 2, 18, 2), (6, 12, 24, 48)),
    }

    def __init__(
        self,
        image_shape: ImageShape = (224, 224, 3),
        patch_size: int = 4,
        num_layers: tuple[int, ...] = (2, 2, 6, 2),
        num_heads: tuple[int, ...] = (3, 6, 12, 24),
        hidden_dim: int = 96,
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        activation: Activation = "gelu",
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        epsilon: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, patch_size, hidden_dim, **kwargs)
        self.num_layers, self.num_heads = tuple(num_layers), tuple(num_heads)
        if not self.num_layers or len(self.num_layers) != len(self.num_heads):
            raise ValueError(
                f"Swin got num_layers={num_layers!r} and num_heads={num_heads!r}; expected one of each for "
                "every stage."
            )
        for layers, heads in zip(self.num_layers, self.num_heads, strict=True):
            check_sizes("Swin", num_layers=layers, num_heads=heads, window_size=window_size)
        self.window_size = window_size
        self.mlp_ratio = mlp_ratio
        self.activation = activation
        self.dropout = dropout
        self.stochastic_depth = stochastic_depth
        self.epsilon = epsilon
        dtype = self.dtype_policy
        self.embedding_norm = keras.layers.LayerNormalization(
            epsilon=epsilon, name="embedding_norm", dtype=dtype
        )
        self.dropped = keras.layers.Dropout(dropout, dtype=dtype)
        self.stages: list[SwinStage] = []
        rates = rates_by_depth(stochastic_depth, sum(self.num_layers))
        size, features = self.patch_map, hidden_dim
        for index, (layers, heads) in enumerate(zip(self.num_layers, self.num_heads, strict=True)):
            own, rates = rates[:layers], rates[layers:]
            blocks = [
                SwinBlock(
                    heads,
                    int(mlp_ratio * features),
                    size,
                    window_size,
                    shift=window_size // 2 if number % 2 else 0,
                    activation=activation,
                    dropout=dropout,
                    stochastic_depth=rate,
                    epsilon=epsilon,
                    name=f"block_{number}",
                    dtype=dtype,
                )
                for number, rate in enumerate(own)
            ]
            is_last = index == len(self.num_layers) - 1
            merging = None if is_last else PatchMerging(size, epsilon, name="merging", dtype=dtype)
            self.stages.append(SwinStage(blocks, merging, name=f"stage_{index}", dtype=dtype))
            if merging is not None:
                size, features = merging.merged_size, 2 * features
        self.feature_size, self.num_features = size, features
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon, name="norm", dtype=dtype)
        self.build((None, *self.image_shape))

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        self.patches.build((None, *self.image_shape))
        shape = self.patches.compute_output_shape((None, *self.image_shape))
        for layer in (self.embedding_norm, *self.stages, self.norm):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def tokens_of(self, images: Any) -> Any:
        return self.embedding_norm(self.patches(images))

    def placed(self, tokens: Any) -> Any:
        """The tokens as they are: attention knows where they stand to each other."""
        return tokens

    def transform(self, tokens: Any) -> Any:
        """Tokens of all patches → (B, N, D)."""
        x = self.dropped(tokens)
        for stage in self.stages:
            x = stage(x)
        return x

    @property
    def layers_by_depth(self) -> list[list[keras.layers.Layer]]:
        found: list[list[keras.layers.Layer]] = []
        for stage in self.stages:
            found += [[block] for block in stage.blocks]
            found[-1] += [] if stage.merging is None else [stage.merging]
        return [*found, [self.norm]]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "window_size": self.window_size,
            "mlp_ratio": self.mlp_ratio,
            "activation": self.activation,
            "dropout": self.dropout,
            "stochastic_depth": self.stochastic_depth,
            "epsilon": self.epsilon,
        }


class SwinStage(keras.layers.Layer):
    """Blocks over one map, and its merging into the next one."""

    def __init__(self, blocks: list[SwinBlock], merging: PatchMerging | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.blocks = blocks
        self.merging = merging

    def build(self, input_shape: tuple[Any, ...]) -> None:
        for block in self.blocks:
            block.build(input_shape)
        if self.merging is not None:
            self.merging.build(input_shape)
        self.built = True

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return x if self.merging is None else self.merging(x)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape if self.merging is None else self.merging.compute_output_shape(input_shape)
