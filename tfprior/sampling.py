"""Sampling a prior: every method draws the same integers from the same uniforms.

Shapes: B batch · H W C grid · K uniforms a pixel.
"""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfprior.compilation import compiled
from tfprior.distributions.base import Tensor
from tfprior.inputs import as_array, check_completion, check_condition, check_sampling_options, check_uniforms
from tfprior.layers.streaming import State
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors.base import Prior
from tfprior.priors.raster import RasterPrior
from tfprior.sharding import run_in_shards


def sample(
    prior: Prior,
    num_samples: int,
    condition: Any = None,
    uniforms: Any = None,
    seed: int | None = None,
    method: Literal["cached", "full"] = "cached",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    observed: Any = None,
    mask: Any = None,
) -> np.ndarray:
    """Draws grids from the prior: (num_samples, H, W, C) int32.

    Args:
        prior: any prior.
        num_samples: how many grids, B.
        condition: one row for each sample, for a conditional prior.
        uniforms: the noise (B, H, W, K) in [0, 1); drawn from `seed` when left out.
        seed: of the noise, for samples that repeat.
        method: "cached" streams in one compiled graph and costs a few forward passes in all; "full" runs
            the network anew for every pixel, the definition that "cached" is tested against.
        temperature: below 1 sharpens, above 1 flattens every distribution.
        top_k: draws from the `top_k` most probable values of a channel only.
        top_p: draws from the fewest values that hold a probability `top_p` only.
        observed: known grids (B, H, W, C) to complete.
        mask: True where a pixel of `observed` is hidden and is to be drawn: (H, W) or (B, H, W).

    Raises:
        ValueError: for arguments of the wrong shape, type or range, and unknown methods.
    """
    grid, distribution = prior.grid_shape, prior.distribution
    uniforms = check_uniforms(uniforms, num_samples, grid, distribution.num_uniforms(grid[-1]), seed)
    condition = as_array(condition)
    check_condition(condition, prior.num_classes, prior.condition_shape, num_samples)
    check_sampling_options(temperature, top_k, top_p, distribution.num_levels)
    known, hidden = check_completion(observed, mask, num_samples, grid, distribution.num_levels)
    loops = {"cached": cached if isinstance(prior, RasterPrior) else stepwise, "full": full}
    if method not in loops:
        raise ValueError(f"Unknown sampling method {method!r}; expected 'cached' or 'full'.")
    options = [np.float32(temperature), _optional(top_k, "int32"), _optional(top_p, "float32")]
    condition = None if condition is None else ops.convert_to_numpy(condition)
    run = compiled(loops[method], prior if method == "full" else prior.for_sampling())

    def run_rows(rows: np.ndarray) -> tuple[np.ndarray]:
        noise, *given = (None if x is None else x[rows] for x in (uniforms, condition, known, hidden))
        values, _ = run(noise, given[0], *options, *given[1:])
        return (ops.convert_to_numpy(values),)

    # A whole network keeps all cores busy, and an accelerator takes the batch at once.
    shares = method != "full" and all("cpu" in name.lower() for name in keras.distribution.list_devices())
    return run_in_shards(run_rows, num_samples, workers=None if shares else 1)[0]


def cached(
    prior: RasterPrior,
    uniforms: Tensor,
    condition: Tensor | None = None,
    temperature: Tensor | float = 1.0,
    top_k: Tensor | None = None,
    top_p: Tensor | None = None,
    observed: Tensor | None = None,
    hidden: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Rows outside, pixels inside: uniforms (B, H, W, K) → values (B, H, W, C) and their nats (B,)."""
    height, width, channels = prior.grid_shape
    batch_size = ops.shape(uniforms)[0]
    features_of_condition = prior.encode_condition(condition)
    outside = ops.full((batch_size, width, channels), OUTSIDE, "int32")

    def sample_row(y: Tensor, carry: Any) -> Any:
        image, nats, finished, states = carry
        states, features = prior.row(
            states, finished, features_of_condition, ops.full((batch_size,), 1, "int32") * y
        )
        noise = ops.take(uniforms, y, axis=1)

        def sample_pixel(x: Tensor, carry: Any) -> Any:
            row, nats, previous, caches = carry
            position = ops.full((batch_size,), 1, "int32") * (y * width + x)
            at_x = ops.take(features, x, axis=1)
            if prior.channel_groups > 1:
                # The caches take in the previous pixel once all its channels are known; at the left end of a
                # row there is none.
                before = ops.take(features, ops.maximum(x - 1, 0), axis=1)
                _, absorbed = prior.pixel(caches, before, previous, ops.maximum(position - 1, 0))
                caches = {name: ops.where(x > 0, absorbed[name], caches[name]) for name in caches}

            def predict(current: Tensor | None) -> tuple[Tensor, Any]:
                if current is None:
                    return prior.pixel(caches, at_x, previous, position)
                return prior.pixel(caches, at_x, current, position)[0], caches

            value, log_prob, caches = prior.draw(
                predict, ops.take(noise, x, axis=1), temperature, top_k, top_p
            )
            if observed is not None:
                here = ops.take(ops.take(hidden, y, axis=1), x, axis=1)
                known = ops.take(ops.take(observed, y, axis=1), x, axis=1)
                value, log_prob = complete(value, log_prob, here, known)
            return ops.where(one_hot(x, width)[:, None], value[:, None], row), nats + log_prob, value, caches

        row, nats, _, _ = ops.fori_loop(
            0, width, sample_pixel, (outside, nats, outside[:, 0], prior.pixel_state(batch_size))
        )
        return ops.where(one_hot(y, height)[:, None, None], row[:, None], image), nats, row, states

    image = ops.full((batch_size, height, width, channels), OUTSIDE, "int32")
    start = (image, ops.zeros((batch_size,)), outside, prior.row_state(batch_size))
    image, nats, _, _ = ops.fori_loop(0, height, sample_row, start)
    return image, nats


def stepwise(
    prior: Prior,
    uniforms: Tensor,
    condition: Tensor | None = None,
    temperature: Tensor | float = 1.0,
    top_k: Tensor | None = None,
    top_p: Tensor | None = None,
    observed: Tensor | None = None,
    hidden: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One `sample_step` a position, for any prior; arguments and results as in `cached`."""
    height, width, channels = prior.grid_shape
    batch_size = ops.shape(uniforms)[0]
    noise = ops.reshape(uniforms, (-1, height * width, uniforms.shape[-1]))

    def sample_position(position: Tensor, carry: Any) -> Any:
        image, nats, previous, state = carry
        value, log_prob, state = prior.sample_step(
            state,
            previous,
            ops.full((batch_size,), 1, "int32") * position,
            ops.take(noise, position, axis=1),
            temperature,
            top_k,
            top_p,
        )
        if observed is not None:
            here = ops.take(ops.reshape(hidden, (-1, height * width)), position, axis=1)
            known = ops.take(ops.reshape(observed, (-1, height * width, channels)), position, axis=1)
            value, log_prob = complete(value, log_prob, here, known)
        image = ops.where(one_hot(position, height * width)[:, None], value[:, None], image)
        return image, nats + log_prob, value, state

    image = ops.full((batch_size, height * width, channels), OUTSIDE, "int32")
    start = (image, ops.zeros((batch_size,)), image[:, 0], prior.initial_state(batch_size, condition))
    image, nats, _, _ = ops.fori_loop(0, height * width, sample_position, start)
    return ops.reshape(image, (-1, height, width, channels)), nats


def full(
    prior: Prior,
    uniforms: Tensor,
    condition: Tensor | None = None,
    temperature: Tensor | float = 1.0,
    top_k: Tensor | None = None,
    top_p: Tensor | None = None,
    observed: Tensor | None = None,
    hidden: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The definition: the whole network for every channel of every pixel; as in `cached`."""
    height, width, channels = prior.grid_shape
    num_params = prior.distribution.num_params(channels)
    num_uniforms = uniforms.shape[-1]

    def sample_position(position: Tensor, carry: Any) -> Any:
        image, nats = carry
        here = ops.reshape(one_hot(position, height * width), (height, width, 1))

        def predict(current: Tensor | None) -> tuple[Tensor, State]:
            grid = image if current is None else ops.where(here, current[:, None, None], image)
            params = prior(grid if condition is None else {"values": grid, "condition": condition})
            return ops.take(ops.reshape(params, (-1, height * width, num_params)), position, axis=1), {}

        noise = ops.take(ops.reshape(uniforms, (-1, height * width, num_uniforms)), position, axis=1)
        value, log_prob, _ = prior.draw(predict, noise, temperature, top_k, top_p)
        if observed is not None:
            is_hidden = ops.take(ops.reshape(hidden, (-1, height * width)), position, axis=1)
            known = ops.take(ops.reshape(observed, (-1, height * width, channels)), position, axis=1)
            value, log_prob = complete(value, log_prob, is_hidden, known)
        return ops.where(here, value[:, None, None], image), nats + log_prob

    # What the image holds at positions to come does not matter: the network cannot see them.
    batch_size = ops.shape(uniforms)[0]
    start = ops.zeros((batch_size, height, width, channels), "int32"), ops.zeros((batch_size,))
    return ops.fori_loop(0, height * width, sample_position, start)


def complete(value: Tensor, log_prob: Tensor, hidden: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """What was drawn where the pixel is hidden (B,), what was observed (B, C) elsewhere."""
    return ops.where(hidden[:, None], value, observed), ops.where(hidden, log_prob, 0.0)


def one_hot(index: Tensor, size: int) -> Tensor:
    """(size,) bool, True at `index`."""
    return ops.equal(np.arange(size, dtype="int32"), index)


def _optional(value: float | None, dtype: str) -> Any:
    return None if value is None else np.asarray(value, dtype)
