"""Causal Transformer (Chen et al. 2020, "Generative Pretraining from Pixels", after Radford et al. 2019).

Shapes: B batch · H W C grid · N tokens of a grid · T of them · F features of a value · D of a token.
"""

from typing import Any, Literal

import keras

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.layers.key_value_cache import OverSequence
from tfprior.layers.streaming import Apply
from tfprior.priors.causal_decoder import CausalDecoder
from tfprior.priors.conditioned_transformer import ConditionedTransformer


@keras.saving.register_keras_serializable("tfprior")
class CausalTransformer(CausalDecoder, ConditionedTransformer):
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
        condition_dropout: share of training examples that lose their condition, for `guidance` in sampling.
        end_value: of sequences, grids (1, N, 1), which hold nothing else after it.

    Raises:
        ValueError: for options out of range, features that do not split into the heads, and an end of what is
            no sequence.
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
        condition_dropout: float = 0.0,
        end_value: int | None = None,
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
            end_value=end_value,
            condition_dropout=condition_dropout,
            **kwargs,
        )
        self.blocks = [self.block(f"block_{index}") for index in range(num_layers)]
        self.build()

    def build_network(self, tokens: tuple[Any, ...], condition: tuple[Any, ...] | None) -> None:
        for block in self.blocks:
            block.build(tokens)

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        values, condition = self.unpack(inputs)
        condition, apply = self.encode_condition(condition), OverSequence(self.rotation(self.places))
        return self.predicted(self.decode(self.before(values), self.places, condition, apply), values)

    def decode(self, tokens: Tensor, places: Tensor, condition: Tensor | None, apply: Apply) -> Tensor:
        x = self.embed(tokens, places, condition)
        for block in self.blocks:
            x = block.run(x, apply)
        return x
