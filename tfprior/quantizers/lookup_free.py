"""Lookup-free quantization (Yu et al. 2023, arXiv:2310.05737)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.inputs import is_integer
from tfprior.quantizers.base import Quantized, Quantizer, count_codes
from tfprior.quantizers.gradients import straight_through
from tfprior.quantizers.losses import check_loss_options, entropy_of_bits


@keras.saving.register_keras_serializable("tfprior")
class LookupFreeQuantizer(Quantizer):
    """The sign of each of D numbers: (…, D) → (…, D) in {−1, 1}, one code of D bits.

    Args:
        num_bits: D; K = 2^D.
        commitment_weight: β, the weight of ‖z − sg(sign z)‖².
        entropy_weight: weight of E[H(p(bit | z))] − H(E[p(bit | z)]) in nats, summed over the bits, with
            p = σ(4 z / entropy_temperature): it wants sure bits that are on as often as off.
        entropy_temperature: of that sigmoid.

    Raises:
        ValueError: for options out of range, or vectors of another size.
    """

    def __init__(
        self,
        num_bits: int,
        commitment_weight: float = 0.25,
        entropy_weight: float = 0.1,
        entropy_temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not is_integer(num_bits) or not 1 <= num_bits <= 24:
            raise ValueError(f"LookupFreeQuantizer got num_bits={num_bits!r}; expected a number in [1, 24].")
        check_loss_options(
            "LookupFreeQuantizer",
            commitment_weight=commitment_weight,
            entropy_weight=entropy_weight,
            entropy_temperature=entropy_temperature,
        )
        self.num_bits = self.code_dim = int(num_bits)
        self.codebook_size = 2**self.num_bits
        self.commitment_weight = commitment_weight
        self.entropy_weight = entropy_weight
        self.entropy_temperature = entropy_temperature
        self._places = 2 ** np.arange(self.num_bits, dtype="int32")

    def choose(self, inputs: Any, training: bool) -> Quantized:
        x = ops.cast(inputs, "float32")
        bits = ops.cast(x > 0, "int32")
        signs = ops.cast(2 * bits - 1, "float32")
        codes = self.codes_of(inputs)
        loss = self.commitment_weight * ops.mean(ops.square(x - signs))
        if self.entropy_weight:
            logits = 4 * ops.reshape(x, (-1, self.num_bits)) / self.entropy_temperature
            loss = loss + self.entropy_weight * entropy_of_bits(logits)
        return Quantized(
            ops.cast(straight_through(x, signs), self.compute_dtype),
            codes,
            loss,
            {"counts": count_codes(codes, self.codebook_size)},
        )

    def codes_of(self, inputs: Any) -> Any:
        return ops.sum(ops.cast(inputs > 0, "int32") * self._places, axis=-1, keepdims=True)

    def vectors_of(self, codes: Any) -> Any:
        return ops.cast(2 * (codes // self._places % 2) - 1, "float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_bits": self.num_bits,
            "commitment_weight": self.commitment_weight,
            "entropy_weight": self.entropy_weight,
            "entropy_temperature": self.entropy_temperature,
        }
