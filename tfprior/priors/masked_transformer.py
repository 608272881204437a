"""Masked Transformer (Devlin et al. 2018, "BERT", arXiv:1810.04805; Chang et al. 2022, arXiv:2202.04200).

Shapes: B batch · H W C grid · G values of a position that are hidden apart · N tokens of a grid, H · W · G of
them · D features of a token.
"""

from typing import Any, Literal

import keras
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.layers.key_value_cache import OverSequence
from tfprior.layers.tied_head import TiedHead
from tfprior.layers.transformer_block import normalization
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors.conditioned_transformer import ConditionedTransformer
from tfprior.priors.masked import MaskedPrior


@keras.saving.register_keras_serializable("tfprior")
class MaskedTransformer(ConditionedTransformer, MaskedPrior):
    """A Transformer that sees a part of the grid and predicts the rest, all tokens seeing each other.

        values      v₀  ▒  v₂ … ▒        what is hidden is one learned token
                    │   │   │   │
                 + positions + condition
                    │   │   │   │
                 blocks × num_layers     self-attention in both directions, feed-forward
                    │   │   │   │
        parameters  p₀  p₁  p₂ … p₋₁     of which those of the hidden are asked

    A position is a token, and hidden as one, where the distribution takes all its channels together; else
    each channel is a token and hidden by itself.

    Args:
        grid_shape: (H, W, C) of the values.
        distribution: the output distribution.
        num_layers: blocks.
        num_heads: heads of attention in each of them.
        hidden_dim: features of a token, D, a multiple of the heads.
        mlp_dim: features inside the feed-forward parts; 4 D when left out.
        activation: of the feed-forward parts.
        norm: "layer", or "rms" by the root mean square alone.
        pre_norm: whether norms come before attention and feed-forward parts; after them in BERT.
        positions: "learned", "sinusoidal", or "rotary" by rows and columns.
        dropout: rate of dropout.
        num_classes: for class labels (B,) as the condition.
        condition_shape: (D,) for vectors, (H, W, D) for spatial maps as the condition.
        value_embedding_dim: size of a learned embedding of each value, for codes; None reads values as
            scaled numbers.
        class_embedding_dim: size of the class embedding.
        condition_dropout: share of training examples that lose their condition, for `guidance` in sampling.
        objective: "order_agnostic" learns all orders alike, with a bound of the likelihood
            (arXiv:2110.02037); "bert" and "maskgit" ask as those papers do.
        embedding_norm: whether tokens are normalized before the first block, as in BERT.
        tied_head: whether values are read by the table that embeds them, as in BERT; needs
            value_embedding_dim.
        epsilon: of the norms; 1e-12 in BERT.

    Raises:
        ValueError: for options out of range.
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
        objective: Literal["order_agnostic", "bert", "maskgit"] = "order_agnostic",
        embedding_norm: bool = False,
        tied_head: bool = False,
        epsilon: float = 1e-5,
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
            epsilon,
            objective=objective,
            condition_dropout=condition_dropout,
            **kwargs,
        )
        self.embedding_norm = embedding_norm
        self.tied_head = tied_head
        self.first_norm = normalization(norm, epsilon, self.dtype_policy) if embedding_norm else None
        self.blocks = [self.block(f"block_{index}", causal=False) for index in range(num_layers)]
        if tied_head:
            self.head = self._tied_head()
        self.build()

    def _tied_head(self) -> TiedHead:
        are_logits = self.distribution.num_params(self.token_channels) == self.num_levels
        if self.value_embedding_dim is None or not are_logits:
            raise ValueError(
                f"tied_head=True with value_embedding_dim={self.value_embedding_dim} and a "
                f"{type(self.distribution).__name__} output; expected an embedding of values and a "
                "Categorical output, which have one table."
            )
        size = self.value_embedding_dim
        return TiedHead(size, self.num_levels, self.epsilon, name="head", dtype=self.dtype_policy)

    def build_network(self, tokens: tuple[Any, ...], condition: tuple[Any, ...] | None) -> None:
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.mask_token = self.add_weight((self.hidden_dim,), small, name="mask_token")
        for layer in (*([] if self.first_norm is None else [self.first_norm]), *self.blocks):
            layer.build(tokens)

    def params(self, values: Tensor, hidden: Tensor, features: Tensor | None = None) -> Tensor:
        """Parameters (B, H, W, P) of all positions of grids (B, H, W, C), given what is not hidden of them.

        `hidden` is (B, H, W, G); `features` are those of the condition.
        """
        seen = ops.where(hidden, OUTSIDE, values)  # which is encoded as zeros
        x = self.embed(self.tokens(seen), self.places, features)
        is_hidden = ops.cast(ops.reshape(hidden, (-1, self.num_tokens, 1)), x.dtype)
        x = x + is_hidden * ops.cast(self.mask_token, x.dtype)
        return self.params_of_grid(self.params_of_tokens(self.network(x)))

    def network(self, x: Tensor) -> Tensor:
        """Embedded tokens (B, N, D) → what is known of each (B, N, D)."""
        if self.first_norm is not None:
            x = self.first_norm(x)
        for block in self.blocks:
            x = block.run(x, OverSequence(self.rotation(self.places)))
        return x

    def params_of_tokens(self, h: Tensor) -> Tensor:
        if not self.tied_head:
            return super().params_of_tokens(h)
        return self.head(h if self.last_norm is None else self.last_norm(h), self.encode.table)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "embedding_norm": self.embedding_norm,
            "tied_head": self.tied_head,
            "epsilon": self.epsilon,
        }
