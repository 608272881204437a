"""The contract of a quantizer, and what several of them share.

Shapes: N vectors · D their size · K codes to choose from · G codes for a vector.
"""

import abc
from typing import Any, NamedTuple

import keras
from keras import ops


class Quantized(NamedTuple):
    """What a quantizer makes of vectors (…, D).

    Attributes:
        quantized: the nearest vectors it has (…, D), with a gradient to the inputs.
        codes: their numbers (…, G) int32.
        loss: what training adds to the model's own loss.
        statistics: sums over the batch, for `update` and for metrics; "counts" (G, K) says how often each
            code was chosen.
    """

    quantized: Any
    codes: Any
    loss: Any
    statistics: dict[str, Any]


class Quantizer(keras.layers.Layer, abc.ABC):
    """Turns vectors (…, D) into G codes of K kinds each, and codes back into vectors.

    `call` changes no weight. A training step hands the statistics it returned to `update`.

    Attributes:
        code_dim: D.
        codebook_size: K.
        num_codes: G.
        needs_data: whether `initialize` is to come before training.
    """

    code_dim: int
    codebook_size: int
    num_codes: int = 1
    needs_data: bool = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # codes are looked up in float32

    @abc.abstractmethod
    def call(self, inputs: Any, training: bool = False) -> Quantized:
        """Vectors (…, D) → Quantized."""

    @abc.abstractmethod
    def decode(self, codes: Any) -> Any:
        """Codes (…, G) → vectors (…, D)."""

    def encode(self, inputs: Any) -> Any:
        """Vectors (…, D) → codes (…, G) int32."""
        return self(inputs).codes

    def initialize(self, inputs: Any) -> None:
        """Sets weights that depend on data from vectors (…, D); most quantizers have none."""

    def update(self, statistics: dict[str, Any]) -> None:
        """Moves a codebook that follows statistics; most quantizers have none."""

    def use_policy(self, policy: Any) -> None:
        """Computes under the policy of the model that it is part of."""
        self.dtype_policy = policy

    def build(self, input_shape: tuple[Any, ...]) -> None:
        if input_shape[-1] != self.code_dim:
            raise ValueError(
                f"{type(self).__name__} got vectors of size {input_shape[-1]}; expected {self.code_dim}."
            )
        self.built = True


def serialized(quantizer: Quantizer) -> dict[str, Any]:
    """The quantizer as a part of another's config, which builds it anew."""
    config = keras.saving.serialize_keras_object(quantizer)
    return {name: value for name, value in config.items() if name != "build_config"}


def straight_through(inputs: Any, quantized: Any) -> Any:
    """The quantized vectors, through which gradients reach the inputs unchanged."""
    return _through(inputs, quantized)


def rotated(inputs: Any, quantized: Any) -> Any:
    """The quantized vectors, through which gradients are turned and scaled as the inputs were.

    The rotation trick (Fifty et al. 2024, arXiv:2410.06424): quantized = λ R inputs, λ and R held fixed.
    """
    size, target_size = (_norm(x) for x in (inputs, quantized))
    source, target = ops.stop_gradient(inputs / size), ops.stop_gradient(quantized / target_size)
    middle = ops.stop_gradient((source + target) / _norm(source + target))
    turned = inputs - 2 * middle * _dot(middle, inputs) + 2 * target * _dot(source, inputs)
    turned = ops.stop_gradient(target_size / size) * turned
    # A vector of no length has no direction to be turned from.
    return _through(ops.where(size > 1e-3 * target_size, turned, inputs), quantized)


def _through(carrier: Any, quantized: Any) -> Any:
    """The quantized vectors to the last bit, with the gradient of the carrier."""
    return ops.stop_gradient(quantized) + (carrier - ops.stop_gradient(carrier))


def count_codes(codes: Any, codebook_size: int) -> Any:
    """How often each code occurs: codes (…, G) → (G, K) float32."""
    flat = ops.reshape(codes, (-1, codes.shape[-1]))
    ones = ops.ones_like(flat[:, 0], dtype="float32")
    return ops.stack(
        [
            ops.segment_sum(ones, flat[:, group], num_segments=codebook_size)
            for group in range(codes.shape[-1])
        ]
    )


def _dot(x: Any, y: Any) -> Any:
    return ops.sum(x * y, axis=-1, keepdims=True)


def _norm(x: Any) -> Any:
    return ops.sqrt(ops.maximum(_dot(x, x), 1e-12))
