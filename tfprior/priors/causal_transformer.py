"""Causal Transformer (Chen et al. 2020, "Generative Pretraining from Pixels", after Radford et al. 2019).

Shapes: B batch · H W C grid · N tokens of a grid · T of them · G tokens of a position · F features of a
value · D of a token · P parameters of a position.
"""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.layers.attention import MultiHeadAttention
from tfprior.layers.key_value_cache import OverSequence
from tfprior.layers.streaming import Apply, State, StateSpec
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors.rollout import AlongSequence
from tfprior.priors.transformer import TransformerPrior, kept, later


@keras.saving.register_keras_serializable("tfprior")
class CausalTransformer(TransformerPrior):
    """A Transformer over the grid as a sequence in raster order, in which a token sees those before it.

        values      ·  v₀  v₁ … v₋₂      the value before each token
                    │   │   │     │
                 + positions + condition
                    │   │   │     │
                 blocks × num_layers     causal self-attention, feed-forward
                    │   │   │     │
        parameters  p₀  p₁  p₂ … p₋₁

    A position is a token where the distribution takes all its channels together, else each channel is one, in
    their order.

    Args:
        grid_shape: (H, W, C) of the values.
        distribution: the output distribution.
        num_layers: blocks.
        num_heads: heads of attention in each of them.
        hidden_dim: features of a token, D, a multiple of the heads.
        mlp_dim: features inside the feed-forward parts; 4 D when left out.
        activation: of the feed-forward parts.
        norm: "layer", or "rms" by the root mean square alone.
        pre_norm: whether norms come before attention and feed-forward parts; after them in the original.
        positions: "learned", "sinusoidal", or "rotary" by rows and columns.
        dropout: rate of dropout.
        num_classes: for class labels (B,) as the condition.
        condition_shape: (D,) for vectors, (H, W, D) for spatial maps as the condition.
        value_embedding_dim: size of a learned embedding of each value, for codes; None reads values as
            scaled numbers.
        class_embedding_dim: size of the class embedding.

    Raises:
        ValueError: for options out of range, or features that do not split into the heads.
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
            num_classes,
            condition_shape,
            value_embedding_dim,
            class_embedding_dim,
            **kwargs,
        )
        self.blocks = [self.block(f"block_{index}") for index in range(num_layers)]
        self.build()

    def build_network(self, tokens: tuple[Any, ...], condition: tuple[Any, ...] | None) -> None:
        for block in self.blocks:
            block.build(tokens)

    def network(self, x: Tensor, apply: Apply) -> Tensor:
        """Embedded tokens (B, T, D) → features that predict the next ones (B, T, D)."""
        for block in self.blocks:
            x = block.run(x, apply)
        return x

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        values, condition = self.unpack(inputs)
        x = self.embed(self.before(values), self.places, self.encode_condition(condition))
        x = self.network(x, OverSequence(self.rotation(self.places)))
        return self.params_of_grid(self.params_of_tokens(x))

    def before(self, values: Tensor) -> Tensor:
        """What comes before each token of the grids (B, H, W, C), nothing before the first one: (B, N, F)."""
        return later(self.tokens(values))

    # One position at a time

    @property
    def rollout(self) -> AlongSequence:
        return AlongSequence(self)

    @property
    def caching(self) -> list[MultiHeadAttention]:
        return [block.attention for block in self.blocks]

    def state_spec(self) -> State:
        seen = StateSpec((self.hidden_dim,), self.compute_dtype)
        return {"cache": self.cache_of(self.num_tokens), "pixel": {"seen": seen}}

    def next_tokens(self, state: State, tokens: Tensor, places: Tensor) -> tuple[Tensor, State]:
        """Encoded tokens (B, T, F) at `places` (T,) or (B, T), in order → (B, T, D), and the state."""
        apply = self.next_to(state, places, places)
        h = self.network(self.embed(tokens, places, state.get("condition")), apply)
        return h, {**state, kept(state): apply.after}

    def placed(self, state: State, tokens: Tensor, places: Tensor, ranks: Tensor) -> State:
        return self.next_tokens(state, tokens, places)[1]

    def place(self, state: State, previous: Tensor, before: Tensor | None, rank: Tensor) -> State:
        return self.advance(state, previous, rank)

    def params_next(
        self, state: State, position: Tensor, rank: Tensor, current: Tensor | None = None
    ) -> Tensor:
        return self.params_at(state, position, current)[0]

    def prefill(self, values: Tensor, condition: Tensor | None = None) -> State:
        """The state after the positions of which `values` (B, H, W, C) are known, however many these are.

        What stands behind them does no harm: steps write over it before they look at it.
        """
        state = self.initial_state(ops.shape(values)[0], condition)
        return self.next_tokens(state, self.before(values), self.places)[1]

    def advance(self, state: State, previous: Tensor, position: Tensor) -> State:
        """Takes in the value at `position` − 1; where `position` is 0 all its tokens are the first one."""
        groups, position = self.channel_groups, ops.cast(position, "int32")[..., None]
        tokens = self.tokens(ops.where(ops.reshape(position == 0, (-1, 1)), OUTSIDE, previous))
        places = ops.maximum(position * groups + np.arange(1 - groups, 1, dtype="int32"), 0)
        h, state = self.next_tokens(state, tokens, places)
        return {**state, "pixel": {"seen": h[:, -1]}}

    def params_at(
        self, state: State, position: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Parameters (B, P) at `position`, given the channels known in `current` (B, C)."""
        groups, h = self.channel_groups, state["pixel"]["seen"][:, None]
        if groups > 1:
            places = ops.cast(position, "int32")[..., None] * groups + np.arange(1, groups, dtype="int32")
            others, _ = self.next_tokens(state, self.known_channels(current, ops.shape(h)[0]), places)
            h = ops.concatenate([h, others], axis=1)
        return ops.reshape(self.params_of_tokens(h), (-1, self.num_params)), state
