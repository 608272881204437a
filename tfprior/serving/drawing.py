"""A request's images, drawn example by example: by a prior, or by priors of codes and their tokenizer.

Shapes: N examples · H W C image.
"""

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfprior.export.client import OnnxGenerator, OnnxSampler
from tfprior.export.continuous_batching import Example
from tfprior.export.rollout import condition_from
from tfprior.hidden_pixels import coarsened, mean_filled
from tfprior.inputs import check_completion
from tfprior.philox import Seed


@dataclass(frozen=True)
class Asked:
    """What is to be drawn; arguments are those of `OnnxSampler.sample`.

    Attributes:
        seed: of the whole request, whose example i is that of every sampler.
        images: to complete (N, H, W, C) where mask (H, W) or (N, H, W) is True; None to draw anew.
    """

    num_samples: int
    seed: int
    condition: np.ndarray | list[Any] | None = None
    temperature: Any = 1.0
    guidance: Any = None
    order: Any = None
    method: str | None = None
    iterations: int | None = None
    images: np.ndarray | None = None
    mask: np.ndarray | None = None

    def of_example(self, name: str, index: int) -> Any:
        """An option that is one number for all, or one for each."""
        value = getattr(self, name)
        return value[index] if isinstance(value, list) else value


class Drawing(abc.ABC):
    """Images that are drawn grid by grid, coarse to fine.

    Attributes:
        examples: of the first grid.
        rows_are_pixels: whether rows of the first grid are already those of the image.
    """

    examples: list[Example]
    rows_are_pixels: bool

    @abc.abstractmethod
    def after(self, index: int, drawn: list[Example]) -> Example | np.ndarray:
        """What grids that are drawn lead to: the example of the one below, or the image (H, W, C) int32."""


class DrawingOfPixels(Drawing):
    """By a prior of the pixels themselves.

    Raises:
        ValueError: for what cannot be drawn.
    """

    rows_are_pixels = True

    def __init__(self, sampler: OnnxSampler, asked: Asked) -> None:
        known = {} if asked.images is None else {"observed": asked.images, "mask": asked.mask}
        self.examples = sampler.examples(
            asked.num_samples,
            asked.condition,
            asked.seed,
            asked.temperature,
            order=asked.order,
            guidance=asked.guidance,
            method=asked.method,
            iterations=asked.iterations,
            **known,
        )

    def after(self, index: int, drawn: list[Example]) -> np.ndarray:
        return drawn[0].values


class DrawingOfCodes(Drawing):
    """By the priors of codes, which the tokenizer decodes.

    Raises:
        ValueError: for what cannot be drawn.
    """

    rows_are_pixels = False

    def __init__(self, generator: OnnxGenerator, asked: Asked) -> None:
        self.generator, self.asked = generator, asked
        self._kept: tuple[np.ndarray, np.ndarray] | None = None
        self._known: list[dict[str, np.ndarray]] = [{} for _ in generator.samplers]
        if asked.images is not None:
            self._observe(asked)
        self._some_are_guided = any(sampler.prior.is_guided for sampler in generator.samplers)
        self.examples = self._examples(0, asked.num_samples, asked.condition, 0)

    def _observe(self, asked: Asked) -> None:
        generator = self.generator
        images, hidden = check_completion(
            asked.images, asked.mask, asked.num_samples, generator.grid_shape, generator.num_levels
        )
        assert images is not None
        assert hidden is not None
        self._kept = images, hidden
        codes = generator.encode(mean_filled(images, hidden))
        self._known = [
            {"observed": grid, "mask": coarsened(hidden, grid.shape[1:3])}
            for grid in (codes if isinstance(codes, list) else [codes])
        ]

    def _examples(self, grid: int, count: int, condition: Any, first: int) -> list[Example]:
        """Those of a grid, from the request's example `first`."""
        sampler, asked = self.generator.samplers[grid], self.asked
        whole = count == asked.num_samples
        temperature, guidance = (
            getattr(asked, name) if whole else asked.of_example(name, first)
            for name in ("temperature", "guidance")
        )
        if self._some_are_guided and not sampler.prior.is_guided:
            guidance = None
        return sampler.examples(
            count,
            condition,
            Seed(asked.seed, first, grid),
            temperature,
            order=asked.order,
            guidance=guidance,
            method=asked.method,
            iterations=asked.iterations,
            **{name: part[first : first + count] for name, part in self._known[grid].items()},
        )

    def after(self, index: int, drawn: list[Example]) -> Example | np.ndarray:
        is_last = len(drawn) == len(self.generator.samplers)
        return self._image(index, drawn) if is_last else self._below(index, drawn)

    def _below(self, index: int, drawn: list[Example]) -> Example:
        grid, generator = len(drawn), self.generator
        prior = generator.samplers[grid].prior
        above = drawn[-1].values[None]
        condition = condition_from(above, prior, generator.manifest, generator.functions.run)
        return self._examples(grid, 1, condition, index)[0]

    def _image(self, index: int, drawn: list[Example]) -> np.ndarray:
        codes = [example.values[None] for example in drawn]
        image = np.rint(self.generator.decode(codes)[0]).astype("int32")
        if self._kept is None:
            return image
        images, hidden = self._kept
        return np.where(hidden[index, ..., None], image, images[index])
