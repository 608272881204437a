"""Drawing from a bundle's functions: the loops around them, which any language writes as easily.

Shapes: B batch · H W C grid · P positions · K uniforms a pixel.
"""

import numpy as np

from tfprior.export.arrays import Arrays, Drawn, Known, Run
from tfprior.export.cached_batch import CachedBatch
from tfprior.export.checks import BundleError
from tfprior.export.continuous_batching import ContinuousBatch, examples_of
from tfprior.export.decoding import DECODINGS, Decoding
from tfprior.export.manifest import Manifest
from tfprior.export.masked_batch import MaskedBatch
from tfprior.export.passes import Passes
from tfprior.export.prior_description import PriorDescription
from tfprior.export.raster_batch import RasterBatch

METHODS = {"loop": ("sample",), "pair": ("row", "pixel"), "step": ("initial_state", "step")}
"""The functions that each way of drawing runs, of a raster prior the fastest from outside first."""
CACHED_STEP = ("prefill", "step")
"""Those of "step" where a Transformer hands on keys and values."""
MASKED_STEP = ("refine",)
"""That of "step" where a masked prior draws what is hidden."""
ENCODE_SOURCE = "encode_source"
"""The function that comes before them, once for a rollout, where the condition is a source."""


class Rollout:
    """Draws grids from one prior of a bundle.

    Args:
        run: the bundle's functions.
        manifest: of the bundle.
        prior: that of the manifest's priors to draw from.

    Attributes:
        methods: those the prior can be sampled by, which draw the same: "pair" runs `row` once a row and
            `pixel` once a pixel, "step" the general single step, "loop" the whole loop in one call; the
            fastest from outside first.
        decodings: those that draw about the same from a masked prior, in fewer passes.
        passes: of a masked prior; None of others.
    """

    def __init__(self, run: Run, manifest: Manifest, prior: PriorDescription) -> None:
        self.run, self.manifest, self.prior = run, manifest, prior
        self.methods = [
            method
            for method in METHODS
            if all(name in manifest.functions for name in self.functions_of(method))
        ]
        if "pair" not in self.methods:
            self.methods.reverse()  # a loop in the graph copies all keys and values at every step
        masked = prior.hidden_apart is not None
        self.passes = Passes(run, prior) if masked else None
        self.decodings = DECODINGS if masked else {}

    def functions_of(self, method: str) -> tuple[str, ...]:
        """The names of the functions that a method runs."""
        names: tuple[str, ...] = METHODS[method]
        if method == "step" and self.prior.hidden_apart is not None:
            names = MASKED_STEP
        if method == "step" and self.prior.cache is not None:
            names = (ENCODE_SOURCE, *CACHED_STEP) if self.has_source else CACHED_STEP
        return tuple(self.prior.prefix + name for name in names)

    @property
    def has_source(self) -> bool:
        """Whether steps attend to a source."""
        return self.prior.condition is not None and self.prior.condition.kind == "source"

    def draw(
        self, method: str | Decoding, uniforms: np.ndarray, inputs: Arrays, known: Known | None = None
    ) -> Drawn:
        """Noise (B, H, W, …) and other inputs by name → values and nats; "loop" takes nothing known.

        Raises:
            BundleError: for values outside the prior's levels, or a likelihood that is no number.
        """
        return self.checked(self._drawn(method, uniforms, inputs, known), method)

    def checked(self, drawn: Drawn, method: str | Decoding) -> Drawn:
        """What a method has drawn.

        Raises:
            BundleError: as in `draw`.
        """
        function = self.functions_of("step" if isinstance(method, Decoding) else method)[-1]
        check_log_prob(drawn.log_prob, function)
        check_integers(drawn.values, self.prior.num_levels, function)
        return drawn

    def _drawn(
        self, method: str | Decoding, uniforms: np.ndarray, inputs: Arrays, known: Known | None
    ) -> Drawn:
        if self.passes is not None and method != "loop":
            decoding = method if isinstance(method, Decoding) else None
            return self.passes.draw(decoding, uniforms, inputs, known)
        if method == "loop":
            out = self.run(f"{self.prior.prefix}sample", {"uniforms": uniforms, **inputs})
            return Drawn(out["values"], out["log_prob"])
        return self.batch(str(method)).rollout(examples_of(self.prior, uniforms, inputs, known))

    def batch(self, method: str) -> ContinuousBatch:
        """What examples join that are drawn by a method, the usual one but for "loop"."""
        if self.prior.hidden_apart is not None:
            return MaskedBatch(self.run, self.manifest, self.prior)
        if self.prior.cache is not None:
            return CachedBatch(self.run, self.manifest, self.prior)
        return RasterBatch(self.run, self.manifest, self.prior, method)

    def log_prob(self, values: np.ndarray, inputs: Arrays) -> np.ndarray:
        """Nats (B,) of values (B, H, W, C), with condition and order under their names, if any.

        Raises:
            BundleError: for a likelihood that is no number.
        """
        function = f"{self.prior.prefix}log_prob"
        nats = self.run(function, {"values": values, **inputs})["log_prob"]
        return check_log_prob(nats, function)


def condition_from(above: np.ndarray, prior: PriorDescription, manifest: Manifest, run: Run) -> np.ndarray:
    """What the codes above (B, h, w, G) tell the next finer prior."""
    function = prior.condition and prior.condition.function
    if function is None:
        raise ValueError(f"Nothing makes the condition of the prior {prior.prefix!r}; expected a function.")
    (port,) = manifest.functions[function].inputs
    return run(function, {port.name: above})["condition"]


def batches(count: int, batch_size: int) -> list[slice]:
    """The rows 0 … count − 1 in batches, of which the last one may have fewer.

    Raises:
        ValueError: for no rows, or a batch size below 1.
    """
    if count < 1 or batch_size < 1:
        raise ValueError(f"Got {count} examples and batch_size={batch_size}; expected at least one of each.")
    return [slice(first, first + batch_size) for first in range(0, count, batch_size)]


def check_integers(values: np.ndarray, num_levels: int, function: str) -> np.ndarray:
    """The integers that a function gave back, all in [0, num_levels).

    Raises:
        BundleError: otherwise.
    """
    low, high = values.min(), values.max()
    if low < 0 or high >= num_levels:
        raise BundleError(
            f"The function {function!r} gives integers in [{low}, {high}]; expected [0, {num_levels - 1}]: "
            "the bundle does not compute what its manifest says; do not use it."
        )
    return values


def check_log_prob(nats: np.ndarray, function: str) -> np.ndarray:
    """The likelihoods that a function gave back, all finite.

    Raises:
        BundleError: otherwise.
    """
    if not np.isfinite(nats).all():
        raise BundleError(
            f"The function {function!r} gives log-likelihoods that are NaN or infinite: its model has "
            "diverged, or the bundle was changed; export a model from before."
        )
    return nats
