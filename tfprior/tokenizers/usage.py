"""How codebooks are used."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class CodebookUsage(keras.metrics.Metric):
    """Perplexity, share of codes in use, and number of dead ones, over everything since the last reset.

    With several codebooks the perplexity and the share are means over them, the dead codes their sum.

    Args:
        shapes: (G, K) of each quantizer: codebooks and codes in each.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, int]], name: str = "codebook_usage", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.counts = [
            self.add_variable(shape=shape, initializer="zeros", aggregation="sum", name=f"counts_{index}")
            for index, shape in enumerate(shapes)
        ]

    def update_state(self, counts: Sequence[Any]) -> None:
        """Adds the counts (G, K) of each quantizer."""
        for total, added in zip(self.counts, counts, strict=True):
            total.assign_add(ops.cast(added, total.dtype))

    def result(self) -> dict[str, Any]:
        perplexities, used, dead = [], [], []
        for total in self.counts:
            counts = ops.convert_to_tensor(total)
            share = counts / ops.maximum(ops.sum(counts, axis=1, keepdims=True), 1.0)
            nats = -ops.sum(share * ops.log(ops.maximum(share, 1e-12)), axis=1)
            in_use = ops.cast(counts > 0, "float32")
            perplexities.append(ops.exp(nats))
            used.append(ops.mean(in_use, axis=1))
            dead.append(ops.sum(1 - in_use))
        return {
            "perplexity": ops.mean(ops.concatenate(perplexities)),
            "usage": ops.mean(ops.concatenate(used)),
            "dead_codes": ops.sum(ops.stack(dead)),
        }
