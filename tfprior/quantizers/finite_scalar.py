"""Finite scalar quantization (Mentzer et al. 2023, arXiv:2309.15505)."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.inputs import is_integer
from tfprior.quantizers.base import Quantized, Quantizer, count_codes
from tfprior.quantizers.gradients import straight_through


@keras.saving.register_keras_serializable("tfprior")
class FiniteScalarQuantizer(Quantizer):
    """Rounds each of D numbers to one of a few levels: (…, D) → (…, D) in [−1, 1], one code for all of them.

    There is no codebook to learn, and nothing to collapse: K is the product of the levels.

    Args:
        levels: of each number, for example (8, 5, 5, 5) for 1000 codes.

    Raises:
        ValueError: for no levels, or a number below 2.
    """

    def __init__(self, levels: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(levels, list | tuple) or not levels or not all(map(_is_level_count, levels)):
            raise ValueError(
                f"FiniteScalarQuantizer got levels={levels!r}; expected whole numbers of 2 or more, for "
                "example (8, 5, 5, 5)."
            )
        self.levels = tuple(int(level) for level in levels)
        self.code_dim = len(self.levels)
        self.codebook_size = math.prod(self.levels)
        if self.codebook_size > 2**24:
            raise ValueError(
                f"FiniteScalarQuantizer got levels={levels!r}, {self.codebook_size:,} codes; expected at "
                "most 2^24: use fewer levels, or several quantizers in a ProductQuantizer."
            )
        sizes = np.array(self.levels)
        self._places = np.cumprod([1, *self.levels[:-1]]).astype("int32")
        self._middles = (sizes // 2).astype("int32")
        # Even numbers of levels have no level in the middle: they are shifted by a half, so that zero is a
        # level. Of two levels that one would take nearly everything; zero stays between them.
        self._reach = ((sizes - 1) * (1 + 1e-3) / 2).astype("float32")
        self._offset = np.where(sizes % 2 == 0, 0.5, 0.0).astype("float32")
        shift = np.arctanh(self._offset / self._reach)
        self._shift = np.where(sizes == 2, 0, shift).astype("float32")

    def choose(self, inputs: Any, training: bool) -> Quantized:
        bounded, digits = self._digits(inputs)
        rounded = ops.cast(digits - self._middles, "float32")
        quantized = straight_through(bounded, rounded) / ops.cast(self._middles, "float32")
        codes = ops.sum(digits * self._places, axis=-1, keepdims=True)
        return Quantized(
            ops.cast(quantized, self.compute_dtype),
            codes,
            ops.zeros((), "float32"),
            {"counts": count_codes(codes, self.codebook_size)},
        )

    def codes_of(self, inputs: Any) -> Any:
        return ops.sum(self._digits(inputs)[1] * self._places, axis=-1, keepdims=True)

    def _digits(self, inputs: Any) -> tuple[Any, Any]:
        """Numbers before rounding (…, D), and the level of each from 0 on (…, D) int32."""
        bounded = ops.tanh(ops.cast(inputs, "float32") + self._shift) * self._reach - self._offset
        digits = ops.cast(ops.round(bounded), "int32") + self._middles
        return bounded, ops.clip(digits, 0, np.array(self.levels, "int32") - 1)

    def vectors_of(self, codes: Any) -> Any:
        digits = codes // self._places % np.array(self.levels, "int32")  # (…, D)
        return ops.cast(digits - self._middles, "float32") / self._middles.astype("float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "levels": self.levels}


def _is_level_count(value: Any) -> bool:
    return is_integer(value) and bool(value >= 2)
