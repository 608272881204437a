"""Product quantization: several heads, each with its part of a vector (Jégou et al. 2011)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfprior.layers.slices import in_parts
from tfprior.quantizers.base import Quantized, Quantizer
from tfprior.quantizers.composite import CompositeQuantizer


@keras.saving.register_keras_serializable("tfprior")
class ProductQuantizer(CompositeQuantizer):
    """Cuts a vector into parts, one for each quantizer: (…, ΣD) → (…, ΣD), the codes of all side by side.

    Args:
        quantizers: of equally many codes, for example `[VectorQuantizer(256, 32) for _ in range(2)]`.

    Raises:
        ValueError: for no quantizers, different codebook sizes, or vectors of another size than they sum to.
    """

    def __init__(self, quantizers: Sequence[Quantizer], **kwargs: Any) -> None:
        super().__init__(quantizers, **kwargs)
        self.code_dim = sum(each.code_dim for each in self.quantizers)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        super().build(input_shape)
        self.build_parts([(*input_shape[:-1], each.code_dim) for each in self.quantizers])

    def choose(self, inputs: Any, training: bool) -> Quantized:
        pairs = zip(self.quantizers, self._split_vectors(inputs), strict=True)
        results = [quantizer(part, training=training) for quantizer, part in pairs]
        return self.join(ops.concatenate([result.quantized for result in results], axis=-1), results)

    def codes_of(self, inputs: Any) -> Any:
        pairs = zip(self.quantizers, self._split_vectors(inputs), strict=True)
        return ops.concatenate([quantizer.codes_of(part) for quantizer, part in pairs], axis=-1)

    def vectors_of(self, codes: Any) -> Any:
        pairs = zip(self.quantizers, self.split_codes(codes), strict=True)
        return ops.concatenate([quantizer.vectors_of(part) for quantizer, part in pairs], axis=-1)

    def start_from(self, inputs: Any) -> None:
        for quantizer, part in zip(self.quantizers, self._split_vectors(inputs), strict=True):
            if quantizer.needs_initialization:
                quantizer.initialize(part)

    def _split_vectors(self, inputs: Any) -> list[Any]:
        """Vectors (…, ΣD) → the part of each quantizer (…, D)."""
        dims = (each.code_dim for each in self.quantizers)
        return in_parts(inputs, dims, axis=len(inputs.shape) - 1)
