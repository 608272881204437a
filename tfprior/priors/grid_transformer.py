"""What all Transformers over grids share: their tokens, their sizes, and the head.

Shapes: B batch · H W C grid · N tokens of a grid · T of them · G tokens of a position · F features of a
value · D of a token · P parameters of a position.
"""

import abc
import math
from typing import Any, Literal

import numpy as np
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.inputs import check_sizes
from tfprior.layers.key_value_cache import Rotation
from tfprior.layers.pointwise_dense import PointwiseDense
from tfprior.layers.position_encodings import AxialRotary
from tfprior.layers.transformer_block import TransformerBlock, normalization
from tfprior.layers.value_encoding import ValueEncoding
from tfprior.priors.base import Prior


class GridTransformer(Prior):
    """A Transformer over the positions of a grid; the contract beside it says what is predicted from what.

    A position is a token where the distribution takes all its channels together, else each channel is one, in
    their order. Arguments are those of `CausalTransformer`, and the epsilon of the norms.

    Attributes:
        encode: reads values.
    """

    encode: ValueEncoding

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int | None,
        activation: Literal["gelu_tanh", "gelu", "relu", "swiglu"],
        norm: Literal["layer", "rms"],
        pre_norm: bool,
        positions: Literal["learned", "sinusoidal", "rotary"],
        dropout: float,
        epsilon: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__(grid_shape, distribution, **kwargs)
        check_sizes(
            type(self).__name__,
            num_layers=num_layers,
            num_heads=num_heads,
            hidden_dim=hidden_dim,
            mlp_dim=4 * hidden_dim if mlp_dim is None else mlp_dim,
        )
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.hidden_dim = hidden_dim
        self.mlp_dim = mlp_dim
        self.activation = activation
        self.norm = norm
        self.pre_norm = pre_norm
        self.positions = positions
        self.dropout = dropout
        self.epsilon = epsilon
        height, width, channels = self.grid_shape
        groups, dtype = self.channel_groups, self.dtype_policy
        self.num_tokens = height * width * groups
        self.last_norm = normalization(norm, epsilon, dtype) if pre_norm else None
        self.head = PointwiseDense(distribution.num_params(channels // groups), name="head", dtype=dtype)
        self.rotary: AxialRotary | None = None

    def block(self, name: str, **options: Any) -> TransformerBlock:
        """A block of the prior's sizes."""
        return TransformerBlock(
            self.num_heads,
            self.mlp_dim or 4 * self.hidden_dim,
            self.activation,
            self.norm,
            self.pre_norm,
            dropout=self.dropout,
            epsilon=self.epsilon,
            name=name,
            dtype=self.dtype_policy,
            **options,
        )

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        tokens = (None, self.num_tokens, self.hidden_dim)
        self.encode.build((None, *self.grid_shape))
        self.build_layers(tokens)
        for layer in (self.head, *([] if self.last_norm is None else [self.last_norm])):
            layer.build(tokens)
        self.built = True

    @abc.abstractmethod
    def build_layers(self, tokens: tuple[Any, ...]) -> None:
        """Builds what lies between encoded values and the head, for tokens (None, N, D)."""

    @property
    def num_features(self) -> int:
        """F."""
        return self.encode.num_features(self.grid_shape[-1] // self.channel_groups)

    def token_places(self, positions: Tensor) -> Tensor:
        """Positions (B, T) → the places of their tokens in raster order (B, T · G)."""
        groups = self.channel_groups
        if groups == 1:
            return positions
        places = ops.expand_dims(positions, -1) * groups + np.arange(groups, dtype="int32")
        return ops.reshape(places, (-1, ops.shape(positions)[-1] * groups))

    def tokens(self, values: Tensor) -> Tensor:
        """Values (B, …, C) encoded, in their order: (B, T, F)."""
        encoded = self.encode(ops.reshape(values, (-1, values.shape[-1])))
        count = math.prod(ops.shape(values)[1:-1]) * self.channel_groups
        return ops.reshape(encoded, (-1, count, encoded.shape[-1] // self.channel_groups))

    @property
    def places(self) -> Tensor:
        """Of all tokens in raster order: (N,)."""
        return ops.arange(self.num_tokens, dtype="int32")

    def rotation(self, places: Tensor) -> Rotation | None:
        """Turns queries and keys of tokens at places (T,) or (B, T)."""
        return None if self.rotary is None else self.rotary.at(places)

    def params_of_tokens(self, h: Tensor) -> Tensor:
        """Features that predict tokens (B, T, D) → their parameters (B, T, P / G)."""
        return self.head(h if self.last_norm is None else self.last_norm(h))

    def params_of_grid(self, params: Tensor) -> Tensor:
        """Parameters of all tokens in raster order (B, N, P / G) → (B, H, W, P)."""
        return ops.reshape(params, (-1, *self.grid_shape[:2], self.num_params))

    @property
    def num_params(self) -> int:
        """P."""
        return self.distribution.num_params(self.grid_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "mlp_dim": self.mlp_dim,
            "activation": self.activation,
            "norm": self.norm,
            "pre_norm": self.pre_norm,
            "positions": self.positions,
            "dropout": self.dropout,
        }
