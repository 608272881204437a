"""Residual vector quantization (Zeghidour et al. 2021, arXiv:2107.03312)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfprior.quantizers.base import Quantized, Quantizer, straight_through
from tfprior.quantizers.several import SeveralQuantizers


@keras.saving.register_keras_serializable("tfprior")
class ResidualVectorQuantizer(SeveralQuantizers):
    """Each quantizer takes what those before left over; the vector is the sum: (…, D) → (…, D).

    Gradients pass to the inputs unchanged, and every quantizer's loss pulls at its own remainder.

    Args:
        quantizers: of the same size and equally many codes, for example `[VectorQuantizer(256, 64) for _ in
            range(4)]`.

    Raises:
        ValueError: for no quantizers, different sizes, or vectors of another size.
    """

    def __init__(self, quantizers: Sequence[Quantizer], **kwargs: Any) -> None:
        super().__init__(quantizers, **kwargs)
        sizes = [each.code_dim for each in self.quantizers]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"ResidualVectorQuantizer got quantizers of vectors of sizes {sizes}; expected one size."
            )
        self.code_dim = sizes[0]

    def build(self, input_shape: tuple[Any, ...]) -> None:
        super().build(input_shape)
        self.build_each([input_shape] * len(self.quantizers))

    def call(self, inputs: Any, training: bool = False) -> Quantized:
        x = ops.cast(inputs, "float32")
        parts, total = [], ops.zeros_like(x)
        for quantizer in self.quantizers:
            parts.append(quantizer(x - total, training=training))
            total = total + ops.stop_gradient(ops.cast(quantizer.decode(parts[-1].codes), "float32"))
        return self.joined(ops.cast(straight_through(x, total), self.compute_dtype), parts)

    def encode(self, inputs: Any) -> Any:
        x = ops.cast(inputs, "float32")
        codes, total = [], ops.zeros_like(x)
        for quantizer in self.quantizers:
            codes.append(quantizer.encode(x - total))
            total = total + ops.cast(quantizer.decode(codes[-1]), "float32")
        return ops.concatenate(codes, axis=-1)

    def decode(self, codes: Any) -> Any:
        pairs = zip(self.quantizers, self.codes_of_each(codes), strict=True)
        total = sum(ops.cast(quantizer.decode(part), "float32") for quantizer, part in pairs)
        return ops.cast(total, self.compute_dtype)

    def initialize(self, inputs: Any) -> None:
        x = ops.cast(inputs, "float32")
        for quantizer in self.quantizers:
            quantizer.initialize(x)
            x = x - ops.cast(quantizer.decode(quantizer.encode(x)), "float32")
