"""Drawing from a bundle's functions: the loops around them, which any language writes as easily.

Shapes: B batch · H W C grid · P positions · K uniforms a pixel.
"""

import numpy as np

from tfprior.export.arrays import Arrays, Drawn, Known, Run, along, number_known
from tfprior.export.checks import BundleError
from tfprior.export.decoding import DECODINGS, Decoding
from tfprior.export.manifest import Manifest, PriorDescription
from tfprior.export.passes import Passes

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
        drawn = self._drawn(method, uniforms, inputs, known)
        function = self.functions_of("step" if isinstance(method, Decoding) else method)[-1]
        check_log_prob(drawn.log_prob, function)
        check_integers(drawn.values, self.prior.num_levels, function)
        return drawn

    def _drawn(
        self, method: str | Decoding, uniforms: np.ndarray, inputs: Arrays, known: Known | None
    ) -> Drawn:
        by_step = self._by_step if self.prior.cache is None else self._by_cached_step
        if self.passes is not None:
            if isinstance(method, Decoding):
                return self.passes.decoded(method, uniforms, inputs, known)
            by_step = self.passes.one_by_one
        by_method = {"pair": self._by_pair, "step": by_step, "loop": self._by_loop}
        return by_method[str(method)](uniforms, inputs, known)

    def log_prob(self, values: np.ndarray, inputs: Arrays) -> np.ndarray:
        """Nats (B,) of values (B, H, W, C), with condition and order under their names, if any.

        Raises:
            BundleError: for a likelihood that is no number.
        """
        function = f"{self.prior.prefix}log_prob"
        nats = self.run(function, {"values": values, **inputs})["log_prob"]
        return check_log_prob(nats, function)

    def _by_loop(self, uniforms: np.ndarray, inputs: Arrays, known: Known | None) -> Drawn:
        out = self.run(f"{self.prior.prefix}sample", {"uniforms": uniforms, **inputs})
        return Drawn(out["values"], out["log_prob"])

    def _by_step(self, uniforms: np.ndarray, inputs: Arrays, known: Known | None) -> Drawn:
        (initial_state, step), pixels = self.functions_of("step"), _Pixels(self.prior, uniforms, known)
        state = self.run(initial_state, {"position": pixels.positions[0]})["state"]
        tensors = {**inputs, "previous": pixels.values[0, 0]}
        for y, x in np.ndindex(self.prior.grid_shape[:2]):
            tensors["state"], tensors["position"] = state, pixels.position(y, x)
            tensors["uniforms"] = pixels.noise[y, x]
            out = self.run(step, tensors)
            state, tensors["previous"] = out["state_out"], pixels.put(y, x, out["value"], out["log_prob"])
        return pixels.drawn()

    def _by_cached_step(self, uniforms: np.ndarray, inputs: Arrays, known: Known | None) -> Drawn:
        """Each example along its order, after what is known and comes first in all of them."""
        (*encode, prefill, step), batch = self.functions_of("step"), len(uniforms)
        for function in encode:
            inputs = {**inputs, **self.run(function, inputs)}
        steps, channels = self.prior.num_steps, self.prior.grid_shape[-1]
        order = inputs.get("order", np.tile(np.arange(steps, dtype="int32"), (batch, 1)))
        noise = along(uniforms.reshape(batch, steps, -1), order)
        values, hidden = np.zeros((batch, steps, channels), "int32"), np.ones((batch, steps), bool)
        if known is not None:
            values = along(known.values.reshape(batch, steps, channels), order)
            hidden = along(known.hidden.reshape(batch, steps), order)
        nats, first = np.zeros(batch), number_known(hidden)
        if first:
            begun = {**inputs, "values": values[:, :first], "positions": order[:, :first]}
            past = self.run(prefill, {name: np.ascontiguousarray(part) for name, part in begun.items()})
        else:
            past = self._empty_past(step, batch)
        for rank in range(first, steps):
            out = self.run(
                step,
                {
                    **inputs,
                    **{name.replace("present", "past_key_values"): part for name, part in past.items()},
                    "previous": np.ascontiguousarray(values[:, max(rank - 1, 0)]),
                    "previous_position": np.ascontiguousarray(order[:, max(rank - 1, 0)]),
                    "position": np.ascontiguousarray(order[:, rank]),
                    "uniforms": np.ascontiguousarray(noise[:, rank]),
                },
            )
            here = hidden[:, rank]
            values[:, rank] = np.where(here[:, None], out.pop("value"), values[:, rank])
            nats += np.where(here, out.pop("log_prob"), 0)
            past = out
        placed = along(values, np.argsort(order, axis=1))
        return Drawn(placed.reshape(batch, *self.prior.grid_shape).astype("int32"), nats)

    def _by_pair(self, uniforms: np.ndarray, inputs: Arrays, known: Known | None) -> Drawn:
        (row, pixel), pixels, run = self.functions_of("pair"), _Pixels(self.prior, uniforms, known), self.run
        left_end = self._zeros(pixel, "pixel_state", len(uniforms))
        of_row = {**inputs, "row_state": self._zeros(row, "row_state", len(uniforms))}
        of_row["finished_row"] = np.ascontiguousarray(pixels.values[0].swapaxes(0, 1))
        tensors = {**inputs, "previous": pixels.values[0, 0]}
        height, width, _ = self.prior.grid_shape
        for y in range(height):
            of_row["position"] = pixels.position(y, 0)
            out = run(row, of_row)
            of_row["row_state"], tensors["row_features"] = out["row_state_out"], out["row_features"]
            tensors["pixel_state"] = left_end
            for x in range(width):
                tensors["position"], tensors["uniforms"] = pixels.position(y, x), pixels.noise[y, x]
                out = run(pixel, tensors)
                tensors["pixel_state"] = out["pixel_state_out"]
                tensors["previous"] = pixels.put(y, x, out["value"], out["log_prob"])
            of_row["finished_row"] = np.ascontiguousarray(pixels.values[y].swapaxes(0, 1))
        return pixels.drawn()

    def _empty_past(self, step: str, batch: int) -> Arrays:
        """The keys and values of nothing."""
        ports = [port for port in self.manifest.functions[step].inputs if "past" in port.sizes]
        return {
            port.name: np.zeros(
                [batch, *(0 if size == "past" else int(size) for size in port.sizes)], "float32"
            )
            for port in ports
        }

    def _zeros(self, function: str, name: str, batch: int) -> np.ndarray:
        return np.zeros((batch, *map(int, self.manifest.functions[function].input(name).sizes)), "float32")


class _Pixels:
    """What goes into steps and comes out of them, pixel by pixel: contiguous, so the batch stands last."""

    def __init__(self, prior: PriorDescription, uniforms: np.ndarray, known: Known | None) -> None:
        height, width, channels = prior.grid_shape
        batch = len(uniforms)
        self.width, self.known = width, known
        self.noise = np.ascontiguousarray(uniforms.transpose(1, 2, 0, 3))  # (H, W, B, K)
        self.positions = np.repeat(np.arange(height * width, dtype="int32")[:, None], batch, axis=1)
        self.values = np.zeros((height, width, batch, channels), "int32")
        self.nats = np.zeros((height, width, batch), "float32")

    def position(self, y: int, x: int) -> np.ndarray:
        return self.positions[y * self.width + x]

    def put(self, y: int, x: int, value: np.ndarray, log_prob: np.ndarray) -> np.ndarray:
        """Keeps what was drawn where the pixel is hidden, else what is known, and returns it."""
        if self.known is not None:
            here = self.known.hidden[:, y, x]
            value = np.where(here[:, None], value, self.known.values[:, y, x])
            log_prob = np.where(here, log_prob, 0)
        self.values[y, x], self.nats[y, x] = value, log_prob
        return value

    def drawn(self) -> Drawn:
        return Drawn(
            np.ascontiguousarray(self.values.transpose(2, 0, 1, 3)),
            self.nats.sum(axis=(0, 1), dtype="float64"),
        )


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
