"""The contract of a tokenizer."""

import abc
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tfprior.compilation import in_batches
from tfprior.distributions.base import OutputDistribution
from tfprior.float32_copies import in_float32
from tfprior.grid_model import GridModel, Tensor
from tfprior.inputs import as_array, check_grid_shape, check_values
from tfprior.mean_of_sums import MeanOfSums
from tfprior.once_a_step import once_a_step
from tfprior.quantizers.base import Quantizer
from tfprior.score import BITS_PER_DIM, Score
from tfprior.tokenizers.usage import CodebookUsage

Codes = Any
"""A grid of codes (B, h, w, G), or a list of them, coarse to fine."""


class Tokenized(NamedTuple):
    """What a tokenizer's `call` makes of images (B, H, W, C).

    Attributes:
        params: parameters of the distribution of the images given their codes (B, H, W, P).
        codes: (B, h, w, G) int32, or a list of them, coarse to fine.
        loss: of the quantizers.
        statistics: of each quantizer, for the update of its codebook.
    """

    params: Any
    codes: Codes
    loss: Any
    statistics: list[dict[str, Any]]


class Tokenizer(GridModel):
    """Integer images (H, W, C) ↔ grids of codes, with a likelihood of the images given their codes.

    `fit(images)` needs no loss: it minimises the nats per dimension that the images cost given their codes,
    plus the quantizers' losses. It reports `bits_per_dim`, the bound of the ELBO with a uniform prior over
    codes, `reconstruction_bits_per_dim` without that prior's share, and the use of the codebooks over the
    epoch.

    Args:
        image_shape: (H, W, C).
        distribution: of a pixel given the codes.
        quantizers: of tfprior.quantizers, coarse to fine; the tokenizer takes over what each would do alone.
        grids: (h, w) of the codes of each quantizer.

    Attributes:
        code_shapes: (h, w, G) of each quantizer.
        codebook_sizes: of each quantizer.

    Raises:
        ValueError: for a shape that is no grid, or arguments of other kinds.
    """

    kind = "tokenizer"
    scores = (
        BITS_PER_DIM._replace(words="uniform codes"),
        Score("reconstruction_bits_per_dim", "bits/dim", words="bits/dim of the images given their codes"),
        Score("perplexity", "codes", "max", words="perplexity of the codes"),
        Score("usage", "share of codes", "max", words="share of codes in use"),
        Score("dead_codes", "codes", words="codes that are never used"),
    )

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        quantizers: Sequence[Quantizer],
        grids: Sequence[tuple[int, int]],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        self.image_shape = self.grid_shape = check_grid_shape(image_shape)
        if not isinstance(distribution, OutputDistribution):
            raise ValueError(
                f"{name} got distribution={distribution!r}; expected one of tfprior.distributions."
            )
        for quantizer in quantizers:
            if not isinstance(quantizer, Quantizer):
                raise ValueError(f"{name} got quantizer={quantizer!r}; expected one of tfprior.quantizers.")
            if quantizer.built:
                raise ValueError(
                    f"{name} got a {type(quantizer).__name__} that is built already; expected one of its own."
                )
            quantizer.become_part_of(self)
        if len({id(quantizer) for quantizer in quantizers}) < len(quantizers):
            raise ValueError(f"{name} got a quantizer twice; expected one object for each grid of codes.")
        self.distribution = distribution
        self.quantizers = list(quantizers)
        self.code_shapes = [
            (*grid, each.num_codes) for grid, each in zip(grids, self.quantizers, strict=True)
        ]
        self.codebook_sizes = [each.codebook_size for each in self.quantizers]
        self._bits_per_dim = MeanOfSums(name="bits_per_dim")
        self._reconstruction = MeanOfSums(name="reconstruction_bits_per_dim")
        self._usage = CodebookUsage([(each.num_codes, each.codebook_size) for each in self.quantizers])

    @staticmethod
    def grids_of(codes: Codes) -> list[Any]:
        """The grids of codes, coarse to fine."""
        return list(codes) if isinstance(codes, list | tuple) else [codes]

    @staticmethod
    def codes_of(grids: Sequence[Any]) -> Codes:
        """Codes as a tokenizer takes and gives them: a single grid stands for itself."""
        return list(grids) if len(grids) > 1 else grids[0]

    # Tensors of one batch in and out: usable inside a graph, where ranges are not checked

    @abc.abstractmethod
    def call(self, inputs: Any, training: bool = False) -> Tokenized:
        """Images (B, H, W, C) → Tokenized."""

    @abc.abstractmethod
    def encode_batch(self, images: Tensor) -> Codes:
        """Images (B, H, W, C) → codes (B, h, w, G) int32, or a list of them, coarse to fine."""

    @abc.abstractmethod
    def params(self, codes: Codes) -> Tensor:
        """Codes → parameters of the images' distribution (B, H, W, P)."""

    def decode_batch(self, codes: Codes) -> Tensor:
        """Codes → expected images (B, H, W, C) float32, on the scale of the levels."""
        return self.distribution.mean(self.params(codes))

    @property
    def condition_shapes(self) -> list[tuple[int, ...] | None]:
        """Shape of the spatial condition of each grid's prior: None for the coarsest."""
        return [None] * len(self.quantizers)

    def scaled(self, images: Tensor) -> Tensor:
        """Levels → [−1, 1], in the type that the layers compute in."""
        values = ops.cast(images, "float32") * np.float32(2 / (self.distribution.num_levels - 1)) - 1
        return ops.cast(values, self.compute_dtype)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Nats per dimension of the images given their codes, plus the quantizers' losses."""
        nats = self._nats(x, y_pred) / self.num_dims
        loss = self.mean_of(nats, sample_weight) + y_pred.loss + sum(self.losses)
        return self.guarded(loss, x if y is None else y)

    def statistics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> dict[str, Any]:
        nats, bit = self._nats(x, y_pred), self.num_dims * math.log(2)
        of_batch = {
            **super().statistics(x, y, y_pred, sample_weight, training),
            "bits_per_dim": self.sums_of((nats + self.code_nats) / bit, sample_weight),
            "reconstruction": self.sums_of(nats / bit, sample_weight),
            "counts": [statistics["counts"] for statistics in y_pred.statistics],
        }
        return {**of_batch, "quantizers": y_pred.statistics} if training and self.trainable else of_batch

    def track(self, statistics: dict[str, Any]) -> None:
        super().track(statistics)
        self._bits_per_dim.update_state(statistics["bits_per_dim"])
        self._reconstruction.update_state(statistics["reconstruction"])
        self._usage.update_state(statistics["counts"])

    def follow(self, statistics: dict[str, Any]) -> None:
        for quantizer, of_batch in zip(self.quantizers, statistics.get("quantizers", ()), strict=False):
            quantizer.update(of_batch)

    @once_a_step
    def _nats(self, inputs: Any, outputs: Tokenized) -> Tensor:
        images, _ = self.unpack(inputs)
        return -ops.sum(self.distribution.log_prob(outputs.params, images), axis=(1, 2))

    @staticmethod
    def params_of(outputs: Tokenized) -> Tensor:
        return outputs.params

    @property
    def code_nats(self) -> float:
        """Nats of an image's codes where each is as probable as any other."""
        pairs = zip(self.code_shapes, self.codebook_sizes, strict=True)
        return sum(math.prod(shape) * math.log(size) for shape, size in pairs)

    # Arrays in, arrays out, however many

    def encode(self, images: Any, batch_size: int = 64) -> Any:
        """Images (N, H, W, C) → codes (N, h, w, G) int32, or a list of them, coarse to fine.

        Raises:
            ValueError: for images of the wrong shape, type or range.
        """
        images = as_array(images)
        self.check_inputs(images)
        return in_batches(_encode, in_float32(self), [images], batch_size)

    def decode(self, codes: Any, batch_size: int = 64) -> np.ndarray:
        """Codes → expected images (N, H, W, C) float32, on the scale of the levels.

        Raises:
            ValueError: for codes of the wrong shape, type or range.
        """
        grids = [as_array(grid) for grid in self.grids_of(codes)]
        if len(grids) != len(self.quantizers):
            raise ValueError(
                f"{type(self).__name__} got {len(grids)} grids of codes; expected {len(self.quantizers)}."
            )
        for grid, shape, size in zip(grids, self.code_shapes, self.codebook_sizes, strict=True):
            check_values(grid, shape, size, "codes")
        return in_batches(_decode, in_float32(self), grids, batch_size)

    def reconstruct(self, images: Any, batch_size: int = 64) -> np.ndarray:
        """Images → codes → images (N, H, W, C) int32.

        Raises:
            ValueError: for images of the wrong shape, type or range.
        """
        return as_levels(self.decode(self.encode(images, batch_size), batch_size))

    def pixel_log_prob(self, images: Any, batch_size: int = 64) -> np.ndarray:
        """Log-likelihood of each pixel given the codes of its image, in nats: (N, H, W, C) → (N, H, W).

        Raises:
            ValueError: for images of the wrong shape, type or range.
        """
        images = as_array(images)
        self.check_inputs(images)
        return in_batches(_pixel_log_prob, in_float32(self), [images], batch_size)

    def check_inputs(self, values: Tensor, condition: Tensor | None = None) -> None:
        check_values(values, self.grid_shape, self.distribution.num_levels, "images")
        if condition is not None:
            raise ValueError("A tokenizer has no condition; pass the images alone.")

    @property
    def adds_up_inside(self) -> bool:
        return any(quantizer.adds_up_inside for quantizer in self.quantizers)

    def noise_of_batch(self) -> list[Any]:
        return [noise for quantizer in self.quantizers for noise in quantizer.noise_of_batch()]

    @property
    def needs_initialization(self) -> bool:
        return self.trainable and any(quantizer.needs_initialization for quantizer in self.quantizers)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "image_shape": self.image_shape,
            "distribution": keras.saving.serialize_keras_object(self.distribution),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Tokenizer":
        load = keras.saving.deserialize_keras_object
        parts = {
            name: load(value, custom_objects)
            for name, value in config.items()
            if name.endswith(("distribution", "quantizer", "encoder")) and isinstance(value, dict)
        }
        return cls(**{**config, **parts})


def as_levels(expected: np.ndarray) -> np.ndarray:
    """Expected values → the nearest levels, int32.

    Raises:
        ValueError: for NaN.
    """
    if np.isnan(expected).any():
        raise ValueError("The decoder gives NaN, so its training diverged; load a tokenizer from before.")
    return np.rint(expected).astype("int32")


def _encode(tokenizer: Tokenizer, images: Tensor) -> Codes:
    return tokenizer.encode_batch(images)


def _decode(tokenizer: Tokenizer, *grids: Tensor) -> Tensor:
    return tokenizer.decode_batch(tokenizer.codes_of(grids))


def _pixel_log_prob(tokenizer: Tokenizer, images: Tensor) -> Tensor:
    return tokenizer.distribution.log_prob(tokenizer.params(tokenizer.encode_batch(images)), images)
