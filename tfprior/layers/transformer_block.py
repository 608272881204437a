"""The block of a Transformer (Vaswani et al. 2017, arXiv:1706.03762).

Norms come last there, and first in most of what followed (Xiong et al. 2020, arXiv:2002.04745).

Shapes: B batch · T tokens · S tokens of a memory · D features · M features of a memory.
"""

from collections.abc import Callable
from typing import Any, Literal

import keras

from tfprior.layers.attention import CausalSelfAttention, MultiHeadAttention, shapes_of
from tfprior.layers.feed_forward import Activation, FeedForward
from tfprior.layers.key_value_cache import OverSequence
from tfprior.layers.layer_scale import LayerScale
from tfprior.layers.streaming import Apply

Norm = Literal["layer", "rms"]
NORMS = {"layer": keras.layers.LayerNormalization, "rms": keras.layers.RMSNormalization}


@keras.saving.register_keras_serializable("tfprior")
class TransformerBlock(keras.layers.Layer):
    """Attention of tokens to each other and to a memory, and a feed-forward part, all with short-cuts.

        pre-LN    x ──┬── norm ── part ──+──        post-LN   x ──┬── part ──+── norm ──
                      └──────────────────┘                        └──────────┘

    x (B, T, D), or [x, memory (B, S, M)] → (B, T, D).

    Args:
        num_heads: heads of each attention.
        mlp_dim: features inside the feed-forward part.
        activation: there; see `FeedForward`.
        norm: "layer", or "rms" by the root mean square alone (Zhang & Sennrich 2019, arXiv:1910.07467).
        pre_norm: whether a part's norm comes first; the original has it last.
        causal: whether a token sees itself and those before it alone.
        takes_memory: whether there is a memory to attend to.
        self_attention: whether tokens attend to each other.
        dropout: rate of dropout on each part's result, on attention, and inside the feed-forward part.
        use_bias: whether dense layers have one.
        epsilon: of the norms.
        layer_scale: what each part's result is multiplied by at first, a learned number for each feature
            (Touvron et al. 2021, arXiv:2103.17239); none when left out.
        stochastic_depth: rate at which an example goes without a part in training (Huang et al. 2016,
            arXiv:1603.09382).

    Raises:
        ValueError: for an unknown activation or norm.
    """

    def __init__(
        self,
        num_heads: int,
        mlp_dim: int,
        activation: Activation = "gelu_tanh",
        norm: Norm = "layer",
        pre_norm: bool = True,
        causal: bool = True,
        takes_memory: bool = False,
        self_attention: bool = True,
        dropout: float = 0.0,
        use_bias: bool = True,
        epsilon: float = 1e-5,
        layer_scale: float | None = None,
        stochastic_depth: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.mlp_dim = mlp_dim
        self.activation = activation
        self.norm = norm
        self.pre_norm = pre_norm
        self.causal = causal
        self.takes_memory = takes_memory
        self.self_attention = self_attention
        self.dropout = dropout
        self.use_bias = use_bias
        self.epsilon = epsilon
        self.layer_scale = layer_scale
        self.stochastic_depth = stochastic_depth
        dtype = self.dtype_policy
        dense: dict[str, Any] = {"dropout": dropout, "use_bias": use_bias, "dtype": dtype}
        if self_attention:
            attention = CausalSelfAttention if causal else MultiHeadAttention
            self.attention = attention(num_heads, name=f"{self.name}_attention", **dense)
            self.attention_norm = self._normalization()
            self.attention_scale = self._scale("attention_scale")
        if takes_memory:
            self.memory_attention = MultiHeadAttention(num_heads, name=f"{self.name}_memory", **dense)
            self.memory_norm = self._normalization()
            self.memory_scale = self._scale("memory_scale")
        self.feed_forward = FeedForward(mlp_dim, activation, **dense)
        self.feed_forward_norm = self._normalization()
        self.feed_forward_scale = self._scale("feed_forward_scale")
        self.dropped = keras.layers.Dropout(dropout, dtype=dtype)
        self.left_out = keras.layers.Identity(dtype=dtype)
        if stochastic_depth:
            self.left_out = keras.layers.Dropout(stochastic_depth, noise_shape=(None, 1, 1), dtype=dtype)

    def _normalization(self) -> keras.layers.Layer:
        return normalization(self.norm, self.epsilon, self.dtype_policy)

    def _scale(self, name: str) -> keras.layers.Layer:
        if self.layer_scale is None:
            return keras.layers.Identity(name=name, dtype=self.dtype_policy)
        return LayerScale(self.layer_scale, name=name, dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        shape, *memory = shapes_of(input_shape)
        self.feed_forward.build(shape)
        around = [self.feed_forward_norm, self.feed_forward_scale]
        if self.self_attention:
            self.attention.build(shape)
            around += [self.attention_norm, self.attention_scale]
        if self.takes_memory:
            self.memory_attention.build([shape, *memory])
            around += [self.memory_norm, self.memory_scale]
        for layer in around:
            layer.build(shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        if not self.takes_memory:
            return self.run(inputs, OverSequence())
        x, memory = inputs
        return self.run(x, OverSequence(), lambda attention, x: attention([x, memory]))

    def run(self, x: Any, apply: Apply, recall: Apply | None = None) -> Any:
        """x (B, T, D) → (B, T, D), by what applies attention to tokens and to a memory."""
        if self.self_attention:
            around = self.attention_norm, self.attention_scale
            x = self._part(x, *around, lambda x: apply(self.attention, x))
        if recall is not None:
            x = self._part(x, self.memory_norm, self.memory_scale, lambda x: recall(self.memory_attention, x))
        return self._part(x, self.feed_forward_norm, self.feed_forward_scale, self.feed_forward)

    def _part(
        self, x: Any, norm: keras.layers.Layer, scale: keras.layers.Layer, part: Callable[[Any], Any]
    ) -> Any:
        change = self.left_out(scale(self.dropped(part(norm(x) if self.pre_norm else x))))
        return x + change if self.pre_norm else norm(x + change)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        return shapes_of(input_shape)[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
            "activation": self.activation,
            "norm": self.norm,
            "pre_norm": self.pre_norm,
            "causal": self.causal,
            "takes_memory": self.takes_memory,
            "self_attention": self.self_attention,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "epsilon": self.epsilon,
            "layer_scale": self.layer_scale,
            "stochastic_depth": self.stochastic_depth,
        }


def normalization(norm: Norm, epsilon: float = 1e-5, dtype: Any = None) -> keras.layers.Layer:
    """The layer of that name.

    Raises:
        ValueError: for an unknown one.
    """
    if norm not in NORMS:
        raise ValueError(f"Unknown norm {norm!r}; expected one of {', '.join(NORMS)}.")
    return NORMS[norm](epsilon=epsilon, dtype=dtype)
