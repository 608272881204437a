"""A prior of a bundle in ONNX Runtime: it samples, completes and scores integer grids."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfprior.export.arrays import Arrays, Drawn, Known
from tfprior.export.checks import BundleError
from tfprior.export.continuous_batching import ContinuousBatch, Example, examples_of
from tfprior.export.decoding import Decoding
from tfprior.export.onnx_functions import OnnxFunctions
from tfprior.export.request import condition_arrays, num_uniforms, order_arrays, request
from tfprior.export.rollout import Rollout, batches
from tfprior.inputs import (
    as_array,
    check_uniforms,
    check_values,
    num_to_complete,
)
from tfprior.philox import Seed
from tfprior.sharding import run_in_shards, shards

if TYPE_CHECKING:
    from tfprior.export.tf_serving import ServingFunctions


class OnnxSampler:
    """Draws from a prior in a bundle; every method draws the same integers from the same noise.

    Args:
        path: the bundle.
        threads: how many cores share a batch; all of them when left out.
        prefix: of the prior, where the bundle holds several: "top_" or "bottom_".

    Attributes:
        manifest: the bundle's manifest.
        prior: what it says of the prior.
        grid_shape: (H, W, C).
        num_levels: values are integers in [0, num_levels).
        num_classes: of the labels that are the condition; None without such.
        class_names: by which labels may be told, too; none where the bundle has none.
        condition_kind: what the condition is, whichever it is; None without one.
        methods: those the prior can be sampled by, the usual one first: "pair" runs `row` once a row and
            `pixel` once a pixel, "step" the general single step, "loop" the whole loop in one call, which
            completes nothing. A masked prior's "maskgit" and "halton" draw about the same in `iterations`.

    Raises:
        BundleError: for a bundle that is missing, damaged, newer, or without that prior or ONNX functions;
            every method raises it when what comes out of them is out of range.
    """

    def __init__(self, path: str | Path, threads: int | None = None, prefix: str = "") -> None:
        # The graphs of a step are too small for more than one thread.
        self._hold(OnnxFunctions(path, threads=1), threads, prefix)

    def _hold(self, functions: "OnnxFunctions | ServingFunctions", threads: int | None, prefix: str) -> None:
        self.functions, path = functions, functions.path
        self.manifest = functions.manifest
        priors = {prior.prefix: prior for prior in self.manifest.priors}
        if self.manifest.encoder is not None:
            raise BundleError(
                f"The bundle {path} holds an encoder, which draws nothing: open it with OnnxEncoder."
            )
        if prefix not in priors:
            raise BundleError(
                f"The bundle {path} holds no prior with prefix {prefix!r}; expected one of "
                f"{', '.join(map(repr, priors))}."
            )
        self.prior, self.prefix = priors[prefix], prefix
        self.grid_shape, self.num_levels = self.prior.grid_shape, self.prior.num_levels
        self.condition_kind = None if self.prior.condition is None else self.prior.condition.of_model
        self.num_classes = None if self.prior.condition is None else self.prior.condition.num_classes
        self.class_names = self.manifest.class_names if self.num_classes else ()
        self.threads = threads
        self._rollout = Rollout(self.functions.run, self.manifest, self.prior)
        self.methods = [*self._rollout.methods, *self._rollout.decodings]
        self.functions.check_file(self._rollout.functions_of("step")[-1])

    def sample(
        self,
        num_samples: int,
        condition: Any = None,
        uniforms: Any = None,
        seed: int | None = None,
        temperature: Any = 1.0,
        top_k: None = None,
        top_p: None = None,
        observed: Any = None,
        mask: Any = None,
        order: Any = None,
        method: str | None = None,
        guidance: Any = None,
        iterations: int | None = None,
    ) -> np.ndarray:
        """Draws (num_samples, H, W, C) int32; arguments as in `tfprior.sampling.sample`, methods of its own.

        Raises:
            ValueError: for arguments of the wrong shape or range, unknown methods, top_k and top_p, and
                guidance of a prior that was not trained with condition_dropout.
        """
        for name, option in (("top_k", top_k), ("top_p", top_p)):
            if option is not None:
                raise ValueError(
                    f"{name}={option!r}; a bundle draws by temperature alone: sample the model that it is of."
                )
        per_pixel = num_uniforms(self.prior, self.way_of(method, iterations))
        noise = check_uniforms(uniforms, num_samples, self.grid_shape, per_pixel, seed)
        return self.rollout(
            noise, condition, temperature, method, observed, mask, order, guidance, iterations
        ).values

    def sample_parts(self, num_samples: int, condition: Any = None, **options: Any) -> Arrays:
        """What `sample` draws, as "values"."""
        return {"values": self.sample(num_samples, condition, **options)}

    def complete(self, images: Any, mask: Any, condition: Any = None, **options: Any) -> np.ndarray:
        """Draws what is hidden, True in mask (H, W) or (N, H, W), of images (N, H, W, C).

        Raises:
            ValueError: for arguments of the wrong shape or range.
        """
        images = as_array(images)
        return self.sample(num_to_complete(images, mask), condition, observed=images, mask=mask, **options)

    def rollout(
        self,
        uniforms: np.ndarray,
        condition: np.ndarray | None = None,
        temperature: Any = 1.0,
        method: str | None = None,
        observed: Any = None,
        mask: Any = None,
        order: Any = None,
        guidance: Any = None,
        iterations: int | None = None,
    ) -> Drawn:
        """Noise (B, H, W, K) → values (B, H, W, C) int32 and the nats of what was drawn (B,).

        Raises:
            ValueError: as in `sample`.
        """
        way = self.way_of(method, iterations, completes=observed is not None)
        noise, inputs, known = request(
            self.prior, way, uniforms, condition, temperature, observed, mask, order, guidance
        )
        self._open(way)  # before threads ask for it

        def run_rows(rows: np.ndarray) -> Drawn:
            share = {name: value[rows] for name, value in inputs.items()}
            of_rows = None if known is None else Known(*(part[rows] for part in known))
            return self._rollout.draw(way, noise[rows], share, of_rows)

        return Drawn(*run_in_shards(run_rows, shards(len(noise), self.threads)))

    def sample_rows(
        self, num_samples: int, condition: Any = None, seed: int | None = None, **options: Any
    ) -> Iterator[np.ndarray]:
        """Draws what `sample` does and yields its rows (num_samples, W, C) as they come, from above.

        Options are "temperature", "guidance", "observed" and "mask".

        Raises:
            ValueError: for arguments of the wrong shape or range, and a prior that draws in other orders.
        """
        if self.prior.orders != "raster":
            raise ValueError(
                "Rows come one after the other in raster order, and this prior draws in any: use `sample`."
            )
        examples = self.examples(num_samples, condition, seed, **options)
        return self._rows(examples)

    def _rows(self, examples: list[Example]) -> Iterator[np.ndarray]:
        batch, told = self.continuous_batch(), 0
        batch.join(examples)
        while told < self.grid_shape[0]:
            batch.advance()
            while told < examples[0].rows:
                yield np.stack([example.values[told] for example in examples])
                told += 1
        for example in examples:
            self.check(example)

    def continuous_batch(self) -> ContinuousBatch:
        """What examples of this prior join, whenever they come, to share every step."""
        way = self.way_of(None, completes=True)
        self._open(way)
        return self._rollout.batch(str(way))

    def examples(
        self,
        num_samples: int,
        condition: Any = None,
        seed: int | Seed | None = None,
        temperature: Any = 1.0,
        observed: Any = None,
        mask: Any = None,
        order: Any = None,
        guidance: Any = None,
        method: str | None = None,
        iterations: int | None = None,
    ) -> list[Example]:
        """What `sample` draws by steps, as examples that may join a continuous batch at any time.

        Raises:
            ValueError: as in `sample`, and for methods that differ in more than speed.
        """
        way = self.way_of(method, iterations, completes=True)
        noise = check_uniforms(None, num_samples, self.grid_shape, num_uniforms(self.prior, way), seed)
        noise, inputs, known = request(
            self.prior, way, noise, condition, temperature, observed, mask, order, guidance
        )
        return examples_of(self.prior, noise, inputs, known, way if isinstance(way, Decoding) else None)

    def check(self, example: Example) -> None:
        """Looks at an example that is done.

        Raises:
            BundleError: for values outside the prior's levels, or a likelihood that is no number.
        """
        drawn = Drawn(example.values, np.asarray(example.log_prob))
        self._rollout.checked(drawn, self.way_of(None, completes=True))

    def _open(self, way: str | Decoding) -> None:
        for function in self._rollout.functions_of(way if isinstance(way, str) else "step"):
            self.functions.open(function)

    def log_prob(
        self, values: Any, condition: Any = None, batch_size: int = 64, order: Any = None
    ) -> np.ndarray:
        """Exact log-likelihood in nats, along an order that the prior draws in: values (N, H, W, C) → (N,).

        Raises:
            ValueError: for values that are no integer grids of the bundle's levels, or none.
        """
        values = np.asarray(values)
        check_values(values, self.grid_shape, self.num_levels)
        given = condition_arrays(self.prior, condition, len(values)) | order_arrays(
            self.prior, order, len(values)
        )
        parts = [
            self._rollout.log_prob(
                values[rows].astype("int32"), {name: part[rows] for name, part in given.items()}
            )
            for rows in batches(len(values), batch_size)
        ]
        return np.concatenate(parts)

    def run(self, function: str, arrays: Arrays) -> Arrays:
        """Runs one of the prior's functions on named arrays; those it does not take are left out."""
        return self.functions.run(self.prefix + function, arrays)

    def way_of(
        self, method: str | None, iterations: int | None = None, completes: bool = False
    ) -> str | Decoding:
        """What draws by a method, the usual one when left out; one that decodes in so many iterations.

        Raises:
            ValueError: for unknown methods, and iterations of what has none.
        """
        able = [name for name in self.methods if name != "loop" or not completes]
        method = method or able[0]
        if method not in able:
            raise ValueError(f"Cannot sample by method {method!r} here; expected one of {', '.join(able)}.")
        if method in self._rollout.decodings:
            return self._rollout.decodings[method](self.prior, iterations)
        if iterations is not None:
            raise ValueError(
                f"method={method!r} draws one by one and got iterations={iterations}; leave it out, or draw "
                "from a masked prior by 'maskgit' or 'halton'."
            )
        return method
