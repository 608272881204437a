"""Examples of a raster prior that share every step: `row` once a row and `pixel` once a pixel, or `step`.

Rows are begun together, by examples at whatever height, so that `row` runs once for all of them.

Shapes: B batch · H W C grid · K uniforms a pixel.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from tfprior.export.arrays import Arrays, Run
from tfprior.export.continuous_batching import ContinuousBatch, Example
from tfprior.export.manifest import Manifest
from tfprior.export.prior_description import PriorDescription


class RasterBatch(ContinuousBatch):
    """Draws row by row, by the "pair", or the general single "step" as the method."""

    def __init__(self, run: Run, manifest: Manifest, prior: PriorDescription, method: str) -> None:
        super().__init__(run, manifest, prior)
        self._by_pair = method == "pair"
        names = ("row", "pixel") if self._by_pair else ("initial_state", "step")
        self._begin, self._draw = (prior.prefix + name for name in names)
        height, width, channels = prior.grid_shape
        self._grids: Arrays = {
            "noise": np.zeros((0, height, width, prior.noise.per_step), "float32"),
            "values": np.zeros((0, height, width, channels), "int32"),
            "hidden": np.zeros((0, height, width), bool),
            "y": np.zeros(0, "int32"),
            "nats": np.zeros(0),
        }
        ports = [*manifest.functions[self._begin].inputs, *manifest.functions[self._draw].inputs]
        self._inputs: Arrays = {port.name: np.zeros((0, *map(int, port.sizes)), port.dtype) for port in ports}

    def join(self, examples: list[Example]) -> None:
        count = len(examples)
        new: Arrays = {name: np.zeros((count, *array.shape[1:]), array.dtype) for name, array in self._all()}
        for slot, example in enumerate(examples):
            new["noise"][slot], new["hidden"][slot] = example.uniforms, True
            if example.known is not None:
                new["values"][slot], new["hidden"][slot] = example.known
            for name, array in example.inputs.items():
                if name in self._inputs:
                    new[name][slot] = array
        if not self._by_pair and examples:
            new["state"] = self.run(self._begin, {"position": new["position"]})["state"]
        for arrays in (self._grids, self._inputs):
            for name, array in arrays.items():
                arrays[name] = np.concatenate([array, new[name]]) if len(array) else new[name]
        self.examples += examples

    def leave(self, example: Example) -> None:
        self._keep([other is not example for other in self.examples])

    def _keep(self, chosen: list[bool]) -> None:
        """Lets go of all other examples."""
        self.examples[:] = itertools.compress(self.examples, chosen)
        for arrays in (self._grids, self._inputs):
            for name, array in arrays.items():
                arrays[name] = array[chosen]

    def _all(self) -> Iterator[tuple[str, np.ndarray]]:
        return itertools.chain(self._grids.items(), self._inputs.items())

    def advance(self) -> list[Example]:
        if not self.examples:
            return []
        count, width, y = len(self.examples), self.prior.grid_shape[1], self._grids["y"]
        each, inputs = np.arange(count), self._inputs
        # A step takes a pixel of all examples: that of the row stands first.
        noise, values, hidden = (
            np.ascontiguousarray(self._grids[name][each, y].swapaxes(0, 1))
            for name in ("noise", "values", "hidden")
        )
        all_are_drawn, nats = hidden.all(), np.zeros((width, count), "float32")
        positions = y * width + np.arange(width, dtype="int32")[:, None]
        inputs["position"] = positions[0]
        if self._by_pair:
            begun = self.run(self._begin, inputs)
            inputs["row_state"], inputs["row_features"] = begun["row_state_out"], begun["row_features"]
            inputs["pixel_state"] = np.zeros_like(inputs["pixel_state"])
        carried, carried_on = ("pixel_state", "pixel_state_out") if self._by_pair else ("state", "state_out")
        for x in range(width):
            inputs["position"], inputs["uniforms"] = positions[x], noise[x]
            out = self.run(self._draw, inputs)
            value, nats[x] = out["value"], out["log_prob"]
            if not all_are_drawn:
                value = np.where(hidden[x, :, None], value, values[x])
            values[x] = inputs["previous"] = value
            inputs[carried] = out[carried_on]
        row = np.ascontiguousarray(values.swapaxes(0, 1))
        self._grids["values"][each, y] = row
        self._grids["nats"] += np.where(hidden, nats, 0).sum(axis=0, dtype="float64")
        if self._by_pair:
            inputs["finished_row"] = row
        self._grids["y"] = y + 1
        return self._after_a_row()

    def _after_a_row(self) -> list[Example]:
        advanced = list(self.examples)
        for slot, example in enumerate(advanced):
            example.values[example.rows] = self._grids["values"][slot, example.rows]
            example.rows += 1
            example.log_prob = float(self._grids["nats"][slot])
        if any(example.is_done for example in advanced):
            self._keep([not example.is_done for example in advanced])
        return advanced
