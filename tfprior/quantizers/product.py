"""Product quantization: several heads, each with its part of a vector (Jégou et al. 2011)."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.quantizers.base import Quantized, Quantizer
from tfprior.quantizers.several import SeveralQuantizers


@keras.saving.register_keras_serializable("tfprior")
class ProductQuantizer(SeveralQuantizers):
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
        self.build_each([(*input_shape[:-1], each.code_dim) for each in self.quantizers])

    def call(self, inputs: Any, training: bool = False) -> Quantized:
        pairs = zip(self.quantizers, self._parts(inputs), strict=True)
        parts = [quantizer(part, training=training) for quantizer, part in pairs]
        return self.joined(ops.concatenate([part.quantized for part in parts], axis=-1), parts)

    def encode(self, inputs: Any) -> Any:
        pairs = zip(self.quantizers, self._parts(inputs), strict=True)
        return ops.concatenate([quantizer.encode(part) for quantizer, part in pairs], axis=-1)

    def decode(self, codes: Any) -> Any:
        pairs = zip(self.quantizers, self.codes_of_each(codes), strict=True)
        return ops.concatenate([quantizer.decode(part) for quantizer, part in pairs], axis=-1)

    def initialize(self, inputs: Any) -> None:
        for quantizer, part in zip(self.quantizers, self._parts(inputs), strict=True):
            quantizer.initialize(part)

    def _parts(self, inputs: Any) -> list[Any]:
        if len(self.quantizers) == 1:
            return [inputs]
        ends = np.cumsum([each.code_dim for each in self.quantizers])[:-1]
        return ops.split(inputs, [int(end) for end in ends], axis=len(inputs.shape) - 1)
