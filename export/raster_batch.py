"""Examples of a raster prior that share every step: `row` once a row and `pixel` once a pixel, or `step`.

Rows are begun together, by examples at whatever height, so that `row` runs once for all of them.

Shapes: S slots, of which the first B are taken · H W C grid · K uniforms a pixel.
"""

from typing import Any

import numpy as np

from tfprior.export.arrays import Arrays, Run
from tfprior.export.continuous_batching import ContinuousBatch, Example
from tfprior.export.manifest import Manifest, PriorDescription


class RasterBatch(ContinuousBatch):
    """Draws row by row.

    Args:
        run: the bundle's functions.
        manifest: of the bundle.
        prior: that of the manifest's priors to draw from.
        method: "pair", or "step" for the general single step.
    """

    def __init__(self, run: Run, manifest: Manifest, prior: PriorDescription, method: str) -> None:
        super().__init__(run, manifest, prior)
        self._by_pair = method == "pair"
        names = ("row", "pixel") if self._by_pair else ("initial_state", "step")
        self._begin, self._draw = (prior.prefix + name for name in names)
        self._inputs: Arrays = {}
        self._allocate(slots=1)

    def _allocate(self, slots: int) -> None:
        """Room for so many examples, in which those there stay; the slots stand where steps want them."""
        (height, width, channels), count = self.prior.grid_shape, len(self.examples)

        def room(old: np.ndarray | None, axis: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            new = np.zeros((*shape[:axis], slots, *shape[axis:]), dtype)
            if old is not None:
                taken = (slice(None),) * axis + (slice(count),)
                new[taken] = old[taken]
            return new

        old = self.__dict__
        self._noise = room(old.get("_noise"), 2, (height, width, self.prior.noise.per_step), "float32")
        self._values = room(old.get("_values"), 1, (height, width, channels), "int32")
        self._hidden = room(old.get("_hidden"), 2, (height, width), bool)
        self._y, self._nats = room(old.get("_y"), 0, (), "int32"), room(old.get("_nats"), 0, (), "float64")
        for function in (self._begin, self._draw):
            for port in self.manifest.functions[function].inputs:
                shape = tuple(map(int, port.sizes))
                self._inputs[port.name] = room(self._inputs.get(port.name), 0, shape, port.dtype)

    def join(self, examples: list[Example]) -> None:
        first, count = len(self.examples), len(self.examples) + len(examples)
        if count > len(self._y):
            self._allocate(max(count, 2 * len(self._y)))
        self.examples += examples
        for slot, example in enumerate(examples, first):
            self._noise[:, :, slot] = example.uniforms
            self._values[:, slot] = 0 if example.known is None else example.known.values
            self._hidden[:, :, slot] = True if example.known is None else example.known.hidden
            self._y[slot] = self._nats[slot] = 0
            for name, array in self._inputs.items():
                array[slot] = example.inputs.get(name, 0)
        if not self._by_pair:
            state = self.run(self._begin, {"position": self._y[first:count]})["state"]
            self._inputs["state"][first:count] = state

    def leave(self, example: Example) -> None:
        """The last slot's example moves to the one that becomes free."""
        slot, last = self.examples.index(example), len(self.examples) - 1
        for array in (self._noise, self._hidden):
            array[:, :, slot] = array[:, :, last]
        self._values[:, slot] = self._values[:, last]
        for array in (self._y, self._nats, *self._inputs.values()):
            array[slot] = array[last]
        self.examples[slot] = self.examples[last]
        self.examples.pop()

    def advance(self) -> list[Example]:
        count, width = len(self.examples), self.prior.grid_shape[1]
        if not count:
            return []
        y, each = self._y[:count], np.arange(count)
        # Indices of all, or where they stand in the same row the slice that is theirs.
        at, slots = (y, each) if (y != y[0]).any() else (y[0], slice(count))
        inputs = {name: array[:count] for name, array in self._inputs.items()}
        inputs["position"][:] = y * width
        if self._by_pair:
            begun = self.run(self._begin, inputs)
            inputs["row_features"] = begun["row_features"]
            inputs["pixel_state"][:] = 0
        carried = "pixel_state" if self._by_pair else "state"
        for x in range(width):
            inputs["uniforms"] = self._noise[at, x, slots]
            out = self.run(self._draw, inputs)
            here = self._hidden[at, x, slots]
            inputs["previous"] = np.where(here[:, None], out["value"], self._values[at, slots, x])
            self._values[at, slots, x] = inputs["previous"]
            self._nats[:count] += np.where(here, out["log_prob"], 0)
            inputs[carried] = out[f"{carried}_out"]
            inputs["position"] += 1
        if self._by_pair:
            self._inputs["row_state"][:count] = begun["row_state_out"]
            self._inputs["finished_row"][:count] = self._values[at, slots]
        else:
            self._inputs["state"][:count] = inputs["state"]
        self._inputs["previous"][:count] = inputs["previous"]
        y += 1
        return self._after_a_row()

    def _after_a_row(self) -> list[Example]:
        advanced = list(self.examples)
        for slot, example in enumerate(advanced):
            example.values[example.rows] = self._values[example.rows, slot]
            example.rows += 1
            example.log_prob = float(self._nats[slot])
        for example in advanced:
            if example.is_done:
                self.leave(example)
        return advanced
