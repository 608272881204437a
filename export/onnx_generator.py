"""A tokenizer and the priors of its codes in ONNX Runtime: images drawn, encoded, decoded and scored."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfprior.export.arrays import Arrays
from tfprior.export.checks import BundleError
from tfprior.export.onnx_functions import OnnxFunctions
from tfprior.export.onnx_sampler import OnnxSampler
from tfprior.export.request import condition_arrays, option_arrays
from tfprior.export.rollout import batches, check_integers, check_log_prob, condition_from
from tfprior.hidden_pixels import coarsened, mean_filled
from tfprior.inputs import (
    as_array,
    check_completion,
    check_uniforms,
    check_values,
    checked_seed,
)

if TYPE_CHECKING:
    from tfprior.export.tf_serving import ServingFunctions

DECODED_AT_ONCE = 32


class OnnxGenerator:
    """Images from a bundle with a tokenizer and the priors of its codes.

    Args:
        path: the bundle.
        threads: how many cores share a batch; all of them when left out.

    Attributes:
        manifest: the bundle's manifest.
        samplers: one `OnnxSampler` for each grid of codes, coarse to fine.
        grid_shape: (H, W, C) of the images.
        num_levels: images are integers in [0, num_levels).
        num_classes: of the labels that are the condition; None without such.
        class_names: by which labels may be told, too; none where the bundle has none.

    Raises:
        BundleError: for a bundle that is missing, damaged, newer, or without a tokenizer or ONNX functions;
            every method raises it when what comes out of them is out of range.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        functions = OnnxFunctions(path, threads or 0)
        self._hold(functions, lambda prefix: OnnxSampler(path, threads, prefix))

    def _hold(
        self, functions: "OnnxFunctions | ServingFunctions", sampler: Callable[[str], OnnxSampler]
    ) -> None:
        self.functions, self.manifest = functions, functions.manifest
        images = self.manifest.images
        if images is None:
            raise BundleError(
                f"The bundle {functions.path} holds a prior and no tokenizer: open it with OnnxSampler."
            )
        self.grid_shape, self.num_levels = images.shape, images.num_levels
        self.samplers = [sampler(prior.prefix) for prior in self.manifest.priors]
        self.num_classes, self.class_names = self.samplers[0].num_classes, self.manifest.class_names

    def sample(self, num_samples: int, condition: Any = None, **options: Any) -> np.ndarray:
        """Draws images (num_samples, H, W, C) int32, those of `Generator.sample` for the same seed.

        Options are "seed", "temperature", "guidance" and "method".

        Raises:
            ValueError: for arguments of the wrong shape or range.
        """
        return self.sample_parts(num_samples, condition, **options)["values"]

    def sample_parts(self, num_samples: int, condition: Any = None, **options: Any) -> Arrays:
        """What `sample` draws as "values", beside the "codes" (of several grids "codes_0", …)."""
        codes = self.sample_codes(num_samples, condition, **options)
        grids = codes if isinstance(codes, list) else [codes]
        names = ["codes"] if len(grids) == 1 else [f"codes_{index}" for index in range(len(grids))]
        values = np.rint(self.decode(codes)).astype("int32")
        return {"values": values, **dict(zip(names, grids, strict=True))}

    def sample_codes(
        self,
        num_samples: int,
        condition: Any = None,
        seed: int | None = None,
        **options: Any,
    ) -> Any:
        """Draws the codes (num_samples, h, w, G) int32, or a list of them; arguments as in `sample`.

        Of several priors `guidance` is for those that were trained with condition_dropout.
        """
        return self._draw(num_samples, condition, seed, **options)

    def complete(
        self, images: Any, mask: Any, condition: Any = None, seed: int | None = None, **options: Any
    ) -> np.ndarray:
        """Draws what is hidden, True in mask (H, W) or (N, H, W), of images, as `Generator.complete` does.

        Raises:
            ValueError: for arguments of the wrong shape or range.
        """
        images = self._checked(images)
        known, hidden = check_completion(images, mask, len(images), self.grid_shape, self.num_levels)
        if known is None or hidden is None:
            raise ValueError("complete takes images and a mask that is True where they are hidden.")
        codes = self.encode(mean_filled(known, hidden))
        observed = [
            {"observed": grid, "mask": coarsened(hidden, grid.shape[1:3])}
            for grid in (codes if isinstance(codes, list) else [codes])
        ]
        drawn = self.decode(self._draw(len(images), condition, seed, observed, **options))
        return np.where(hidden[..., None], np.rint(drawn).astype("int32"), known)

    def _draw(
        self,
        num_samples: int,
        condition: Any,
        seed: int | None,
        observed: list[dict[str, np.ndarray]] | None = None,
        **options: Any,
    ) -> Any:
        """Codes drawn grid by grid, coarse to fine; `observed` says what is known of each."""
        of_all = checked_seed(seed)
        codes: list[np.ndarray] = []
        some_are_guided = any(sampler.prior.is_guided for sampler in self.samplers)
        for index, sampler in enumerate(self.samplers):
            if codes:
                condition = condition_from(codes[-1], sampler.prior, self.manifest, self.functions.run)
            known = observed[index] if observed else {}
            its_own = {**options, **known, "seed": of_all._replace(grid=index)}
            if some_are_guided and not sampler.prior.is_guided:
                its_own["guidance"] = None
            codes.append(sampler.sample(num_samples, condition, **its_own))
        return codes if len(codes) > 1 else codes[0]

    def generate(
        self, uniforms: Any, condition: Any = None, temperature: Any = 1.0, guidance: Any = None
    ) -> Arrays:
        """The whole way in one graph: noise (B, h, w, K), or a list of it, → "images", "log_prob", codes.

        Raises:
            ValueError: for arguments of the wrong shape or range.
        """
        of_grids = uniforms if isinstance(uniforms, list | tuple) else [uniforms]
        self._check_count(of_grids, "noise")
        size = len(of_grids[0])
        guided = [sampler for sampler in self.samplers if sampler.prior.is_guided]
        arrays = option_arrays((guided or self.samplers)[0].prior, temperature, guidance, size)
        for sampler, noise in zip(self.samplers, of_grids, strict=True):
            per_position = sampler.prior.noise.per_step
            noise = check_uniforms(noise, size, sampler.grid_shape, per_position)
            arrays[f"{sampler.prefix}uniforms"] = noise
        arrays |= condition_arrays(self.samplers[0].prior, condition, size)
        out = self.functions.run("generate", arrays)
        check_log_prob(out["log_prob"], "generate")
        self._check_codes(out, "generate")
        return {**out, "images": self._within_levels(out["images"], "generate")}

    def encode(self, images: Any) -> Any:
        """Images (N, H, W, C) → codes (N, h, w, G) int32, or a list of them, coarse to fine.

        Raises:
            ValueError: for anything but integer images of the bundle's levels.
        """
        codes = self._in_batches("encode", {"images": self._checked(images)})
        named = self._check_codes(codes, "encode")
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
        return self._within_levels(self._in_batches("decode", arrays)["images"], "decode")

    def log_prob(self, images: Any, condition: Any = None, batch_size: int = DECODED_AT_ONCE) -> np.ndarray:
        """A lower bound of the log-likelihood in nats: images (N, H, W, C) → (N,).

        Raises:
            ValueError: for anything but integer images of the bundle's levels.
        """
        images = self._checked(images)
        arrays = {"images": images, **condition_arrays(self.samplers[0].prior, condition, len(images))}
        nats = self._in_batches("log_prob_bound", arrays, batch_size)["log_prob"]
        return check_log_prob(nats, "log_prob_bound")

    def _in_batches(self, function: str, arrays: Arrays, batch_size: int = DECODED_AT_ONCE) -> Arrays:
        parts = [
            self.functions.run(function, {name: part[rows] for name, part in arrays.items()})
            for rows in batches(len(next(iter(arrays.values()))), batch_size)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _check_codes(self, codes: Arrays, function: str) -> list[np.ndarray]:
        return [
            check_integers(codes[f"{sampler.prefix}codes"], sampler.num_levels, function)
            for sampler in self.samplers
        ]

    def _within_levels(self, images: np.ndarray, function: str) -> np.ndarray:
        """Expected images, whose rounding errors may leave [0, num_levels − 1] by a little."""
        top = self.num_levels - 1
        low, high = images.min(), images.max()
        slack = 1e-3 * max(top, 1)
        if not (low >= -slack and high <= top + slack):  # NaN fails too
            raise BundleError(
                f"The function {function!r} gives images in [{low}, {high}]; expected [0, {top}]: its model "
                "has diverged, or the bundle was changed; export a model from before."
            )
        return np.clip(images, 0, top)

    def _checked(self, images: Any) -> np.ndarray:
        images = as_array(images)
        check_values(images, self.grid_shape, self.num_levels, "images")
        return np.ascontiguousarray(images, "int32")

    def _check_count(self, grids: Any, name: str) -> None:
        if len(grids) != len(self.samplers):
            raise ValueError(f"Got {len(grids)} grids of {name}; expected {len(self.samplers)}.")
