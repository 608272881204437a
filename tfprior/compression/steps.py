"""A prior led along the pixels of a batch by values that come from outside.

Every step runs one compiled graph on arrays of one shape. So an encoder, which leads by images that it
knows, and a decoder, which leads by what it has read so far, see the same probabilities to the last bit;
those of the whole-image `call` would differ in it.

Shapes: B batch · H W C grid · L levels · P parameters of a pixel.
"""

import functools
from collections.abc import Callable, Iterator

import numpy as np
from keras import ops

from tfprior.compilation import compiled
from tfprior.compression.coder import Coder
from tfprior.distributions.base import Tensor
from tfprior.layers.streaming import State
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors.base import Prior
from tfprior.priors.raster import RasterPrior


def code_grids(
    prior: Prior,
    coder: Coder,
    values: np.ndarray | None,
    count: int,
    batch_size: int,
    condition: np.ndarray | None,
    tick: Callable[[], None],
) -> np.ndarray:
    """Codes `count` grids in a batch of `batch_size`: (B, H, W, C) int32, zeros where it is filled up.

    Args:
        prior: any prior.
        coder: either side.
        values: the grids (count, H, W, C) on the encoding side.
        count: how many grids.
        batch_size: B.
        condition: of the whole batch, for a conditional prior.
        tick: called after each pixel.
    """
    grids = np.full((batch_size, *prior.grid_shape), OUTSIDE, "int32")
    for (y, x, channel), probabilities in predictions(prior.for_sampling(), grids, condition):
        known = None if values is None else values[:, y, x, channel]
        grids[:, y, x, channel] = 0
        grids[:count, y, x, channel] = coder(probabilities[:count], known)
        if channel == prior.grid_shape[-1] - 1:
            tick()
    return grids


def predictions(
    prior: Prior, grids: np.ndarray, condition: np.ndarray | None
) -> Iterator[tuple[tuple[int, int, int], np.ndarray]]:
    """Leads along the pixels: ((y, x, channel), probabilities (B, L)) of every value in turn.

    `grids` (B, H, W, C) are read as far as they went; write the values there before the next one.
    """
    batch_size, (height, width, channels) = len(grids), prior.grid_shape
    is_raster = isinstance(prior, RasterPrior)
    begin_row, begin_pixel = compiled(_begin_row, prior), compiled(_begin_pixel, prior)
    further = [compiled(_go_on(channel), prior) for channel in range(1, channels)]
    names = _renewed(prior)
    rows = _tensors(prior.row_state(batch_size)) if is_raster else []
    state = {} if is_raster else prior.initial_state(batch_size, condition)
    finished, previous = grids[:, 0].copy(), grids[:, 0, 0].copy()  # none yet
    for y in range(height):
        if is_raster:
            features, *rows = begin_row(finished, _full(batch_size, y), condition, *rows)
            state = {**prior.pixel_state(batch_size), "features": features}
        for x in range(width):
            position, before = _full(batch_size, y * width + x), ops.convert_to_tensor(previous)
            probabilities, params, *renewed = begin_pixel(before, position, *_tensors(state))
            state.update(zip(names, renewed, strict=True))
            yield (y, x, 0), ops.convert_to_numpy(probabilities)
            seen = _tensors(state) if prior.channel_groups > 1 else []  # where the network runs once more
            for channel, go_on in enumerate(further, 1):
                pixel = ops.convert_to_tensor(grids[:, y, x].copy())
                probabilities = go_on(params, pixel, position, *seen)
                yield (y, x, channel), ops.convert_to_numpy(probabilities)
            previous = grids[:, y, x]
        finished = grids[:, y]


def _begin_row(
    prior: RasterPrior, finished: Tensor, y: Tensor, condition: Tensor | None, *rows: Tensor
) -> tuple[Tensor, ...]:
    """The row above (B, W, C), y (B,) → features of the row, and the row state."""
    names = sorted(prior.row_state(1))
    state = dict(zip(names, rows, strict=True))
    state, features = prior.row(state, finished, prior.encode_condition(condition), y)
    return features, *(state[name] for name in names)


def _begin_pixel(prior: Prior, previous: Tensor, position: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The pixel before (B, C), position (B,) → probabilities of channel 0 (B, L), parameters, the state."""
    state = _state(prior, tensors)
    advance = prior.advance_pixel if isinstance(prior, RasterPrior) else prior.advance
    params, state = prior.predict_pixel(advance(state, previous, position), position)
    unknown = ops.full_like(previous, OUTSIDE)
    probabilities = prior.distribution.probabilities(params, unknown, 0)
    return probabilities, params, *(state[name] for name in _renewed(prior))


@functools.cache
def _go_on(channel: int) -> Callable[..., Tensor]:
    """The step to a further channel of a pixel."""

    def predict(prior: Prior, params: Tensor, pixel: Tensor, position: Tensor, *tensors: Tensor) -> Tensor:
        """The pixel (B, C) as far as it is known → probabilities (B, L)."""
        if prior.channel_groups > 1:
            params, _ = prior.predict_pixel(_state(prior, tensors), position, pixel)
        return prior.distribution.probabilities(params, pixel, channel)

    return predict


def _renewed(prior: Prior) -> list[str]:
    """Names of what a pixel changes in the state."""
    return sorted(prior.pixel_state(1) if isinstance(prior, RasterPrior) else prior.recurrent_state(1))


def _state(prior: Prior, tensors: tuple[Tensor, ...]) -> State:
    """What `_tensors` took apart: what a pixel changes, and what it reads beside that."""
    if isinstance(prior, RasterPrior):
        fixed = ["features"]
    else:
        fixed = [] if prior.num_classes is None and prior.condition_shape is None else ["condition"]
    return dict(zip(sorted([*_renewed(prior), *fixed]), tensors, strict=True))


def _tensors(state: State) -> list[Tensor]:
    return [state[name] for name in sorted(state)]


def _full(batch_size: int, number: int) -> Tensor:
    """As a tensor: a compiled function takes arrays too, but more slowly."""
    return ops.convert_to_tensor(np.full(batch_size, number, "int32"))
