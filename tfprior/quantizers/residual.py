"""Residual vector quantization (Zeghidour et al. 2021, arXiv:2107.03312)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfprior.quantizers.base import Quantized, Quantizer
from tfprior.quantizers.composite import CompositeQuantizer
from tfprior.quantizers.gradients import straight_through


@keras.saving.register_keras_serializable("tfprior")
class ResidualVectorQuantizer(CompositeQuantizer):
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
        self.build_parts([input_shape] * len(self.quantizers))

    def choose(self, inputs: Any, training: bool) -> Quantized:
        x = ops.cast(inputs, "float32")
        results, total = [], ops.zeros_like(x)
        for quantizer in self.quantizers:
            results.append(quantizer(x - total, training=training))
            total = total + ops.stop_gradient(quantizer.vectors_of(results[-1].codes))
        return self.join(ops.cast(straight_through(x, total), self.compute_dtype), results)

    def codes_of(self, inputs: Any) -> Any:
        x = ops.cast(inputs, "float32")
        codes, total = [], ops.zeros_like(x)
        for quantizer in self.quantizers:
            codes.append(quantizer.codes_of(x - total))
            total = total + quantizer.vectors_of(codes[-1])
        return ops.concatenate(codes, axis=-1)

    def vectors_of(self, codes: Any) -> Any:
        pairs = zip(self.quantizers, self.split_codes(codes), strict=True)
        return sum(quantizer.vectors_of(part) for quantizer, part in pairs)

    def start_from(self, inputs: Any) -> None:
        x = ops.cast(inputs, "float32")
        for quantizer in self.quantizers:
            if quantizer.needs_initialization:
                quantizer.initialize(x)
            x = x - quantizer.vectors_of(quantizer.codes_of(x))
