"""Images from a prior over a tokenizer's codes.

Shapes: N images · H W C · h w G codes.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior import sampling
from tfprior.distributions.base import Tensor
from tfprior.float32_copies import in_float32
from tfprior.hidden_pixels import coarsened, mean_filled
from tfprior.image_model import ImageModel
from tfprior.inputs import as_array, check_completion, check_condition, checked_seed, num_to_complete
from tfprior.priors.base import Prior
from tfprior.tokenizers.base import Tokenizer, as_levels


@keras.saving.register_keras_serializable("tfprior")
class Generator(ImageModel):
    """A tokenizer and the prior of its codes, or one prior for each of its grids, as one model.

    The first prior may have a condition of its own; a finer one is conditioned on the tokenizer's
    `condition_map` of the codes above it.

    Args:
        tokenizer: of tfprior.tokenizers.
        priors: of tfprior.priors.

    Raises:
        ValueError: where the priors are not those of the tokenizer's codes.
    """

    def __init__(self, tokenizer: Tokenizer, priors: Prior | Sequence[Prior], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tokenizer = tokenizer
        self.priors = [priors] if isinstance(priors, Prior) else list(priors)
        if len(self.priors) != len(tokenizer.code_shapes):
            raise ValueError(
                f"Generator got {len(self.priors)} priors; expected {len(tokenizer.code_shapes)}, one for "
                "each grid of codes, coarse to fine."
            )
        sizes = zip(tokenizer.code_shapes, tokenizer.codebook_sizes, strict=True)
        for prior, (shape, size) in zip(self.priors, sizes, strict=True):
            got = prior.grid_shape, prior.num_levels
            if got != (tuple(shape), size):
                raise ValueError(
                    f"Generator got a prior of grids {got[0]} of {got[1]} levels; the tokenizer's codes are "
                    f"{tuple(shape)} of {size}: train the prior on tokenizer.encode(images)."
                )
        for index, prior in enumerate(self.priors[1:], 1):
            expected = tokenizer.condition_shapes[index]
            if prior.condition_shape != expected:
                raise ValueError(
                    f"Generator got a prior with condition_shape={prior.condition_shape}; expected "
                    f"{expected}, that of the tokenizer's condition_map."
                )
        self.grid_shape = tokenizer.grid_shape
        self.num_classes = self.priors[0].num_classes
        self.condition_shape = self.priors[0].condition_shape
        self.condition_kind = self.priors[0].condition_kind
        self.built = True

    @property
    def num_levels(self) -> int:
        return self.tokenizer.num_levels

    def chain(self) -> list[Prior]:
        return list(self.priors)

    def sample_parts(self, num_samples: int, condition: Any = None, **options: Any) -> dict[str, np.ndarray]:
        """The expected images of drawn codes as "values", beside the "codes" (of several grids "codes_0", …).

        Raises:
            ValueError: for arguments of the wrong shape, type or range.
        """
        codes = self.sample_codes(num_samples, condition, **options)
        grids = self.tokenizer.grids_of(codes)
        names = ["codes"] if len(grids) == 1 else [f"codes_{index}" for index in range(len(grids))]
        values = as_levels(self.tokenizer.decode(codes))
        return {"values": values, **dict(zip(names, grids, strict=True))}

    def sample_codes(
        self, num_samples: int, condition: Any = None, seed: int | None = None, **options: Any
    ) -> Any:
        """Draws the codes (num_samples, h, w, G) int32, or a list of them; arguments as in `sample`.

        Of several priors `guidance` is for those that were trained with condition_dropout.
        """
        return self._draw(num_samples, condition, seed, **options)

    def complete(
        self, images: Any, mask: Any, condition: Any = None, seed: int | None = None, **options: Any
    ) -> np.ndarray:
        """Draws what is hidden of images (N, H, W, C): mask (H, W) or (N, H, W), True where hidden.

        A code is drawn where it stands for a hidden pixel. The encoder sees the hidden pixels as the mean of
        those that are known, and codes near the border may tell of that; what is known stays as it is.

        Raises:
            ValueError: for arguments of the wrong shape, type or range.
        """
        images = as_array(images)
        count = num_to_complete(images, mask)
        levels = self.tokenizer.distribution.num_levels
        known, hidden = check_completion(images, mask, count, self.tokenizer.image_shape, levels)
        assert known is not None
        assert hidden is not None
        grids = self.grids_of(mean_filled(known, hidden))
        observed = [{"observed": grid, "mask": coarsened(hidden, grid.shape[1:3])} for grid in grids]
        codes = self._draw(len(images), condition, seed, observed, **options)
        drawn = as_levels(self.tokenizer.decode(codes))
        return np.where(hidden[..., None], drawn, known)

    def log_prob_batch(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """A lower bound of the log-likelihood in nats: (B, H, W, C) → (B,).

        log p(codes) + log p(image | codes), of the codes that the encoder chooses: one term of the sum over
        all codes. Of masked priors log p(codes) is a bound too.
        """
        return sum(ops.sum(nats, axis=(1, 2)) for nats in self._nats(images, condition))

    def pixel_log_prob_batch(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """What each pixel has of the bound, in nats: (B, H, W, C) → (B, H, W).

        log p(pixel | codes), and the log p of each code spread evenly over the pixels that it stands for.
        """
        height, width, _ = self.grid_shape
        return sum(over_pixels(nats, height, width) for nats in self._nats(images, condition))

    def _nats(self, images: Tensor, condition: Tensor | None) -> list[Tensor]:
        """log p of the pixels given their codes (B, H, W), then of the codes of each grid (B, h, w)."""
        codes = self.tokenizer.encode_batch(images)
        grids = self.tokenizer.grids_of(codes)
        return [
            self.tokenizer.distribution.log_prob(self.tokenizer.params(codes), images),
            *(
                prior.pixel_log_prob_batch(grid, self.condition_of(grids[:index], condition))
                for index, (prior, grid) in enumerate(zip(self.priors, grids, strict=True))
            ),
        ]

    def check_inputs(self, values: Any, condition: Any = None) -> None:
        self.tokenizer.check_inputs(values)
        check_condition(condition, self.condition_kind, values.shape[0])

    def grids_of(self, images: Any) -> list[Any]:
        return self.tokenizer.grids_of(self.tokenizer.encode(images))

    def condition_of(self, coarser: list[Tensor], condition: Tensor | None) -> Tensor | None:
        """The condition of the prior that comes after these codes: `condition` itself for the first one."""
        return self.tokenizer.condition_map(coarser[-1]) if coarser else condition

    def for_sampling(self) -> "Generator":
        """A generator of the same weights, in float32, that samples faster."""
        priors = [prior.for_sampling() for prior in self.priors]
        return Generator(in_float32(self.tokenizer), priors, dtype="float32")

    def _draw(
        self,
        num_samples: int,
        condition: Any,
        seed: int | None,
        observed: Sequence[dict[str, np.ndarray]] | None = None,
        **options: Any,
    ) -> Any:
        """Codes drawn grid by grid, coarse to fine; `observed` says what is known of each."""
        of_all = checked_seed(seed)
        codes: list[np.ndarray] = []
        some_are_guided = any(prior.condition_dropout for prior in self.priors)
        for index, prior in enumerate(self.priors):
            its_condition = self.condition_of(codes, condition)
            known: dict[str, Any] = observed[index] if observed else {}
            its_own = {**options, **known, "seed": of_all._replace(grid=index)}
            if options.get("top_k") is not None:  # more than a smaller codebook has is all that it has
                its_own["top_k"] = np.minimum(options["top_k"], prior.num_levels)
            if some_are_guided and not prior.condition_dropout:
                its_own["guidance"] = None
            codes.append(sampling.sample(prior, num_samples, its_condition, **its_own))
        return self.tokenizer.codes_of(codes)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "tokenizer": serialize(self.tokenizer),
            "priors": [serialize(prior) for prior in self.priors],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Generator":
        load = keras.saving.deserialize_keras_object
        parts = {
            "tokenizer": load(config["tokenizer"], custom_objects),
            "priors": [load(prior, custom_objects) for prior in config["priors"]],
        }
        return cls(**{**config, **parts})


def over_pixels(nats: Tensor, height: int, width: int) -> Tensor:
    """What each cell holds shared evenly among the pixels that it stands for: (B, h, w) → (B, H, W)."""
    rows, columns = height // nats.shape[1], width // nats.shape[2]
    return ops.repeat(ops.repeat(nats / (rows * columns), rows, axis=1), columns, axis=2)
