"""Causal decoders: Transformers that read a grid as a sequence, all at once or one position at a time.

Shapes: B batch · H W C grid · N tokens of a grid · T of them · G tokens of a position · F features of a
value · D of a token · P parameters of a position.
"""

import abc
from typing import Any

import numpy as np
from keras import ops

from tfprior.distributions.base import Tensor
from tfprior.feeding import Batch
from tfprior.layers.attention import MultiHeadAttention
from tfprior.layers.streaming import Apply, State, StateSpec
from tfprior.layers.transformer_block import TransformerBlock
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors.rollout import AlongSequence
from tfprior.priors.sequence_end import SequenceEnd
from tfprior.priors.transformer import TransformerPrior, kept, later


class CausalDecoder(TransformerPrior):
    """A Transformer over the grid in raster order, in which a token sees those before it.

    Args:
        end_value: of sequences, which hold nothing else after it; None for grids without an end.

    Others are those of `TransformerPrior`.

    Attributes:
        blocks: of causal self-attention, whose keys and values steps keep.

    Raises:
        ValueError: for options out of range, and an end of what is no sequence.
    """

    blocks: list[TransformerBlock]

    def __init__(self, *args: Any, end_value: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.end_value = end_value
        self.end = None if end_value is None else SequenceEnd(end_value, self.grid_shape, self.distribution)

    @abc.abstractmethod
    def decode(self, tokens: Tensor, places: Tensor, condition: Any, apply: Apply) -> Tensor:
        """What stands before each of some tokens → features that predict these (B, T, D).

        Encoded tokens (B, T, F), the places (T,) or (B, T) that they lead to, and what `encode_condition`
        gave; `apply` lets tokens look at each other.
        """

    def before(self, values: Tensor) -> Tensor:
        """What comes before each token of the grids (B, H, W, C), nothing before the first one: (B, N, F)."""
        return later(self.tokens(values))

    def predicted(self, h: Tensor, values: Tensor) -> Tensor:
        """Features that predict the tokens of grids (B, N, D), and these (B, H, W, C) → (B, H, W, P)."""
        params = self.params_of_grid(self.params_of_tokens(h))
        return params if self.end is None else self.end.params(params, self.end.before(values))

    # Where a sequence ends

    @property
    def expected_values(self) -> str:
        return super().expected_values if self.end is None else self.end.expected

    def check_batch(self, batch: Batch) -> None:
        super().check_batch(batch)
        self._check_end(batch.values)

    def _checked(self, images: Any, condition: Any) -> list[Any]:
        images, condition = super()._checked(images, condition)
        self._check_end(images)
        return [images, condition]

    def _check_end(self, values: Any) -> None:
        if self.end is not None:
            self.end.check(values)

    def refusals(self, inputs: Any) -> tuple[Tensor, Tensor]:
        values, conditions = super().refusals(inputs)
        if self.end is not None:
            values = ops.logical_or(values, self.end.is_passed(self.unpack(inputs)[0]))
        return values, conditions

    # One position at a time

    @property
    def rollout(self) -> AlongSequence:
        return AlongSequence(self)

    @property
    def caching(self) -> list[MultiHeadAttention]:
        return [block.attention for block in self.blocks]

    def state_spec(self) -> State:
        pixel = {"seen": StateSpec((self.hidden_dim,), self.compute_dtype)}
        if self.end is not None:
            pixel["ended"] = StateSpec((1,), "int32")
        return {"cache": self.cache_of(self.num_tokens), "pixel": pixel}

    def next_tokens(self, state: State, tokens: Tensor, places: Tensor) -> tuple[Tensor, State]:
        """Encoded tokens (B, T, F) at `places` (T,) or (B, T), in order → (B, T, D), and the state."""
        apply = self.next_to(state, places, places)
        h = self.decode(tokens, places, state.get("condition"), apply)
        return h, {**state, kept(state): apply.after}

    def placed(self, state: State, tokens: Tensor, places: Tensor, ranks: Tensor) -> State:
        return self.next_tokens(state, tokens, places)[1]

    def place(self, state: State, previous: Tensor, before: Tensor | None, rank: Tensor) -> State:
        return self.advance(state, previous, rank)

    def params_next(
        self, state: State, position: Tensor, rank: Tensor, current: Tensor | None = None
    ) -> Tensor:
        return self.params_at(state, position, current)[0]

    def params_ahead(
        self, state: State, values: Tensor, order: Tensor, first: Tensor, count: int
    ) -> tuple[Tensor, State]:
        places = self.ranks_ahead(first, count)
        h, state = self.next_tokens(state, self.tokens_ahead(values, first, count), places)
        params = ops.reshape(self.params_of_tokens(h), (-1, count, self.num_params))
        if self.end is not None:
            before = ops.take(values, first + np.arange(count, dtype="int32"), axis=1)
            params = self.end.params(params, ops.equal(before[..., 0], self.end.value))
        return params, state

    def prefill(self, values: Tensor, condition: Tensor | None = None) -> State:
        """The state after the positions of which `values` (B, H, W, C) are known, however many these are.

        What stands behind them does no harm: steps write over it before they look at it.
        """
        state = self.initial_state(ops.shape(values)[0], condition)
        return self.next_tokens(state, self.before(values), self.places)[1]

    def advance(self, state: State, previous: Tensor, position: Tensor) -> State:
        """Takes in the value at `position` − 1; where `position` is 0 all its tokens are the first one."""
        groups, position = self.channel_groups, ops.cast(position, "int32")[..., None]
        previous = ops.where(ops.reshape(position == 0, (-1, 1)), OUTSIDE, previous)
        places = ops.maximum(position * groups + np.arange(1 - groups, 1, dtype="int32"), 0)
        h, state = self.next_tokens(state, self.tokens(previous), places)
        pixel = {"seen": h[:, -1]}
        if self.end is not None:
            pixel["ended"] = ops.cast(ops.equal(previous, self.end.value), "int32")
        return {**state, "pixel": pixel}

    def params_at(
        self, state: State, position: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Parameters (B, P) at `position`, given the channels known in `current` (B, C)."""
        groups, h = self.channel_groups, state["pixel"]["seen"][:, None]
        if groups > 1:
            places = ops.cast(position, "int32")[..., None] * groups + np.arange(1, groups, dtype="int32")
            others, _ = self.next_tokens(state, self.known_channels(current, ops.shape(h)[0]), places)
            h = ops.concatenate([h, others], axis=1)
        params = ops.reshape(self.params_of_tokens(h), (-1, self.num_params))
        if self.end is not None:
            params = self.end.params(params, state["pixel"]["ended"][:, 0] > 0)
        return params, state

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "end_value": self.end_value}
