"""Quantizers made of others, each of which gives its own codes of a vector."""

import abc
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfprior.quantizers.base import Quantized, Quantizer, serialize_part


class CompositeQuantizer(Quantizer, abc.ABC):
    """Several quantizers of equally many codes; `initialize` sets those that need it.

    Args:
        quantizers: of tfprior.quantizers.

    Raises:
        ValueError: for none, or different codebook sizes.
    """

    def __init__(self, quantizers: Sequence[Quantizer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        parts = [_from_config(each) for each in quantizers] if isinstance(quantizers, list | tuple) else []
        if not parts or not all(isinstance(each, Quantizer) for each in parts):
            raise ValueError(
                f"{name} got quantizers={quantizers!r}; expected a list of one or more of tfprior.quantizers."
            )
        if len({id(each) for each in parts}) < len(parts):
            raise ValueError(f"{name} got a quantizer twice; expected one object for each part.")
        sizes = [each.codebook_size for each in parts]
        if len(set(sizes)) > 1:
            raise ValueError(f"{name} got quantizers of {sizes} codes; expected as many in each.")
        self.quantizers = parts
        self.codebook_size = sizes[0]
        self.num_codes = sum(each.num_codes for each in parts)
        for each in parts:
            each.become_part_of(self)

    def become_part_of(self, owner: keras.layers.Layer) -> None:
        super().become_part_of(owner)
        for quantizer in self.quantizers:
            quantizer.become_part_of(self)

    @property
    def needs_initialization(self) -> bool:
        return any(quantizer.needs_initialization for quantizer in self.quantizers)

    @property
    def adds_up_inside(self) -> bool:
        return any(quantizer.adds_up_inside for quantizer in self.quantizers)

    def noise_of_batch(self) -> list[Any]:
        return [noise for quantizer in self.quantizers for noise in quantizer.noise_of_batch()]

    def build_parts(self, shapes: Sequence[tuple[Any, ...]]) -> None:
        """Builds the quantizers that are not built yet for inputs of these shapes."""
        for quantizer, shape in zip(self.quantizers, shapes, strict=True):
            if not quantizer.built:
                quantizer.build(shape)

    def follow(self, statistics: dict[str, Any]) -> None:
        for index, quantizer in enumerate(self.quantizers):
            quantizer.update(statistics[f"quantizer_{index}"])

    def join(self, quantized: Any, results: list[Quantized]) -> Quantized:
        """What the quantizers gave, as one: their codes side by side, their losses averaged."""
        statistics = {f"quantizer_{index}": result.statistics for index, result in enumerate(results)}
        counts = ops.concatenate([result.statistics["counts"] for result in results], axis=0)
        return Quantized(
            quantized,
            ops.concatenate([result.codes for result in results], axis=-1),
            sum(result.loss for result in results) / len(results),
            {**statistics, "counts": counts},
        )

    def split_codes(self, codes: Any) -> list[Any]:
        """Codes (…, G) → those of each quantizer."""
        parts, first = [], 0
        for quantizer in self.quantizers:
            parts.append(codes[..., first : first + quantizer.num_codes])
            first += quantizer.num_codes
        return parts

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantizers": [serialize_part(each) for each in self.quantizers]}


def _from_config(quantizer: Any) -> Any:
    return keras.saving.deserialize_keras_object(quantizer) if isinstance(quantizer, dict) else quantizer
