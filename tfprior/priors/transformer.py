"""What the Transformers share that draw one position after the other, from a cache of those before.

Shapes: B batch · H W C grid · T tokens · G tokens of a position · F features of a value · P parameters of a
position.
"""

import abc
from typing import Any

import numpy as np
from keras import ops

from tfprior.distributions.base import Tensor
from tfprior.layers.attention import MultiHeadAttention
from tfprior.layers.key_value_cache import AtEnd, AtPlaces, NextTokens, Slots, cache_spec
from tfprior.layers.streaming import State, empty_state
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors.autoregressive import AutoregressivePrior
from tfprior.priors.grid_transformer import GridTransformer


class TransformerPrior(GridTransformer, AutoregressivePrior):
    """A Transformer over the positions of a grid, which keeps the keys and values of those before.

    A position is a token where the distribution takes all its channels together, else each channel is one, in
    their order. Arguments are those of `CausalTransformer`.
    """

    @property
    @abc.abstractmethod
    def caching(self) -> list[MultiHeadAttention]:
        """The attentions whose keys and values steps keep."""

    def cache_of(self, length: int) -> State:
        """The specification of caches of that many tokens, by the names of the attentions."""
        shape = (self.num_heads, length, self.hidden_dim // self.num_heads)
        return {layer.name: cache_spec(shape, self.compute_dtype) for layer in self.caching}

    def slots(self, state: State, ranks: Tensor) -> Slots:
        """Where tokens that come at `ranks` (T,) or (B, T) stand in the caches of a state.

        A state has a "cache" as long as the grid, or a "past" that grows from nothing: by G tokens a step, as
        the first step puts G − 1 in front of the first one, which nobody sees.
        """
        if "past" in state:
            return AtEnd(ops.shape(ranks)[-1], self.channel_groups - 1)
        return AtPlaces(ranks)

    def next_to(self, state: State, ranks: Tensor, places: Tensor) -> NextTokens:
        """Applies attention to the tokens that come at `ranks` and stand at `places`, each (T,) or (B, T)."""
        return NextTokens(state[kept(state)], self.slots(state, ranks), self.rotation(places))

    @abc.abstractmethod
    def placed(self, state: State, tokens: Tensor, places: Tensor, ranks: Tensor) -> State:
        """The state with encoded tokens (B, T, F) that stand at `places` and come at `ranks`."""

    @abc.abstractmethod
    def place(self, state: State, previous: Tensor, before: Tensor | None, rank: Tensor) -> State:
        """Takes in `previous` (B, C), the last one placed of `rank` (B,), at the position `before` (B,)."""

    @abc.abstractmethod
    def params_next(
        self, state: State, position: Tensor, rank: Tensor, current: Tensor | None = None
    ) -> Tensor:
        """Parameters (B, P) at `position` (B,) after `place`; see `step` for `current`."""

    @abc.abstractmethod
    def params_ahead(
        self, state: State, values: Tensor, order: Tensor, first: Tensor, count: int
    ) -> tuple[Tensor, State]:
        """Parameters (B, n, P) of the `count` positions n that come from rank `first` on in an order (B, N).

        Each is given those before it in `values` (B, 1 + N, C), which lie in that order behind an OUTSIDE
        one; a state knows those before rank `first`, and comes back with all of them.
        """

    def tokens_ahead(self, values: Tensor, first: Tensor, count: int) -> Tensor:
        """What comes before each token of these positions, encoded: (B, n · G, F)."""
        these = ops.take(values, first + np.arange(count + 1, dtype="int32"), axis=1)
        return self.tokens(these)[:, self.channel_groups - 1 : -1]

    def ranks_ahead(self, first: Tensor, count: int) -> Tensor:
        """Of the tokens of these positions: (n · G,)."""
        return first * self.channel_groups + np.arange(count * self.channel_groups, dtype="int32")

    def past_of(self, values: Tensor, given: State, positions: Tensor | None = None) -> State:
        """A state with a past, for the step after n positions whose values (B, n, C) are known.

        They are the first n of raster order, or `positions` (B, n). The last value is the step's `previous`.
        `given` is what a state has of the condition.
        """
        groups = self.channel_groups
        tokens = self.tokens(values)
        ranks = ops.maximum(ops.arange(ops.shape(tokens)[1], dtype="int32") - (groups - 1), 0)
        places = ranks if positions is None else later(self.token_places(positions), groups)
        state = {"past": empty_state(self.cache_of(0), ops.shape(values)[0]), **given}
        return self.placed(state, later(tokens, groups), places, ranks)

    def known_channels(self, current: Tensor | None, batch_size: Any) -> Tensor:
        """Encoded channels of a position but the last one, as far as they are known: (B, G − 1, F)."""
        if current is None:
            current = ops.full((batch_size, self.channel_groups), OUTSIDE, "int32")
        return self.tokens(current)[:, :-1]


def later(x: Tensor, count: int = 1) -> Tensor:
    """Tokens (B, T, F), or places (B, T) or (T,) of them, each `count` later, behind zeros."""
    axis = 1 if len(x.shape) > 1 else 0
    before = [(0, 0)] * len(x.shape)
    before[axis] = (count, 0)
    return ops.pad(x[:, :-count] if axis else x[:-count], before)


def kept(state: State) -> str:
    """The kind under which a state keeps keys and values."""
    return "past" if "past" in state else "cache"
