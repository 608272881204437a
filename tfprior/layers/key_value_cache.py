"""The streaming rule over sequences: one topology, run over all tokens or over the next ones.

A topology calls `apply(attention, x)` wherever a token looks at others. `OverSequence` runs the layer over
the whole sequence; `NextTokens` runs it for the tokens at some places, from a cache of the keys and values
of those before, which it adds to; `Memory` lets them look at what has keys and values of its own.

A cache is as long as the sequence and written at places (`AtPlaces`), or grows with it (`AtEnd`): the first
is quick where it is written in place, the second where it is handed from call to call.

Shapes: B batch · T tokens · S length of the sequence, or of a cache · D features · h heads · d features of a
head.
"""

import abc
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.layers.streaming import State, StateSpec

Rotation = Callable[[Any], Any]
"""Turns queries or keys (B, h, T, d) by their places."""

HIDDEN = np.float32(-1e9)
"""Added to the score of a key that a query must not see; finite, as some runtimes multiply by masks."""
HIDDEN_IN_FLOAT16 = np.float32(-3e4)
"""The same in float16, which has no such numbers: two of them, and a score, are finite."""


class OverSequence:
    """Applies attention to the whole sequence (B, S, D), by rotations, and a bias that joins the scores."""

    def __init__(self, rotation: Rotation | None = None, bias: Any = None) -> None:
        self.rotation, self.bias = rotation, bias

    def __call__(self, layer: keras.layers.Layer, x: Any) -> Any:
        return layer(x, rotation=self.rotation, bias=self.bias)


class Slots(abc.ABC):
    """Where new tokens stand in caches, and what of these they see: themselves and those before them."""

    @abc.abstractmethod
    def put(self, cache: Any, new: Any) -> Any:
        """The cache (B, h, S, d) with `new` (B, h, T, d) in its slots."""

    @abc.abstractmethod
    def bias(self, cache: Any) -> Any:
        """Hides from T tokens what they do not see of the cache that holds them: (1 or B, 1, T, S)."""

    def added(self, cache: State, keys: Any, values: Any) -> State:
        """The cache with the keys and values of the new tokens."""
        return {"keys": self.put(cache["keys"], keys), "values": self.put(cache["values"], values)}


class AtPlaces(Slots):
    """At places of a cache as long as the sequence: (T,) one after the other for all examples, or (B, T)."""

    def __init__(self, places: Any) -> None:
        self.places = places

    def put(self, cache: Any, new: Any) -> Any:
        length, count = cache.shape[2], new.shape[2]
        if count == length:
            return new
        if len(self.places.shape) == 1:
            return ops.slice_update(cache, (0, 0, self.places[0], 0), new)
        for index in range(count):
            here = ops.arange(length) == self.places[:, index : index + 1]  # (B, S)
            cache = ops.where(here[:, None, :, None], new[:, :, index : index + 1], cache)
        return cache

    def bias(self, cache: Any) -> Any:
        return until(self.places, cache.shape[2])


class AtEnd(Slots):
    """At the end of a cache that grows.

    Args:
        count: T.
        unseen: how many tokens, the first of all, nobody sees.
    """

    def __init__(self, count: Any, unseen: int = 0) -> None:
        self.count, self.unseen = count, unseen

    def put(self, cache: Any, new: Any) -> Any:
        return ops.concatenate([cache, new], axis=2)

    def bias(self, cache: Any) -> Any:
        length = ops.shape(cache)[2]
        own = ops.arange(self.count, dtype="int32") + (length - self.count)
        return until(own, length, self.unseen)


class NextTokens:
    """Applies attention to the tokens at some slots, reading caches by name and collecting the new ones.

    Args:
        caches: of the layers, by name.
        slots: of the tokens in them.
        rotation: by the places of the tokens in their sequence.
    """

    def __init__(self, caches: State, slots: Slots, rotation: Rotation | None = None) -> None:
        self.before, self.after = caches, State()
        self.slots, self.rotation = slots, rotation

    def __call__(self, layer: keras.layers.Layer, x: Any) -> Any:
        y, self.after[layer.name] = layer.token_step(x, self.before[layer.name], self.slots, self.rotation)
        return y


class Memory:
    """Applies attention to a memory whose keys and values are made already.

    Args:
        keys_and_values: of each layer, by name.
        bias: hides a part of it.
        rotation: of the queries, by their places.
    """

    def __init__(
        self, keys_and_values: dict[str, tuple[Any, Any]], bias: Any, rotation: Rotation | None = None
    ) -> None:
        self.keys_and_values, self.bias, self.rotation = keys_and_values, bias, rotation

    def __call__(self, layer: Any, x: Any) -> Any:
        return layer.attend(layer.queries(x, self.rotation), *self.keys_and_values[layer.name], self.bias)


def cache_spec(shape: tuple[int, int, int], dtype: str) -> State:
    """Of keys and values (h, S, d)."""
    return {name: StateSpec(shape, dtype) for name in ("keys", "values")}


def in_scores(bias: Any, dtype: str) -> Any:
    """A bias in the type of the scores that it joins; what it hides stays finite."""
    return ops.cast(ops.maximum(bias, HIDDEN_IN_FLOAT16) if dtype == "float16" else bias, dtype)


def until(places: Any, length: Any, unseen: int = 0) -> Any:
    """Hides what comes after places (T,) or (B, T) of a sequence: (1, T, S) or (B, 1, T, S)."""
    index = ops.arange(length, dtype="int32")
    seen = index <= places[..., None]
    if unseen:
        seen = seen & (index >= unseen)
    return ops.where(ops.expand_dims(seen, -3), np.float32(0), HIDDEN)
