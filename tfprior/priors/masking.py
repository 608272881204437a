"""What is hidden of a grid while a masked prior learns it, and what it is asked.

Shapes: B batch · N tokens of a grid · c channels of a token · U uniforms of an example · M masks.
"""

import abc
import itertools
import math
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from keras import ops

from tfprior.distributions.base import BELOW_ONE, Tensor
from tfprior.inputs import entropy_of, is_integer
from tfprior.orders import radical_inverse
from tfprior.score import BITS_PER_DIM_BOUND, Score

ObjectiveName = Literal["order_agnostic", "bert", "maskgit"]
MOST_ENUMERATED = 12
"""Tokens of a grid of which all masks can be gone through: 2^12 − 1 of them."""


class Masking(NamedTuple):
    """A batch as a masked prior sees it.

    Attributes:
        values: (B, N, c) int32.
        hidden: (B, N) bool, which of them it does not see.
        asked: (B, N) bool, which of them the loss is of.
    """

    values: Tensor
    hidden: Tensor
    asked: Tensor


class Terms(NamedTuple):
    """What each example (B,) adds to the score, which is a sum of nats over a sum of dimensions."""

    nats: Tensor
    dims: Tensor


class Objective(abc.ABC):
    """What is hidden in training, and what the nats of what is asked add up to."""

    score: ClassVar[Score] = Score("asked_bits_per_dim", "bits/dim", words="bits/dim of what it is asked")

    def num_uniforms(self, num_tokens: int, channels: int) -> int:
        """U; the first one of an example decides how many values are hidden."""
        return 1 + num_tokens

    @abc.abstractmethod
    def hide(self, values: Tensor, uniforms: Tensor, num_levels: int) -> Masking:
        """Values (B, N, c) and uniforms (B, U) → what is seen of them."""

    def terms(self, nats: Tensor, asked: Tensor, channels: int) -> Terms:
        """Of the nats (B, N) that each value takes, and which are asked (B, N)."""
        asked = ops.cast(asked, nats.dtype)
        return Terms(ops.sum(nats * asked, axis=-1), ops.sum(asked, axis=-1) * channels)

    @abc.abstractmethod
    def mean_dims(self, num_tokens: int, channels: int) -> float:
        """The dimensions of an example's terms, on average: what makes a loss of its nats."""


class OrderAgnostic(Objective):
    """Hides n of N values, n uniform in 1 … N (Hoogeboom et al. 2021, arXiv:2110.02037).

    The nats of those hidden, times N / n, are on average those of all values drawn one by one in a random
    order, which are no fewer than −log p of the mixture of all orders.
    """

    score = BITS_PER_DIM_BOUND

    def hide(self, values: Tensor, uniforms: Tensor, num_levels: int) -> Masking:
        size = values.shape[1]
        count = 1 + ops.cast(uniforms[:, 0] * size, "int32")
        hidden = lowest(uniforms[:, 1:], ops.minimum(count, size))
        return Masking(values, hidden, hidden)

    def terms(self, nats: Tensor, asked: Tensor, channels: int) -> Terms:
        bound = ops.sum(weighted(nats, asked), axis=-1)
        return Terms(bound, ops.full_like(bound, self.mean_dims(nats.shape[-1], channels)))

    def mean_dims(self, num_tokens: int, channels: int) -> float:
        return num_tokens * channels


class Bert(Objective):
    """Asks 15 % of the values, 80 % of them hidden, 10 % replaced by any value and 10 % left as they are.

    Devlin et al. 2018, arXiv:1810.04805.
    """

    def num_uniforms(self, num_tokens: int, channels: int) -> int:
        return num_tokens * (2 + channels)

    def hide(self, values: Tensor, uniforms: Tensor, num_levels: int) -> Masking:
        size, channels = values.shape[1:]
        ranks, fates, others = uniforms[:, :size], uniforms[:, size : 2 * size], uniforms[:, 2 * size :]
        asked = lowest(ranks, self.num_asked(size))
        hidden = asked & (fates < np.float32(0.8))
        replaced = asked & (fates >= np.float32(0.9))
        any_values = ops.cast(ops.reshape(others, (-1, size, channels)) * num_levels, "int32")
        any_values = ops.minimum(any_values, num_levels - 1)
        return Masking(ops.where(replaced[..., None], any_values, values), hidden, asked)

    def num_asked(self, num_tokens: int) -> int:
        return max(1, round(0.15 * num_tokens))

    def mean_dims(self, num_tokens: int, channels: int) -> float:
        return self.num_asked(num_tokens) * channels


class MaskGIT(Objective):
    """Hides ⌈N cos(π u / 2)⌉ of N values, u uniform (Chang et al. 2022, arXiv:2202.04200).

    Every hidden value counts alike, so that examples of which more is hidden count more.
    """

    def hide(self, values: Tensor, uniforms: Tensor, num_levels: int) -> Masking:
        size = values.shape[1]
        count = ops.ceil(size * ops.cos(uniforms[:, 0] * np.float32(math.pi / 2)))
        hidden = lowest(uniforms[:, 1:], ops.clip(ops.cast(count, "int32"), 1, size))
        return Masking(values, hidden, hidden)

    def mean_dims(self, num_tokens: int, channels: int) -> float:
        chances = 2 / math.pi * np.arccos(np.arange(num_tokens) / num_tokens)  # of hiding more than n
        return float(chances.sum()) * channels


OBJECTIVES: dict[str, Objective] = {
    "order_agnostic": OrderAgnostic(),
    "bert": Bert(),
    "maskgit": MaskGIT(),
}


def lowest(uniforms: Tensor, count: Tensor) -> Tensor:
    """Which are the `count` lowest, a number or (B,), of uniforms (B, N): any so many are as likely."""
    ranks = ops.argsort(ops.argsort(uniforms, axis=-1), axis=-1)
    return ops.cast(ranks, "int32") < ops.reshape(ops.cast(count, "int32"), (-1, 1))


def weighted(nats: Tensor, hidden: Tensor) -> Tensor:
    """Nats (B, N), those of the n hidden values times N / n and no others."""
    share = ops.cast(hidden, nats.dtype)
    return nats * share * (hidden.shape[-1] / ops.sum(share, axis=-1, keepdims=True))


def declared_uniforms(count: int, num_uniforms: int, seed: int = 0) -> np.ndarray:
    """A fixed list of noise (count, U), the same for the same seed; first numbers lie evenly in [0, 1)."""
    generator = np.random.default_rng(seed)
    uniforms = generator.random((count, num_uniforms), "float32")
    uniforms[:, 0] = spread(count, generator.random())
    return uniforms


def spread(count: int, shift: float) -> np.ndarray:
    """Numbers in [0, 1) that lie evenly, each of them uniform where the shift is: (count,) float32."""
    evenly = np.array([radical_inverse(index, 2) for index in range(count)])
    return np.minimum((evenly + shift) % 1, BELOW_ONE).astype("float32")


def declared_masks(count: int, num_tokens: int, seed: int = 0) -> np.ndarray:
    """A fixed list of masks as `OrderAgnostic` draws them, the same for the same seed: (count, N) bool.

    Raises:
        ValueError: for a number below 1.
    """
    if not is_integer(count) or count < 1:
        raise ValueError(f'draws={count!r}; expected a positive number of masks, or "all".')
    uniforms = declared_uniforms(count, 1 + num_tokens, entropy_of(seed))
    ranks = uniforms[:, 1:].argsort(axis=1).argsort(axis=1)
    return np.asarray(ranks < 1 + np.floor(uniforms[:, :1] * num_tokens))


def every_mask(num_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """All masks (M, N) that hide something, and how likely `OrderAgnostic` draws each (M,).

    Raises:
        ValueError: for more tokens than can be enumerated.
    """
    if num_tokens > MOST_ENUMERATED:
        raise ValueError(
            f'draws="all" goes through 2^{num_tokens} − 1 masks; expected a number of draws, or a grid of at '
            f"most {MOST_ENUMERATED} values that are hidden apart."
        )
    masks = np.array(list(itertools.product([False, True], repeat=num_tokens)))[1:]
    counts = masks.sum(1)
    alike = np.array([math.comb(num_tokens, count) for count in counts])
    return masks, 1 / (num_tokens * alike)
