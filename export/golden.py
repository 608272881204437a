"""Golden rollouts: noise, what the model draws from it, and its likelihood, which every runtime repeats.

The noise keeps a distance from every step of the CDF (1e-5, less where many levels make many steps), so that
rounding in no runtime can change an integer.
"""

from typing import Any

import numpy as np
from keras import ops

from tfprior.compilation import compiled
from tfprior.export.guidance import is_guided
from tfprior.export.manifest import BundleError, GoldenImages
from tfprior.export.prior_description import GoldenRollout
from tfprior.export.signatures import draws_in_any_order
from tfprior.generator import Generator
from tfprior.priors import Prior
from tfprior.sampling import Request, sample

SAMPLES = 2
GUIDANCE = np.array([0, 2], "float32")
"""Of a prior that is guided: one sample without, one with."""


def golden_rollout(prior: Prior, coarser: Any = None, in_raster_order: bool = False) -> GoldenRollout:
    """Of one prior; `coarser` is its condition where coarser codes make it, and is not written down.

    A prior that draws in any order does so in one of each sample's own, unless it is to be raster order.

    Raises:
        BundleError: when no noise is found that keeps its distance.
    """
    height, width, channels = prior.grid_shape
    generator = np.random.default_rng(0)
    shape = (SAMPLES, height * width, prior.distribution.num_uniforms(channels))
    uniforms = _decimals(generator, shape)
    condition = random_condition(prior, SAMPLES, generator) if coarser is None else coarser
    raster = np.tile(np.arange(prior.num_steps, dtype="int32"), (SAMPLES, 1))
    any_order = draws_in_any_order(prior)
    order = generator.permuted(raster, axis=1) if any_order and not in_raster_order else raster
    along = {"order": order} if any_order else {}
    guidance = GUIDANCE if is_guided(prior) else None
    margin = min(1e-5, 0.01 / prior.distribution.num_levels)
    for _ in range(2 * prior.num_steps):
        noise = uniforms.reshape(-1, height, width, shape[-1]).copy()
        values = sample(prior, SAMPLES, condition, noise, guidance=guidance, **along)
        request = Request.of(prior, SAMPLES, condition, noise, guidance=guidance, **along)
        close = _close_to_a_step(prior, values, request, margin).reshape(SAMPLES, -1)
        if not close.any():
            break
        # What follows a changed pixel changes too, so only the first one of each sample is drawn anew.
        for row in np.flatnonzero(close.any(axis=1)):
            first = order[row, close[row, order[row]].argmax()]
            uniforms[row, first] = _decimals(generator, shape[-1:])
    else:
        raise BundleError(
            "Found no noise that keeps away from the steps of the CDF; is the prior trained, and free of NaN?"
        )
    log_prob = prior.log_prob(values, condition, **along)
    written = None if condition is None or coarser is not None else condition
    if written is not None and prior.condition_levels is None:
        written = np.round(written.astype("float64"), 4)
    return GoldenRollout(
        uniforms=np.round(noise.astype("float64"), 4),
        condition=written,
        order=order if any_order else None,
        values=values,
        log_prob=log_prob.astype("float64"),
        guidance=None if guidance is None else guidance.astype("float64"),
    )


def golden_images(generator: Generator, codes: Any, condition: np.ndarray | None) -> GoldenImages:
    """Images near those of some codes, what the tokenizer makes of them, and the bound of their likelihood.

    Their codes keep a distance from others: pixels that differ by a hundredth of a level do not change them.

    Raises:
        BundleError: when no such images are found.
    """
    tokenizer, random = generator.tokenizer, np.random.default_rng(0)
    top = tokenizer.distribution.num_levels - 1
    expected = tokenizer.decode(codes)
    for _ in range(100):
        images = np.clip(np.rint(expected) + random.integers(-1, 2, expected.shape), 0, top).astype("int32")
        found = tokenizer.encode(images)
        nudged = [images + random.uniform(-0.01, 0.01, images.shape).astype("float32") for _ in range(3)]
        codes_near = [tokenizer.encode_batch(ops.convert_to_tensor(each)) for each in nudged]
        if all(_same(tokenizer.grids_of(codes), tokenizer.grids_of(found)) for codes in codes_near):
            break
    else:
        raise BundleError("Found no images whose codes are far from others; is the tokenizer free of NaN?")
    return GoldenImages(
        expected=np.round(expected.astype("float64"), 3),
        images=images,
        codes=tuple(tokenizer.grids_of(found)),
        log_prob_bound=generator.log_prob(images, condition).astype("float64"),
    )


def _same(grids: list[Any], others: list[np.ndarray]) -> bool:
    pairs = zip(grids, others, strict=True)
    return all(np.array_equal(ops.convert_to_numpy(one), other) for one, other in pairs)


def _decimals(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniforms of four decimals: short in JSON, and the same float32 in every language."""
    return (generator.integers(0, 10_000, shape) / 10_000).astype("float32")


def random_condition(prior: Prior, count: int, generator: np.random.Generator) -> np.ndarray | None:
    """Labels from the first to the last class, or noise of three decimals."""
    kind = prior.condition_kind
    if kind is None:
        return None
    if kind.is_label:
        return np.linspace(0, kind.num_levels - 1, count).astype("int32")
    if kind.is_source:
        return generator.integers(0, kind.num_levels, (count, *kind.shape), "int32")
    return np.round(generator.standard_normal((count, *kind.shape)), 3).astype("float32")


def _close_to_a_step(prior: Prior, values: np.ndarray, request: Request, margin: float) -> np.ndarray:
    """(B, H, W) bool: where noise that differs by `margin` would have drawn another value."""
    asked, draw = request.in_halves(prior), compiled(_drawn_anew, prior, jit_compile=False)
    given = np.resize(values, (len(asked.uniforms), *prior.grid_shape))
    draws = []
    for offset in (-margin, margin):
        nudged = np.clip(asked.uniforms + offset, 0, 1 - 2**-23).astype("float32")
        drawn = ops.convert_to_numpy(draw(given, asked._replace(uniforms=nudged)))
        draws.append(drawn[: len(values)])
    return np.any([drawn != values for drawn in draws], axis=(0, -1))


def _drawn_anew(prior: Prior, values: Any, request: Request) -> Any:
    """Each value, given those before it in the grids."""
    params = prior.params_along(values, request.condition, request.order)
    return prior.distribution.sample(params, request.uniforms, request.options.spread(2))[0]
