"""Examples of a masked prior that share its passes, each in an iteration of its own."""

import numpy as np

from tfprior.export.arrays import Asked, Known, Passing, Run
from tfprior.export.continuous_batching import ContinuousBatch, Example
from tfprior.export.manifest import Manifest
from tfprior.export.passes import Passes
from tfprior.export.prior_description import PriorDescription


class MaskedBatch(ContinuousBatch):
    """Draws by passes over all that is hidden."""

    def __init__(self, run: Run, manifest: Manifest, prior: PriorDescription) -> None:
        super().__init__(run, manifest, prior)
        self._passes = Passes(run, prior)
        self._passing: dict[Example, Passing] = {}
        self._asked: dict[Example, Asked] = {}

    def join(self, examples: list[Example]) -> None:
        for example in examples:
            known = None if example.known is None else Known(*(part[None] for part in example.known))
            order = {"order": example.inputs["order"][None]} if "order" in example.inputs else {}
            passing = self._passes.passing(example.decoding, example.uniforms[None], order, known)
            self.examples.append(example)
            self._passing[example] = passing
            self._go_on(example, None)

    def leave(self, example: Example) -> None:
        self.examples.remove(example)
        del self._passing[example]
        self._asked.pop(example, None)  # it may have nothing to ask

    def advance(self) -> list[Example]:
        if not self.examples:
            return []
        inputs = {
            name: np.stack([example.inputs[name] for example in self.examples])
            for name in self.examples[0].inputs
            if name != "order"  # passes take none
        }
        asked = Asked(*map(np.concatenate, zip(*(self._asked[one] for one in self.examples), strict=True)))
        values, nats = self._passes.refine(asked, inputs)
        now = list(self.examples)
        for row, example in enumerate(now):
            self._go_on(example, (values[row : row + 1], nats[row : row + 1]))
        return [example for example in now if example.is_done]

    def _go_on(self, example: Example, refined: tuple[np.ndarray, np.ndarray] | None) -> None:
        passing = self._passing[example]
        try:
            self._asked[example] = next(passing) if refined is None else passing.send(refined)
        except StopIteration as end:
            example.values[...], example.log_prob = end.value.values[0], float(end.value.log_prob[0])
            example.rows = len(example.values)
            self.leave(example)
