"""Continuous batching: examples that stand in different rows share every step of a prior.

They join between rows and leave when they are done, so that nobody waits for another's image. Where all join
at once it is a rollout.

Shapes: B batch · H W C grid · K uniforms a pixel.
"""

import abc
from dataclasses import dataclass

import numpy as np

from tfprior.export.arrays import Arrays, Drawn, Known, Run
from tfprior.export.decoding import Decoding
from tfprior.export.manifest import Manifest
from tfprior.export.prior_description import PriorDescription


@dataclass(eq=False)
class Example:
    """A grid that is being drawn.

    Attributes:
        uniforms: its noise (H, W, K).
        inputs: temperature and what else the functions take of it, each under its name.
        known: values (H, W, C) that are drawn only where hidden (H, W); None where all is.
        decoding: of a masked prior, if in fewer passes than one a value.
        values: what is drawn so far, (H, W, C) int32.
        log_prob: nats of what was drawn.
        rows: how many rows are done; those of a prior that does not draw row by row all at the end.
    """

    uniforms: np.ndarray
    inputs: Arrays
    known: Known | None
    decoding: Decoding | None
    values: np.ndarray
    log_prob: float = 0.0
    rows: int = 0

    @property
    def is_done(self) -> bool:
        return self.rows == len(self.values)


class ContinuousBatch(abc.ABC):
    """Draws examples that come and go.

    Args:
        run: the bundle's functions.
        manifest: of the bundle.
        prior: that of the manifest's priors to draw from.

    Attributes:
        examples: those that are being drawn.
    """

    def __init__(self, run: Run, manifest: Manifest, prior: PriorDescription) -> None:
        self.run, self.manifest, self.prior = run, manifest, prior
        self.examples: list[Example] = []

    @abc.abstractmethod
    def join(self, examples: list[Example]) -> None:
        """Takes examples in."""

    @abc.abstractmethod
    def leave(self, example: Example) -> None:
        """Lets go of an example before it is done."""

    @abc.abstractmethod
    def advance(self) -> list[Example]:
        """Draws a row, or as much, of every example → those that have new rows; who is done has left."""

    def rollout(self, examples: list[Example]) -> Drawn:
        """Draws examples from the first row to the last, together."""
        self.join(examples)
        while self.examples:
            self.advance()
        return Drawn(
            np.stack([example.values for example in examples]),
            np.array([example.log_prob for example in examples]),
        )


def examples_of(
    prior: PriorDescription,
    uniforms: np.ndarray,
    inputs: Arrays,
    known: Known | None = None,
    decoding: Decoding | None = None,
) -> list[Example]:
    """One example for each row of noise (B, H, W, K), inputs (B, …) and what is known."""
    return [
        Example(
            uniforms[row],
            {name: array[row] for name, array in inputs.items()},
            None if known is None else Known(known.values[row], known.hidden[row]),
            decoding,
            np.zeros(prior.grid_shape, "int32"),
        )
        for row in range(len(uniforms))
    ]
