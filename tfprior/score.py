"""What tells how good a model is, and which way is better."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple


class Score(NamedTuple):
    """A number that a model is measured by.

    Attributes:
        name: of the metric.
        unit: what it is in.
        better: "min" where less is better, "max" where more is.
        words: that tables say of it, where its name and unit are not enough.
    """

    name: str
    unit: str
    better: Literal["min", "max"] = "min"
    words: str = ""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Score":
        """The score that a run's config.json tells of; those of before told no direction: less was better."""
        return cls(config["name"], config["unit"], config.get("better", "min"))

    def get_config(self) -> dict[str, str]:
        return {"name": self.name, "unit": self.unit, "better": self.better}

    def per_code(self) -> "Score":
        """The same of grids of codes, whose dimensions are codes."""
        return self._replace(unit=self.unit.replace("/dim", "/code"))

    @property
    def is_likelihood(self) -> bool:
        """Whether it is bits per dimension or a bound of them, which baselines are measured in too."""
        return self.name in (BITS_PER_DIM.name, BITS_PER_DIM_BOUND.name)

    @property
    def is_bound(self) -> bool:
        """Whether it is no less than what it stands for."""
        return self.name == BITS_PER_DIM_BOUND.name

    def best_of(self, values: Iterable[float]) -> float:
        """The best of the values; of none, what every value is better than."""
        return min(values, default=math.inf) if self.better == "min" else max(values, default=-math.inf)

    def improves(self, value: float, best: float) -> bool:
        """Whether a value is better than the best one so far."""
        return value < best if self.better == "min" else value > best


BITS_PER_DIM = Score("bits_per_dim", "bits/dim")
BITS_PER_DIM_BOUND = Score("bits_per_dim_bound", "bits/dim", words="an upper bound")
