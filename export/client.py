"""Sampling a bundle with numpy and ONNX Runtime alone: no Keras, no TensorFlow.

sampler = OnnxSampler("my_prior")
images = sampler.sample(16, seed=0)                    # (16, H, W, C) int32
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from tfprior.export.manifest import checked_file, load_manifest
from tfprior.inputs import (
    as_array,
    check_completion,
    check_condition,
    check_sampling_options,
    check_uniforms,
    check_values,
)
from tfprior.sharding import run_in_shards

METHODS = {"pair": ("row", "pixel"), "step": ("initial_state", "step"), "loop": ("sample",)}


class OnnxSampler:
    """Draws from the ONNX functions of a bundle; every method draws the same integers from the same noise.

    Args:
        path: the bundle.
        threads: how many cores share a batch; all of them when left out.

    Attributes:
        manifest: the bundle's manifest.
        methods: those the bundle can sample by: "pair" runs `row` once a row and `pixel` once a pixel (the
            fastest from outside), "step" the general single step, "loop" the whole loop in one call.

    Raises:
        BundleError: for a bundle that is missing, damaged, newer, or without ONNX functions.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.path = Path(path)
        self.manifest = load_manifest(path)
        self.grid_shape = tuple(self.manifest["grid_shape"])
        self.num_levels = self.manifest["num_levels"]
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = 1  # the graphs of a step are too small for more
        self.threads = threads
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        functions = self.manifest["functions"]
        self.methods = [name for name, needs in METHODS.items() if all(need in functions for need in needs)]
        checked_file(self.path, self.manifest, "onnx/step.onnx")

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
        per_pixel = self.manifest["noise"]["per_step"]
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
        uniforms = check_uniforms(uniforms, size, self.grid_shape, self.manifest["noise"]["per_step"])
        check_sampling_options(temperature, None, None, self.num_levels)
        known = check_completion(observed, mask, size, self.grid_shape, self.num_levels)
        method = method or self.methods[0]
        able = [name for name in self.methods if name != "loop" or known[0] is None]
        if method not in able:
            raise ValueError(f"Cannot sample by method {method!r} here; expected one of {', '.join(able)}.")
        given = {"temperature": np.full(size, temperature, "float32"), **self._given(condition, size)}
        by_method = getattr(self, f"_by_{method}")
        for function in METHODS[method]:
            self._session(function)  # before threads ask for it

        def run_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            share = {name: value[rows] for name, value in given.items()}
            return by_method(uniforms[rows], share, *(None if x is None else x[rows] for x in known))

        values, nats = run_in_shards(run_rows, len(uniforms), self.threads)
        return values, nats

    def log_prob(self, values: Any, condition: Any = None) -> np.ndarray:
        """Exact log-likelihood in nats: values (B, H, W, C) → (B,).

        Raises:
            ValueError: for values that are no integer grids of the bundle's levels.
        """
        values = np.asarray(values)
        check_values(values, self.grid_shape, self.num_levels)
        given = {"values": values.astype("int32"), **self._given(condition, len(values))}
        return self.run("log_prob", given)["log_prob"]

    def run(self, function: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs one function of the bundle on named tensors; those it does not take are left out."""
        names = [port["name"] for port in self.manifest["functions"][function]["outputs"]]
        return dict(
            zip(names, self._session(function).run(names, self._feeds(function, tensors)), strict=True)
        )

    def _session(self, function: str) -> onnxruntime.InferenceSession:
        if function not in self._sessions:
            file = checked_file(self.path, self.manifest, f"onnx/{function}.onnx")
            self._sessions[function] = onnxruntime.InferenceSession(
                str(file), self._options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[function]

    def _feeds(self, function: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        inputs = self.manifest["functions"][function]["inputs"]
        return {port["name"]: tensors[port["name"]] for port in inputs if port["name"] in tensors}

    def _zeros(self, function: str, port: str, batch: int) -> np.ndarray:
        inputs = self.manifest["functions"][function]["inputs"]
        shape = next(entry["shape"] for entry in inputs if entry["name"] == port)
        return np.zeros((batch, *shape[1:]), "float32")

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
            self._zeros("row", "row_state", batch),
            self._zeros("pixel", "pixel_state", batch),
        )
        pixel, outputs = self._session("pixel"), ["value", "log_prob", "pixel_state_out"]
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

    def _given(self, condition: Any, batch: int) -> dict[str, np.ndarray]:
        """The condition as the functions take it, under its name; nothing for an unconditional prior."""
        kind = self.manifest["condition"] or {}
        shape = tuple(kind["shape"]) if "shape" in kind else None
        condition = as_array(condition)
        check_condition(condition, kind.get("num_classes"), shape, batch)
        if condition is None:
            return {}
        return {"condition": np.ascontiguousarray(condition, "int32" if shape is None else "float32")}


def _complete(
    value: np.ndarray, log_prob: np.ndarray, observed: Any, hidden: Any, y: int, x: int
) -> tuple[np.ndarray, np.ndarray]:
    """What was drawn where the pixel is hidden, what was observed elsewhere."""
    if observed is None:
        return value, log_prob
    here = hidden[:, y, x]
    return np.where(here[:, None], value, observed[:, y, x]), np.where(here, log_prob, 0)
