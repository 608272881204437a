"""The part of a Transformer's block that looks at one token at a time."""

from typing import Any, Literal

import keras
from keras import ops

from tfprior.layers.pointwise_dense import PointwiseDense

Activation = Literal["gelu_tanh", "gelu", "relu", "swiglu"]
ACTIVATIONS = ("gelu_tanh", "gelu", "relu", "swiglu")


@keras.saving.register_keras_serializable("tfprior")
class FeedForward(keras.layers.Layer):
    """Two dense layers, the first one wider: (…, D) → (…, D).

    Args:
        hidden_dim: features between the layers; 4 D in most papers, 8 D / 3 with "swiglu".
        activation: between them. "gelu" is exact, "gelu_tanh" its approximation by tanh, which GPT-2 has;
            "swiglu" multiplies half of the features by the swish of the other half (Shazeer 2020,
            arXiv:2002.05202).
        dropout: rate of dropout between the layers.
        use_bias: whether the layers have one.

    Raises:
        ValueError: for an unknown activation.
    """

    is_pointwise = True

    def __init__(
        self,
        hidden_dim: int,
        activation: Activation = "gelu_tanh",
        dropout: float = 0.0,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if activation not in ACTIVATIONS:
            raise ValueError(f"Unknown activation {activation!r}; expected one of {', '.join(ACTIVATIONS)}.")
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.dropout = dropout
        self.use_bias = use_bias
        self.dropped = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        gates = 2 if self.activation == "swiglu" else 1
        options = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        self.expand = PointwiseDense(gates * self.hidden_dim, name="expand", **options)
        self.contract = PointwiseDense(input_shape[-1], name="contract", **options)
        self.expand.build(input_shape)
        self.contract.build((*input_shape[:-1], self.hidden_dim))
        self.built = True

    def call(self, x: Any) -> Any:
        return self.contract(self.dropped(self.activated(self.expand(x))))

    def activated(self, x: Any) -> Any:
        if self.activation == "swiglu":
            gate, x = ops.split(x, 2, axis=-1)
            return ops.silu(gate) * x
        if self.activation == "gelu":
            return gelu(x)
        return ops.relu(x) if self.activation == "relu" else ops.gelu(x, approximate=True)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "activation": self.activation,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
        }


def gelu(x: Any) -> Any:
    """Exact, and written out: Keras's is an operation that few runtimes have."""
    return 0.5 * x * (1 + ops.erf(x * 0.5**0.5))
