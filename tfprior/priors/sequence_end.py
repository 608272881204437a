"""Where a sequence ends: after its end value it holds that value alone, with probability one.

    ¡ h o l a · · ·        a grid (1, N, 1) of N = 8 values; · is the end value

So sequences of any length up to N have exact likelihoods, which sum to 1.

Shapes: B batch · N positions · P parameters of a position.
"""

from typing import Any

from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.distributions.categorical import Categorical
from tfprior.inputs import GridShape, concrete, is_integer


class SequenceEnd:
    """The end value of sequences, and what follows from it.

    Args:
        value: that ends a sequence.
        grid_shape: (1, N, 1).
        distribution: of a position, a `Categorical`.

    Raises:
        ValueError: for a value outside the vocabulary, and for what is no sequence of categorical values.
    """

    def __init__(self, value: int, grid_shape: GridShape, distribution: OutputDistribution) -> None:
        height, _, channels = grid_shape
        if (height, channels) != (1, 1):
            raise ValueError(
                f"Got end_value={value} and grid_shape={grid_shape}; expected sequences, grids (1, N, 1): "
                "leave the end value out of others."
            )
        if not isinstance(distribution, Categorical):
            raise ValueError(
                f"Got end_value={value} and {distribution!r}; expected a Categorical: an end is no "
                "value among ordered ones."
            )
        if not is_integer(value) or not 0 <= value < distribution.num_levels:
            raise ValueError(
                f"end_value={value!r} lies outside the vocabulary; expected an integer in "
                f"[0, {distribution.num_levels - 1}]."
            )
        self.value = int(value)
        self.certain = distribution.certain(self.value)
        self.expected = (
            f"expected integers in [0, {distribution.num_levels - 1}], and after the end value {value} "
            "nothing else: fill sequences up with it"
        )

    def before(self, values: Tensor) -> Tensor:
        """Where the value before is the end value: (B, 1, N, 1) → (B, 1, N) bool."""
        ends = ops.cast(ops.equal(values[:, :, :-1, 0], self.value), "int32")
        return ops.pad(ends, ((0, 0), (0, 0), (1, 0))) > 0

    def params(self, params: Tensor, ended: Tensor) -> Tensor:
        """Parameters (…, P), and where `ended` (…) those of the end value alone."""
        return ops.where(ended[..., None], ops.cast(self.certain, params.dtype), params)

    def is_passed(self, values: Tensor) -> Tensor:
        """Which sequences hold something else after their end value: (B, 1, N, 1) → (B,) bool."""
        others = ops.not_equal(values[..., 0], self.value)
        return ops.any(ops.logical_and(self.before(values), others), axis=(1, 2))

    def check(self, values: Any) -> None:
        """Raises ValueError where sequences (B, 1, N, 1) go on after their end, as far as they are known."""
        known = concrete(values)
        if known is None:
            return
        passed = (known[:, :, :-1] == self.value) & (known[:, :, 1:] != self.value)
        count = int(passed.any(axis=(1, 2, 3)).sum())
        if count:
            raise ValueError(f"{count} of {len(known)} sequences go on after their end; {self.expected}.")
