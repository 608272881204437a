"""What changes how values are drawn, and never the likelihood that is reported."""

from typing import Any, NamedTuple

from keras import ops

Tensor = Any


class SamplingOptions(NamedTuple):
    """How values are drawn: each a number for all examples, or one for each of them (B,).

    Attributes:
        temperature: below 1 sharpens, above 1 flattens every distribution.
        top_k: draws from the `top_k` most probable values of a channel only; None from all.
        top_p: draws from the fewest values that hold a probability `top_p` only; None from all.
        guidance: w of classifier-free guidance; None for none. The batch then has two halves, the examples
            and the same ones without their condition, and what is drawn is the same in both.
    """

    temperature: Tensor = 1.0
    top_k: Tensor = None
    top_p: Tensor = None
    guidance: Tensor = None

    def spread(self, axes: int) -> "SamplingOptions":
        """For values with so many axes after that of the examples: (B,) → (B, 1, …); numbers stay numbers."""
        return SamplingOptions(*(None if part is None else _spread(part, axes) for part in self))

    @property
    def truncates(self) -> bool:
        """Whether some values are never drawn."""
        return self.top_k is not None or self.top_p is not None


def _spread(part: Tensor, axes: int) -> Tensor:
    shape = getattr(part, "shape", ())
    return ops.reshape(part, (-1, *[1] * axes)) if len(shape) == 1 and axes else part


PLAIN = SamplingOptions()
