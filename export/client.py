"""Sampling a bundle with numpy and ONNX Runtime alone: no Keras, no TensorFlow.

images = OnnxSampler("my_prior").sample(16, seed=0)          # (16, H, W, C) int32
images = OnnxGenerator("my_generator").sample(16, seed=0)    # of a bundle with a tokenizer
"""

from pathlib import Path
from typing import Any

import numpy as np

from tfprior.export.manifest import BundleError, checked_file
from tfprior.export.onnx_functions import Arrays, OnnxFunctions
from tfprior.inputs import (
    as_array,
    check_completion,
    check_condition,
    check_sampling_options,
    check_uniforms,
    check_values,
)
from tfprior.sharding import run_in_shards, shards

METHODS = {"pair": ("row", "pixel"), "step": ("initial_state", "step"), "loop": ("sample",)}
DECODED_AT_ONCE = 32


class OnnxSampler:
    """Draws from a prior in a bundle; every method draws the same integers from the same noise.

    Args:
        path: the bundle.
        threads: how many cores share a batch; all of them when left out.
        prefix: of the prior, where the bundle holds several: "top_" or "bottom_".

    Attributes:
        manifest: the bundle's manifest.
        prior: what it says of the prior.
        methods: those the prior can be sampled by: "pair" runs `row` once a row and `pixel` once a pixel (the
            fastest from outside), "step" the general single step, "loop" the whole loop in one call.

    Raises:
        BundleError: for a bundle that is missing, damaged, newer, or without that prior or ONNX functions.
    """

    def __init__(self, path: str | Path, threads: int | None = None, prefix: str = "") -> None:
        # The graphs of a step are too small for more than one thread.
        self.functions = OnnxFunctions(path, threads=1)
        self.manifest = self.functions.manifest
        priors = {prior["prefix"]: prior for prior in self.manifest["priors"]}
        if prefix not in priors:
            raise BundleError(
                f"The bundle {path} holds no prior with prefix {prefix!r}; expected one of "
                f"{', '.join(map(repr, priors))}."
            )
        self.prior, self.prefix = priors[prefix], prefix
        self.grid_shape = tuple(self.prior["grid_shape"])
        self.num_levels = self.prior["num_levels"]
        self.threads = threads
        self.methods = [
            name for name, needs in METHODS.items() if all(prefix + need in self.functions for need in needs)
        ]
        checked_file(path, self.manifest, f"onnx/{prefix}step.onnx")

    def sample(
        self,
        num_samples: int,
        condition: Any = None,
        uniforms: Any = None,
        seed: int | None = None,
        temperature: float = 1.0,
        observed: Any = None,
        mask: Any = None,
        method: str | None = None,
    ) -> np.ndarray:
        """Draws (num_samples, H, W, C) int32; arguments as in `tfprior.sampling.sample`.

        Raises:
            ValueError: for arguments of the wrong shape or range, and unknown methods.
        """
        per_pixel = self.prior["noise"]["per_step"]
        noise = check_uniforms(uniforms, num_samples, self.grid_shape, per_pixel, seed)
        return self.rollout(noise, condition, temperature, method, observed, mask)[0]

    def rollout(
        self,
        uniforms: np.ndarray,
        condition: np.ndarray | None = None,
        temperature: float = 1.0,
        method: str | None = None,
        observed: Any = None,
        mask: Any = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Noise (B, H, W, K) → values (B, H, W, C) int32 and the nats of what was drawn (B,).

        Raises:
            ValueError: for arguments of the wrong shape or range, and unknown methods.
        """
        size = len(uniforms)
        uniforms = check_uniforms(uniforms, size, self.grid_shape, self.prior["noise"]["per_step"])
        check_sampling_options(temperature, None, None, self.num_levels, size)
        known = check_completion(observed, mask, size, self.grid_shape, self.num_levels)
        method = method or self.methods[0]
        able = [name for name in self.methods if name != "loop" or known[0] is None]
        if method not in able:
            raise ValueError(f"Cannot sample by method {method!r} here; expected one of {', '.join(able)}.")
        given = {"temperature": np.full(size, temperature, "float32"), **self.given(condition, size)}
        by_method = getattr(self, f"_by_{method}")
        for function in METHODS[method]:
            self.functions.session(self.prefix + function)  # before threads ask for it

        def run_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            share = {name: value[rows] for name, value in given.items()}
            return by_method(uniforms[rows], share, *(None if x is None else x[rows] for x in known))

        values, nats = run_in_shards(run_rows, shards(size, self.threads))
        return values, nats

    def log_prob(self, values: Any, condition: Any = None) -> np.ndarray:
        """Exact log-likelihood in nats: values (B, H, W, C) → (B,).

        Raises:
            ValueError: for values that are no integer grids of the bundle's levels.
        """
        values = np.asarray(values)
        check_values(values, self.grid_shape, self.num_levels)
        given = {"values": values.astype("int32"), **self.given(condition, len(values))}
        return self.run("log_prob", given)["log_prob"]

    def run(self, function: str, arrays: Arrays) -> Arrays:
        """Runs one of the prior's functions on named arrays; those it does not take are left out."""
        return self.functions.run(self.prefix + function, arrays)

    # The loops: each a few lines in any language

    def _by_loop(
        self, uniforms: np.ndarray, given: Any, observed: Any, hidden: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        out = self.run("sample", {"uniforms": uniforms, **given})
        return out["values"], out["log_prob"]

    def _by_step(
        self, uniforms: np.ndarray, given: Any, observed: Any, hidden: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        batch, height, width, channels = len(uniforms), *self.grid_shape
        values = np.zeros((batch, height, width, channels), "int32")
        nats = np.zeros(batch, "float64")
        position = np.zeros(batch, "int32")
        state = self.run("initial_state", {"position": position})["state"]
        previous = values[:, 0, 0]
        for y, x in np.ndindex(height, width):
            tensors = {"state": state, "previous": previous, "uniforms": uniforms[:, y, x], **given}
            out = self.run("step", {"position": position + np.int32(y * width + x), **tensors})
            state = out["state_out"]
            previous, drawn = _complete(out["value"], out["log_prob"], observed, hidden, y, x)
            values[:, y, x] = previous
            nats += drawn
        return values, nats

    def _by_pair(
        self, uniforms: np.ndarray, given: Any, observed: Any, hidden: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        batch, height, width, channels = len(uniforms), *self.grid_shape
        values = np.zeros((batch, height, width, channels), "int32")
        nats = np.zeros(batch, "float64")
        noise = np.ascontiguousarray(uniforms.transpose(1, 2, 0, 3))
        positions = np.repeat(np.arange(height * width, dtype="int32")[:, None], batch, axis=1)
        finished, previous = values[:, 0], values[:, 0, 0]
        row_state, left_end = (
            self.functions.zeros(f"{self.prefix}row", "row_state", batch),
            self.functions.zeros(f"{self.prefix}pixel", "pixel_state", batch),
        )
        pixel = self.functions.session(f"{self.prefix}pixel")
        outputs = ["value", "log_prob", "pixel_state_out"]
        feeds = {"temperature": given["temperature"]}
        for y in range(height):
            tensors = {
                "row_state": row_state,
                "finished_row": finished,
                "position": positions[y * width],
                **given,
            }
            out = self.run("row", tensors)
            row_state, feeds["row_features"] = out["row_state_out"], out["row_features"]
            finished, pixel_state = np.empty((batch, width, channels), "int32"), left_end
            for x in range(width):
                feeds["pixel_state"], feeds["previous"] = pixel_state, previous
                feeds["position"], feeds["uniforms"] = positions[y * width + x], noise[y, x]
                value, log_prob, pixel_state = pixel.run(outputs, feeds)
                previous, drawn = _complete(value, log_prob, observed, hidden, y, x)
                finished[:, x] = previous
                nats += drawn
            values[:, y] = finished
        return values, nats

    def given(self, condition: Any, batch: int) -> dict[str, np.ndarray]:
        """The condition as the functions take it, under its name; nothing for an unconditional prior.

        Raises:
            ValueError: for a condition that the prior was not built for.
        """
        kind = self.prior["condition"] or {}
        shape = tuple(kind["shape"]) if "shape" in kind else None
        condition = as_array(condition)
        check_condition(condition, kind.get("num_classes"), shape, batch)
        if condition is None:
            return {}
        return {"condition": np.ascontiguousarray(condition, "int32" if shape is None else "float32")}


class OnnxGenerator:
    """Images from a bundle with a tokenizer and the priors of its codes.

    Args:
        path: the bundle.
        threads: how many cores share a batch; all of them when left out.

    Attributes:
        manifest: the bundle's manifest.
        samplers: one `OnnxSampler` for each grid of codes, coarse to fine.
        image_shape: (H, W, C).
        num_levels: of the images.

    Raises:
        BundleError: for a bundle that is missing, damaged, newer, or without a tokenizer or ONNX functions.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.functions = OnnxFunctions(path, threads or 0)
        self.manifest = self.functions.manifest
        images = self.manifest["images"]
        if images is None:
            raise BundleError(f"The bundle {path} holds a prior and no tokenizer: open it with OnnxSampler.")
        self.image_shape, self.num_levels = tuple(images["shape"]), images["num_levels"]
        self.samplers = [OnnxSampler(path, threads, prior["prefix"]) for prior in self.manifest["priors"]]

    def sample(
        self, num_samples: int, condition: Any = None, seed: int | None = None, temperature: float = 1.0
    ) -> np.ndarray:
        """Draws images (num_samples, H, W, C) int32, those of `Generator.sample` for the same seed.

        Raises:
            ValueError: for arguments of the wrong shape or range.
        """
        expected = self.decode(self.sample_codes(num_samples, condition, seed, temperature))
        return np.rint(expected).astype("int32")

    def sample_codes(
        self, num_samples: int, condition: Any = None, seed: int | None = None, temperature: float = 1.0
    ) -> Any:
        """Draws the codes (num_samples, h, w, G) int32, or a list of them; arguments as in `sample`."""
        seeds = np.random.SeedSequence(seed).generate_state(len(self.samplers))
        codes: list[np.ndarray] = []
        for sampler, own in zip(self.samplers, seeds, strict=True):
            if codes:
                condition = self._condition(sampler.prior, codes[-1])
            drawn = sampler.sample(num_samples, condition, seed=int(own), temperature=temperature)
            codes.append(drawn)
        return codes if len(codes) > 1 else codes[0]

    def generate(self, uniforms: Any, condition: Any = None, temperature: float = 1.0) -> Arrays:
        """The whole way in one graph: noise (B, h, w, K), or a list of it, → "images", "log_prob", codes.

        Raises:
            ValueError: for arguments of the wrong shape or range.
        """
        given = uniforms if isinstance(uniforms, list | tuple) else [uniforms]
        self._check_count(given, "noise")
        size = len(given[0])
        arrays: Arrays = {"temperature": np.full(size, temperature, "float32")}
        for sampler, noise in zip(self.samplers, given, strict=True):
            per_position = sampler.prior["noise"]["per_step"]
            checked = check_uniforms(noise, size, sampler.grid_shape, per_position)
            arrays[f"{sampler.prefix}uniforms"] = checked
        check_sampling_options(temperature, None, None, self.samplers[0].num_levels, size)
        arrays |= self.samplers[0].given(condition, size)
        return self.functions.run("generate", arrays)

    def encode(self, images: Any) -> Any:
        """Images (N, H, W, C) → codes (N, h, w, G) int32, or a list of them, coarse to fine.

        Raises:
            ValueError: for anything but integer images of the bundle's levels.
        """
        codes = self._in_batches("encode", {"images": self._checked(images)})
        named = [codes[f"{sampler.prefix}codes"] for sampler in self.samplers]
        return named if len(named) > 1 else named[0]

    def decode(self, codes: Any) -> np.ndarray:
        """Codes → expected images (N, H, W, C) float32, on the scale of the levels.

        Raises:
            ValueError: for codes of the wrong shape, type or range.
        """
        grids = codes if isinstance(codes, list | tuple) else [codes]
        self._check_count(grids, "codes")
        arrays: Arrays = {}
        for sampler, grid in zip(self.samplers, map(as_array, grids), strict=True):
            check_values(grid, sampler.grid_shape, sampler.num_levels, "codes")
            arrays[f"{sampler.prefix}codes"] = np.ascontiguousarray(grid, "int32")
        return self._in_batches("decode", arrays)["images"]

    def log_prob(self, images: Any, condition: Any = None) -> np.ndarray:
        """A lower bound of the log-likelihood in nats: images (N, H, W, C) → (N,).

        Raises:
            ValueError: for anything but integer images of the bundle's levels.
        """
        images = self._checked(images)
        arrays = {"images": images, **self.samplers[0].given(condition, len(images))}
        return self._in_batches("log_prob_bound", arrays)["log_prob"]

    def _in_batches(self, function: str, arrays: Arrays) -> Arrays:
        count = len(next(iter(arrays.values())))
        if not count:
            raise ValueError("Got 0 examples; expected at least one.")
        parts = [
            self.functions.run(
                function, {name: part[first : first + DECODED_AT_ONCE] for name, part in arrays.items()}
            )
            for first in range(0, count, DECODED_AT_ONCE)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _condition(self, prior: dict[str, Any], above: np.ndarray) -> np.ndarray:
        """What the codes above tell the next finer prior."""
        function = prior["condition"]["function"]
        (port,) = self.manifest["functions"][function]["inputs"]
        return self.functions.run(function, {port["name"]: above})["condition"]

    def _checked(self, images: Any) -> np.ndarray:
        images = as_array(images)
        check_values(images, self.image_shape, self.num_levels, "images")
        return np.ascontiguousarray(images, "int32")

    def _check_count(self, grids: Any, name: str) -> None:
        if len(grids) != len(self.samplers):
            raise ValueError(f"Got {len(grids)} grids of {name}; expected {len(self.samplers)}.")


def _complete(
    value: np.ndarray, log_prob: np.ndarray, observed: Any, hidden: Any, y: int, x: int
) -> tuple[np.ndarray, np.ndarray]:
    """What was drawn where the pixel is hidden, what was observed elsewhere."""
    if observed is None:
        return value, log_prob
    here = hidden[:, y, x]
    return np.where(here[:, None], value, observed[:, y, x]), np.where(here, log_prob, 0)
