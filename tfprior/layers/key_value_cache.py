"""The streaming rule over sequences: one topology, run over all tokens or over the next ones.

A topology calls `apply(attention, x)` wherever a token looks at others. `OverSequence` runs the layer over
the whole sequence; `NextTokens` runs it for the tokens at some places, from a cache of the keys and values
of those before, which it adds to.

Shapes: B batch · T tokens · S length of the sequence · D features · h heads · d features of a head.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfprior.layers.streaming import State, StateSpec

Rotation = Callable[[Any], Any]
"""Turns queries or keys (B, h, T, d) by their places."""


class OverSequence:
    """Applies attention to the whole sequence (B, S, D)."""

    def __init__(self, rotation: Rotation | None = None) -> None:
        self.rotation = rotation

    def __call__(self, layer: keras.layers.Layer, x: Any) -> Any:
        return layer(x, rotation=self.rotation)


class NextTokens:
    """Applies attention to the tokens at `places`, reading caches by name and collecting the new ones.

    Args:
        caches: of the layers, by name.
        places: of the tokens in their sequence, one after the other: (T,) where they are the same for all
            examples, else (B, T).
        rotation: by those places.
    """

    def __init__(self, caches: State, places: Any, rotation: Rotation | None = None) -> None:
        self.before, self.after = caches, State()
        self.places, self.rotation = places, rotation

    def __call__(self, layer: keras.layers.Layer, x: Any) -> Any:
        y, self.after[layer.name] = layer.token_step(x, self.before[layer.name], self.places, self.rotation)
        return y


def cache_spec(shape: tuple[int, int, int], dtype: str) -> State:
    """Of keys and values (h, S, d)."""
    return {name: StateSpec(shape, dtype) for name in ("keys", "values")}


def put(cache: Any, new: Any, places: Any) -> Any:
    """The cache (B, h, S, d) with `new` (B, h, T, d) at `places` (T,) or (B, T) of it."""
    length, count = cache.shape[2], new.shape[2]
    if count == length:
        return new
    if len(places.shape) == 1:
        return ops.slice_update(cache, (0, 0, places[0], 0), new)
    for index in range(count):
        here = ops.arange(length) == places[:, index : index + 1]  # (B, S)
        cache = ops.where(here[:, None, :, None], new[:, :, index : index + 1], cache)
    return cache
