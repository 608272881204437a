"""Drawing from a masked prior of a bundle: the loops around passes over what is hidden.

Shapes: B batch · H W C grid · P positions · G values of a position that are hidden apart.
"""

import numpy as np

from tfprior.export.arrays import Arrays, Asked, Drawn, Known, Passing, Run, along, number_known
from tfprior.export.decoding import Decoding
from tfprior.export.prior_description import PriorDescription


class Passes:
    """Draws and scores grids by passes of one prior.

    Args:
        run: the bundle's functions.
        prior: that of the manifest's priors to draw from, a masked one.
    """

    def __init__(self, run: Run, prior: PriorDescription) -> None:
        self.run, self.prior, self.groups = run, prior, prior.hidden_apart or 1

    def draw(
        self, decoding: Decoding | None, uniforms: np.ndarray, inputs: Arrays, known: Known | None
    ) -> Drawn:
        """All that is hidden: in the passes of a decoding, or value by value."""
        passing = self.passing(decoding, uniforms, inputs, known)
        try:
            asked = next(passing)
            while True:
                asked = passing.send(self.refine(asked, inputs))
        except StopIteration as end:
            return Drawn(*end.value)

    def passing(
        self, decoding: Decoding | None, uniforms: np.ndarray, inputs: Arrays, known: Known | None
    ) -> Passing:
        """The same, to whoever runs the passes that it asks for."""
        if decoding is None:
            return self._one_by_one(uniforms, inputs["order"], known)
        values, hidden = self.at_first(len(uniforms), known)
        return decoding.draw(uniforms, values, hidden[..., None].repeat(self.groups, axis=-1))

    def _one_by_one(self, uniforms: np.ndarray, order: np.ndarray, known: Known | None) -> Passing:
        """Each example along its order, value by value, from passes that draw all that is hidden."""
        batch = len(uniforms)
        together, ranks = self.prior.grid_shape[-1] // self.groups, self.ranks(order)
        values, hidden = self.at_first(batch, known)
        asked = along(hidden.reshape(batch, self.prior.num_steps), order)
        nats = np.zeros(batch)
        for token in range(number_known(asked) * self.groups, self.prior.num_steps * self.groups):
            drawn, each = yield Asked(values, ranks >= token, uniforms)
            here = (ranks == token) & asked[:, token // self.groups, None, None, None]
            nats += np.where(here, each, 0).sum((1, 2, 3))
            values = np.where(here.repeat(together, axis=-1), drawn, values)
        return Drawn(values, nats)

    def log_prob(self, values: np.ndarray, inputs: Arrays) -> np.ndarray:
        """Nats (B,) along an order, as the sum over the passes of what each one asks."""
        ranks, function = self.ranks(inputs["order"]), f"{self.prior.prefix}log_prob_given"
        nats = np.zeros(len(values))
        for token in range(ranks[0].size):
            given = {**inputs, "values": values, "hidden": (ranks >= token).astype("int32")}
            nats += np.where(ranks == token, self.run(function, given)["log_prob"], 0).sum((1, 2, 3))
        return nats

    def refine(self, asked: Asked, inputs: Arrays) -> tuple[np.ndarray, np.ndarray]:
        """One pass: values (B, H, W, C), and nats (B, H, W, G) of each."""
        now = {**asked._asdict(), "hidden": asked.hidden.astype("int32")}
        out = self.run(f"{self.prior.prefix}refine", {**inputs, **now})
        return out["values_out"], out["log_prob"]

    def at_first(self, batch: int, known: Known | None) -> tuple[np.ndarray, np.ndarray]:
        """The values (B, H, W, C) that are known, and what is hidden (B, H, W)."""
        if known is not None:
            return known.values, known.hidden
        shape = (batch, *self.prior.grid_shape)
        return np.zeros(shape, "int32"), np.ones(shape[:3], bool)

    def ranks(self, order: np.ndarray) -> np.ndarray:
        """When each value comes that is hidden apart (B, H, W, G), by an order of positions (B, P)."""
        ranks = np.argsort(order, axis=1)[..., None] * self.groups + np.arange(self.groups)
        return ranks.reshape(len(order), *self.prior.grid_shape[:2], self.groups)
