"""What a condition is, in one value: models, feeds, samplers and bundles read it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ConditionKind:
    """What a condition is: labels (B,), vectors (B, D), maps (B, H, W, D), or sources (B, S) of tokens.

    Attributes:
        shape: without the batch axis; a source may be shorter.
        num_levels: labels and tokens are integers in [0, num_levels); None of vectors and maps, which are
            floats.
        padding: the token that fills sources up; None of others.
    """

    shape: tuple[int, ...] = ()
    num_levels: int | None = None
    padding: int | None = None

    @classmethod
    def of(cls, num_classes: int | None, condition_shape: tuple[int, ...] | None) -> "ConditionKind | None":
        """That of labels, or of floats; None for neither."""
        if num_classes is not None:
            return cls((), num_classes)
        return None if condition_shape is None else cls(tuple(condition_shape))

    @property
    def of_none(self) -> float:
        """The number that stands for no condition: the label after the last one, or one that is none."""
        return np.nan if self.num_levels is None else self.num_levels

    def none(self, count: int) -> np.ndarray:
        """What stands for no condition, for so many examples."""
        dtype = "float32" if self.num_levels is None else "int32"
        return np.full((count, *self.shape), self.of_none, dtype)

    def is_none(self, conditions: np.ndarray) -> np.ndarray:
        """Which of the conditions (B, …) stand for none: (B,)."""
        found = np.isnan(conditions) if self.num_levels is None else conditions == self.num_levels
        return found.reshape(len(conditions), -1).all(axis=1)

    @property
    def is_label(self) -> bool:
        return not self.shape

    @property
    def is_source(self) -> bool:
        return self.padding is not None

    def __str__(self) -> str:
        """What is expected, in words."""
        if self.num_levels is None:
            return f"floats of shape (batch, {', '.join(map(str, self.shape))})"
        if self.is_label:
            return f"integer labels (batch,) in [0, {self.num_levels - 1}]"
        return f"integer tokens (batch, {self.shape[0]} or fewer) in [0, {self.num_levels - 1}]"

    @property
    def range(self) -> str:
        """What its numbers are to be, in words."""
        if self.num_levels is None:
            return "expected finite numbers"
        option = "num_classes" if self.is_label else "source_levels"
        return f"expected [0, {self.num_levels - 1}]: the model was built with {option}={self.num_levels}"

    def fits(self, shape: tuple[int | None, ...]) -> bool:
        """Whether a batch of conditions may have the shape, of which sizes may be unknown."""
        if len(shape) != 1 + len(self.shape):
            return False
        sizes = zip(shape[1:], self.shape, strict=True)
        if self.is_source:
            return all(size is None or 1 <= size <= most for size, most in sizes)
        return all(size is None or size == expected for size, expected in sizes)
