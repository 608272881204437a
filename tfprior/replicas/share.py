"""The part of the global batch that a replica sees.

What is drawn from a batch, or averaged over it in a loss that is not a mean over examples, is to be of the
whole batch, however many replicas share it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from keras import ops


class Share(NamedTuple):
    """One replica's part of the global batch.

    Attributes:
        first: number of the examples that the replicas before this one have.
        count: number of its own examples.
        total: number of all.
        size: examples that its tensors hold: its own, or one to fill an empty share.
        add_up: adds a tensor up over the replicas; not differentiable.
    """

    first: Any
    count: Any
    total: Any
    size: Any
    add_up: Callable[[Any], Any]


_SHARE: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def sees(share: Share | None) -> Iterator[None]:
    """Within it layers see such a part of the batch; None stands for the whole."""
    token = _SHARE.set(share)
    try:
        yield
    finally:
        _SHARE.reset(token)


def places_in_batch(count: Any) -> Any:
    """Where `count` examples of this replica stand in the global batch: (count,) int32."""
    share = _SHARE.get()
    own = ops.arange(count, dtype="int32")
    return own if share is None else own + ops.cast(share.first, "int32")


def rows_of_batch(draw: Callable[[Any], Any], count: Any) -> Any:
    """What `draw` makes for each example of the global batch, of the `count` that this replica has."""
    share = _SHARE.get()
    if share is None:
        return draw(count)
    places = ops.minimum(places_in_batch(count), share.total - 1)  # one that fills an empty share is beyond
    return ops.take(draw(share.total), places, axis=0)


def spread_over_batch(rows: Any, places: Any) -> Any:
    """The rows at `places`, from 0 at the first of the batch to 1 after the last: (N, D), (K,) → (K, D).

    With several replicas every row of the global batch is on one of them; the others give zeros, and all that
    they give adds up to the rows.
    """
    share, held = _SHARE.get(), ops.shape(rows)[0]
    if share is None:
        index = ops.cast(places * ops.cast(held, "float32"), "int32")
        return ops.take(rows, ops.minimum(index, held - 1), axis=0)
    of_each = held // share.size
    total = share.total * of_each
    index = ops.minimum(ops.cast(places * ops.cast(total, "float32"), "int32"), total - 1)
    index = index - share.first * of_each
    is_here = (index >= 0) & (index < share.count * of_each)
    found = ops.take(rows, ops.clip(index, 0, held - 1), axis=0)
    return ops.where(is_here[:, None], found, ops.zeros_like(found))


def mean_over_batch(rows: Any) -> Any:
    """The mean over the global batch: (N, …) → (…), with the gradient of the mean over what is here."""
    mean, share = ops.mean(rows, axis=0), _SHARE.get()
    if share is None:
        return mean
    held = ops.stop_gradient(mean)
    weight = ops.cast(share.count, held.dtype) / ops.cast(share.total, held.dtype)
    return mean + share.add_up(held * weight) - held
