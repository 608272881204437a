"""Transformers over grids whose tokens a condition joins: labels, vectors or maps.

Shapes: B batch · H W grid · N tokens of a grid · D features of a token · K of a condition.
"""

import abc
from typing import Any, Literal

import numpy as np

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.inputs import check_sizes
from tfprior.layers.condition_encoding import ConditionEncoding
from tfprior.layers.position_encodings import AxialRotary
from tfprior.layers.token_embedding import TokenEmbedding
from tfprior.layers.value_encoding import ValueEncoding
from tfprior.priors.grid_transformer import GridTransformer


class ConditionedTransformer(GridTransformer):
    """A Transformer over the positions of a grid, which learn of a condition where they are embedded.

    Arguments are those of `CausalTransformer`, and the epsilon of the norms.
    """

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        num_layers: int = 12,
        num_heads: int = 8,
        hidden_dim: int = 512,
        mlp_dim: int | None = None,
        activation: Literal["gelu_tanh", "gelu", "relu", "swiglu"] = "gelu_tanh",
        norm: Literal["layer", "rms"] = "layer",
        pre_norm: bool = True,
        positions: Literal["learned", "sinusoidal", "rotary"] = "learned",
        dropout: float = 0.0,
        num_classes: int | None = None,
        condition_shape: tuple[int, ...] | None = None,
        value_embedding_dim: int | None = None,
        class_embedding_dim: int = 64,
        epsilon: float = 1e-5,
        condition_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            grid_shape,
            distribution,
            num_layers,
            num_heads,
            hidden_dim,
            mlp_dim,
            activation,
            norm,
            pre_norm,
            positions,
            dropout,
            epsilon,
            num_classes=num_classes,
            condition_shape=condition_shape,
            condition_dropout=condition_dropout,
            **kwargs,
        )
        check_sizes(type(self).__name__, class_embedding_dim=class_embedding_dim)
        self.value_embedding_dim = value_embedding_dim
        self.class_embedding_dim = class_embedding_dim
        groups, dtype = self.channel_groups, self.dtype_policy
        self.embed = TokenEmbedding(hidden_dim, self.num_tokens, positions, groups, name="embed", dtype=dtype)
        self.encode = ValueEncoding(self.num_levels, value_embedding_dim, dtype=dtype)
        self.read_condition = ConditionEncoding(
            num_classes, class_embedding_dim, condition_dropout, dtype=dtype
        )
        if positions == "rotary":
            cells, width = np.arange(self.num_tokens) // groups, self.grid_shape[1]
            self.rotary = AxialRotary(cells // width, cells % width, hidden_dim // num_heads)

    def build_layers(self, tokens: tuple[Any, ...]) -> None:
        condition = self.read_condition.build_for(self.condition_shape) if self.is_conditional else None
        self.embed.build((None, self.num_tokens, self.num_features), condition)
        self.build_network(tokens, condition)

    @abc.abstractmethod
    def build_network(self, tokens: tuple[Any, ...], condition: tuple[Any, ...] | None) -> None:
        """Builds the blocks for tokens (None, N, D) and a condition (None, 1 or H, 1 or W, K)."""

    def encode_condition(self, condition: Tensor | None) -> Tensor | None:
        """Labels (B,), vectors (B, K) or maps (B, H, W, K) → features (B, 1 or H, 1 or W, K).

        Raises:
            ValueError: for a condition that is missing, or of the wrong shape, type or range.
        """
        condition = super().encode_condition(condition)
        return None if condition is None else self.read_condition(condition)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "value_embedding_dim": self.value_embedding_dim,
            "class_embedding_dim": self.class_embedding_dim,
        }
