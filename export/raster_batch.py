"""Examples of a raster prior that share every step: `row` once a row and `pixel` once a pixel, or `step`.

Rows are begun together, by examples at whatever height, so that `row` runs once for all of them.

Shapes: S slots, of which the first B are taken · H W C grid · K uniforms a pixel.
"""

import numpy as np

from tfprior.export.arrays import Arrays, Run
from tfprior.export.continuous_batching import ContinuousBatch, Example
from tfprior.export.manifest import Manifest, PriorDescription


class RasterBatch(ContinuousBatch):
    """Draws row by row, by the "pair", or the general single "step" as the method."""

    def __init__(self, run: Run, manifest: Manifest, prior: PriorDescription, method: str) -> None:
        super().__init__(run, manifest, prior)
        self._by_pair = method == "pair"
        names = ("row", "pixel") if self._by_pair else ("initial_state", "step")
        self._begin, self._draw = (prior.prefix + name for name in names)
        height, width, channels = prior.grid_shape
        self._slots: Arrays = {
            "noise": np.zeros((0, height, width, prior.noise.per_step), "float32"),
            "values": np.zeros((0, height, width, channels), "int32"),
            "hidden": np.zeros((0, height, width), bool),
            "y": np.zeros(0, "int32"),
            "nats": np.zeros(0),
        }
        ports = [*manifest.functions[self._begin].inputs, *manifest.functions[self._draw].inputs]
        self._inputs: Arrays = {port.name: np.zeros((0, *map(int, port.sizes)), port.dtype) for port in ports}

    def join(self, examples: list[Example]) -> None:
        first, count = len(self.examples), len(self.examples) + len(examples)
        if count > len(self._slots["y"]):
            self._grow(max(count, 2 * first))
        self.examples += examples
        for slot, example in enumerate(examples, first):
            known = example.known
            self._slots["noise"][slot] = example.uniforms
            self._slots["values"][slot] = 0 if known is None else known.values
            self._slots["hidden"][slot] = True if known is None else known.hidden
            self._slots["y"][slot] = self._slots["nats"][slot] = 0
            for name, array in self._inputs.items():
                array[slot] = example.inputs.get(name, 0)
        if not self._by_pair and examples:
            start = self.run(self._begin, {"position": self._inputs["position"][first:count]})
            self._inputs["state"][first:count] = start["state"]

    def _grow(self, slots: int) -> None:
        for arrays in (self._slots, self._inputs):
            for name, array in arrays.items():
                room = np.zeros((slots - len(array), *array.shape[1:]), array.dtype)
                arrays[name] = np.concatenate([array, room])

    def leave(self, example: Example) -> None:
        """The last slot's example moves to the one that becomes free."""
        slot, last = self.examples.index(example), len(self.examples) - 1
        for array in (*self._slots.values(), *self._inputs.values()):
            array[slot] = array[last]
        self.examples[slot] = self.examples[last]
        self.examples.pop()

    def advance(self) -> list[Example]:
        count, width = len(self.examples), self.prior.grid_shape[1]
        if not count:
            return []
        noise, values, hidden, y, nats = (array[:count] for array in self._slots.values())
        # Where all stand in the same row, slices; else the indices of each.
        each, row = (np.arange(count), y) if (y != y[0]).any() else (slice(None), y[0])
        inputs = {name: array[:count] for name, array in self._inputs.items()}
        inputs["position"][:] = y * width
        if self._by_pair:
            begun = self.run(self._begin, inputs)
            inputs["row_features"] = begun["row_features"]
            inputs["pixel_state"][:] = 0
        carried = "pixel_state" if self._by_pair else "state"
        for x in range(width):
            inputs["uniforms"] = np.ascontiguousarray(noise[each, row, x])
            out = self.run(self._draw, inputs)
            here = hidden[each, row, x]
            inputs["previous"] = np.where(here[:, None], out["value"], values[each, row, x])
            values[each, row, x] = inputs["previous"]
            nats += np.where(here, out["log_prob"], 0)
            inputs[carried] = out[f"{carried}_out"]
            inputs["position"] += 1
        self._inputs["previous"][:count] = inputs["previous"]
        if self._by_pair:
            self._inputs["row_state"][:count] = begun["row_state_out"]
            self._inputs["finished_row"][:count] = values[each, row]
        else:
            self._inputs["state"][:count] = inputs["state"]
        y += 1
        return self._after_a_row()

    def _after_a_row(self) -> list[Example]:
        advanced = list(self.examples)
        for slot, example in enumerate(advanced):
            example.values[example.rows] = self._slots["values"][slot, example.rows]
            example.rows += 1
            example.log_prob = float(self._slots["nats"][slot])
        for example in advanced:
            if example.is_done:
                self.leave(example)
        return advanced
