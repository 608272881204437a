"""Examples of a Transformer prior that share its steps: those with as many keys and values as each other.

Shapes: B batch · H W C grid · P positions · K uniforms a position.
"""

import itertools
import math

import numpy as np

from tfprior.export.arrays import Arrays, Known, Run, along, number_known
from tfprior.export.continuous_batching import ContinuousBatch, Example
from tfprior.export.manifest import Manifest
from tfprior.export.ports import PortDescription
from tfprior.export.prior_description import PriorDescription


class CachedBatch(ContinuousBatch):
    """Draws along the orders of examples, each group of equal length by steps of its own."""

    def __init__(self, run: Run, manifest: Manifest, prior: PriorDescription) -> None:
        super().__init__(run, manifest, prior)
        self._groups: list[_Group] = []
        self._at_once = math.isqrt(prior.num_steps)  # a row of a square; sequences have but one

    def join(self, examples: list[Example]) -> None:
        if examples:
            self.examples += examples
            self._groups.append(_Group(self, examples))

    def leave(self, example: Example) -> None:
        self.examples.remove(example)
        for group in self._groups:
            if example in group.examples:
                group.keep([other is not example for other in group.examples])
        self._groups = [group for group in self._groups if group.examples]

    def advance(self) -> list[Example]:
        width, by_row = self.prior.grid_shape[1], self.prior.orders == "raster"
        advanced: list[Example] = []
        for group in self._groups:
            for _ in range(min(self._at_once, self.prior.num_steps - group.rank)):
                group.step()
            group.tell(group.rank // width if by_row or group.rank == self.prior.num_steps else 0)
            advanced += group.examples
        self._groups = [group for group in self._groups if group.rank < self.prior.num_steps]
        self.examples[:] = [example for example in self.examples if not example.is_done]
        return [example for example in advanced if example.rows]


class _Group:
    """Examples after as many positions of their orders, `rank`, and the keys and values of these."""

    def __init__(self, batch: CachedBatch, examples: list[Example]) -> None:
        self.run, self.prior = batch.run, batch.prior
        self.examples: list[Example] = list(examples)
        prefix = self.prior.prefix
        self._step = f"{prefix}step"
        inputs = {
            name: np.stack([example.inputs[name] for example in examples]) for name in examples[0].inputs
        }
        if f"{prefix}encode_source" in batch.manifest.functions:
            inputs |= self.run(f"{prefix}encode_source", inputs)
        size, (*_, channels), steps = len(examples), self.prior.grid_shape, self.prior.num_steps
        order = inputs.get("order", np.tile(np.arange(steps, dtype="int32"), (size, 1)))
        known = [_all_hidden(example) if example.known is None else example.known for example in examples]
        noise = np.stack([example.uniforms for example in examples]).reshape(size, steps, -1)
        values = np.stack([one.values for one in known]).reshape(size, steps, channels)
        hidden = np.stack([one.hidden for one in known]).reshape(size, steps)
        self._inputs, self._order, self._nats = inputs, order, np.zeros(size)
        self._noise, self._values, self._hidden = (
            along(part, order) for part in (noise, values.astype("int32"), hidden)
        )
        self.rank = number_known(self._hidden)
        ports = batch.manifest.functions[self._step].inputs
        self._past = self._of_known() if self.rank else _of_nothing(ports, size)

    def _of_known(self) -> Arrays:
        begun = {"values": self._values[:, : self.rank], "positions": self._order[:, : self.rank]}
        return self.run(
            f"{self.prior.prefix}prefill",
            {**self._inputs, **{name: np.ascontiguousarray(part) for name, part in begun.items()}},
        )

    def step(self) -> None:
        """Draws the next position of all."""
        rank, before = self.rank, max(self.rank - 1, 0)
        now = {
            "previous": self._values[:, before],
            "previous_position": self._order[:, before],
            "position": self._order[:, rank],
            "uniforms": self._noise[:, rank],
        }
        past = {name.replace("present", "past_key_values"): part for name, part in self._past.items()}
        contiguous = {name: np.ascontiguousarray(part) for name, part in now.items()}
        out = self.run(self._step, {**self._inputs, **past, **contiguous})
        here = self._hidden[:, rank]
        self._values[:, rank] = np.where(here[:, None], out.pop("value"), self._values[:, rank])
        self._nats += np.where(here, out.pop("log_prob"), 0)
        self._past, self.rank = out, rank + 1

    def tell(self, rows: int) -> None:
        """Hands the rows that are done to the examples."""
        placed = along(self._values, np.argsort(self._order, axis=1))
        for example, values, nats in zip(self.examples, placed, self._nats, strict=True):
            example.values[:rows] = values.reshape(example.values.shape)[:rows]
            example.rows, example.log_prob = rows, float(nats)

    def keep(self, chosen: list[bool]) -> None:
        """Lets go of all other examples."""
        self.examples[:] = itertools.compress(self.examples, chosen)
        self._order, self._nats = self._order[chosen], self._nats[chosen]
        self._noise, self._values, self._hidden = (
            part[chosen] for part in (self._noise, self._values, self._hidden)
        )
        self._inputs = {name: part[chosen] for name, part in self._inputs.items()}
        self._past = {name: part[chosen] for name, part in self._past.items()}


def _all_hidden(example: Example) -> Known:
    return Known(np.zeros_like(example.values), np.ones(example.values.shape[:2], bool))


def _of_nothing(ports: tuple[PortDescription, ...], batch: int) -> Arrays:
    """The keys and values of nothing."""
    return {
        port.name: np.zeros([batch, *(0 if size == "past" else int(size) for size in port.sizes)], "float32")
        for port in ports
        if "past" in port.sizes
    }
