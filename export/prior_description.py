"""What a manifest says of a prior: its grid, condition, noise and steps, and golden rollouts of them.

Shapes: N golden grids · H W C grid · K uniforms of a step · P positions.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfprior.condition_kind import ConditionKind
from tfprior.export.checks import Count, Layers, Size, check_array, check_class_names, check_tensor, require
from tfprior.export.strict_json import FloatArray, IntArray


@dataclass(frozen=True)
class ConditionDescription:
    """A label in [0, num_classes), or floats of a shape; `function` makes them where codes above do.

    A source is tokens in [0, num_levels) of a shape (S,), those behind its end `padding`. Labels may
    have names, the class 0 first.
    """

    kind: Literal["label", "vector", "map", "source"]
    num_classes: Size | None = None
    shape: tuple[Size, ...] | None = None
    function: str | None = None
    num_levels: Size | None = None
    padding: Count | None = None
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        rank = {"label": None, "vector": 1, "map": 3, "source": 1}[self.kind]
        fits = (self.num_classes is None) == (rank is not None) and rank == (self.shape and len(self.shape))
        require(
            fits,
            f"a condition of kind {self.kind!r} has num_classes {self.num_classes} and shape {self.shape}; "
            "expected num_classes for a label, (D,) for a vector, (H, W, D) for a map, (S,) for a source.",
        )
        levels, padding = self.num_levels, self.padding
        given = levels is not None and padding is not None and padding < levels
        require(
            given if self.kind == "source" else levels is None and padding is None,
            f"a condition of kind {self.kind!r} has num_levels {levels} and padding {padding}; expected both "
            "for a source, the padding one of its tokens, and neither for others.",
        )
        require(
            self.function is None or self.kind in ("vector", "map"),
            f"a {self.kind} is made by the function {self.function!r}; expected a vector or map.",
        )
        check_tensor("a condition", self.shape or ())
        check_class_names("condition.class_names", self.class_names, self.num_classes)

    @property
    def dtype(self) -> str:
        return "int32" if self.kind in ("label", "source") else "float32"

    @property
    def of_model(self) -> ConditionKind:
        """The same, as models tell it."""
        return ConditionKind(self.shape or (), self.num_classes or self.num_levels, self.padding)


@dataclass(frozen=True)
class NoiseDescription:
    """Each step takes `per_step` numbers of its own, by `generator` (`tfprior.philox`) from a seed."""

    per_step: Size
    distribution: Literal["uniform on [0, 1)"] = "uniform on [0, 1)"
    dtype: Literal["float32"] = "float32"
    generator: Literal["philox4x32-10"] = "philox4x32-10"


@dataclass(frozen=True)
class CacheDescription:
    """`layers` keys and as many values (B, heads, length, head_dim), longer by `per_step` with each step."""

    layers: Layers
    heads: Size
    head_dim: Size
    per_step: Size

    def __post_init__(self) -> None:
        check_tensor("a cache of one position", (self.layers, self.heads, self.per_step, self.head_dim))


@dataclass(frozen=True, eq=False)
class GoldenRollout:
    """uniforms (N, H, W, K), condition (N, …), order (N, P) → values (N, H, W, C), log_prob (N,) in nats.

    A prior that is guided draws the values with guidance (N,); the nats are without.
    """

    uniforms: FloatArray
    condition: IntArray | FloatArray | None
    order: IntArray | None
    values: IntArray
    log_prob: FloatArray
    guidance: FloatArray | None = None


@dataclass(frozen=True)
class PriorDescription:
    prefix: str
    grid_shape: tuple[Size, Size, Size]
    num_levels: Size
    num_steps: Size
    orders: Literal["raster", "any"]
    condition: ConditionDescription | None
    noise: NoiseDescription
    cache: CacheDescription | None
    hidden_apart: Size | None
    golden: GoldenRollout
    end_value: Count | None = None

    def __post_init__(self) -> None:
        name, golden, condition = f"{self.prefix}golden", self.golden, self.condition
        height, width, _ = self.grid_shape
        require(
            self.cache is not None or condition is None or condition.kind != "source",
            f"{self.prefix}cache is null; expected one for steps that attend to a source.",
        )
        apart = 1 if self.hidden_apart is None else self.hidden_apart
        require(
            apart in (1, self.grid_shape[-1]) and (self.hidden_apart is None or self.orders == "any"),
            f"{self.prefix}hidden_apart is {apart} and orders {self.orders!r}; expected 1, or one for each "
            "channel, of a prior that draws in any order.",
        )
        longer = 1 if self.cache is None else self.cache.per_step
        require(
            longer in (1, self.grid_shape[-1]),
            f"{self.prefix}cache is longer by {longer} a step; expected 1, or one for each channel.",
        )
        require(
            self.num_steps == height * width,
            f"{self.prefix}num_steps is {self.num_steps}; expected {height * width} for grids of "
            f"{height} × {width}.",
        )
        check_tensor(f"{self.prefix}grid_shape", self.grid_shape)
        require(
            self.end_value is None
            or (self.end_value < self.num_levels and self.grid_shape == (1, self.num_steps, 1)),
            f"{self.prefix}end_value is {self.end_value}; expected one of the levels, of grids (1, N, 1).",
        )
        samples = len(golden.values)
        check_array(f"{name}.values", golden.values, (samples, *self.grid_shape), self.num_levels)
        check_array(f"{name}.uniforms", golden.uniforms, (samples, height, width, self.noise.per_step))
        require(
            golden.uniforms.min() >= 0 and golden.uniforms.max() < 1,
            f"{name}.uniforms leave [0, 1); expected noise from 0 up to below 1.",
        )
        check_array(f"{name}.log_prob", golden.log_prob, (samples,))
        self._check_order(f"{name}.order", golden.order, samples)
        self._check_guidance(f"{name}.guidance", golden.guidance, samples)
        if condition is None or condition.function is not None:
            require(
                golden.condition is None,
                f"{name}.condition is given; expected null, for nobody chooses the condition.",
            )
        else:
            shape, levels = (samples, *(condition.shape or ())), condition.of_model.num_levels or 0
            check_array(f"{name}.condition", golden.condition, shape, levels)
        if condition is not None and condition.kind == "map":
            require(
                condition.shape is not None and condition.shape[:2] == (height, width),
                f"{self.prefix}condition has the shape {condition.shape}; expected ({height}, {width}, D), "
                "as large as the grid.",
            )

    @property
    def is_guided(self) -> bool:
        """Whether its functions take guidance, and what they hand on is as wide as two."""
        return self.golden.guidance is not None

    def _check_guidance(self, name: str, guidance: np.ndarray | None, samples: int) -> None:
        if guidance is None:
            return
        check_array(name, guidance, (samples,))
        require(guidance.min() >= 0, f"{name} is negative; expected numbers from 0.")
        require(
            self.condition is not None and self.condition.kind != "source",
            f"{name} is given; expected null without a label, vector or map to be guided to.",
        )

    def _check_order(self, name: str, order: np.ndarray | None, samples: int) -> None:
        if self.orders == "raster":
            require(order is None, f"{name} is given; expected null, for the prior draws in raster order.")
            return
        require(
            (self.cache is None) != (self.hidden_apart is None),
            f"{self.prefix}cache and hidden_apart are both given, or both null; expected one of them for "
            "steps in any order.",
        )
        check_array(name, order, (samples, self.num_steps), self.num_steps)
        assert order is not None
        each_once = (np.sort(order, axis=1) == np.arange(self.num_steps)).all()
        require(each_once, f"{name} has a position twice; expected each once.")
