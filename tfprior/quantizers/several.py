"""What a product and a sequence of quantizers share."""

import abc
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfprior.quantizers.base import Quantized, Quantizer, serialized


class SeveralQuantizers(Quantizer, abc.ABC):
    """Quantizers of equally many codes, each of which gives its own codes of a vector.

    Args:
        quantizers: of tfprior.layers.

    Raises:
        ValueError: for none, or different codebook sizes.
    """

    def __init__(self, quantizers: Sequence[Quantizer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        quantizers = [_from_config(quantizer) for quantizer in quantizers]
        name = type(self).__name__
        if not quantizers or not all(isinstance(each, Quantizer) for each in quantizers):
            raise ValueError(f"{name} got quantizers={quantizers}; expected one or more of tfprior.layers.")
        if len({id(each) for each in quantizers}) < len(quantizers):
            raise ValueError(f"{name} got a quantizer twice; expected one object for each part.")
        sizes = [each.codebook_size for each in quantizers]
        if len(set(sizes)) > 1:
            raise ValueError(f"{name} got quantizers of {sizes} codes; expected as many in each.")
        self.quantizers = quantizers
        self.use_policy(self.dtype_policy)
        self.codebook_size = sizes[0]
        self.num_codes = sum(each.num_codes for each in quantizers)
        self.needs_data = any(each.needs_data for each in quantizers)

    def use_policy(self, policy: Any) -> None:
        super().use_policy(policy)
        for quantizer in self.quantizers:
            quantizer.use_policy(policy)

    def build_each(self, shapes: Sequence[tuple[Any, ...]]) -> None:
        """Builds the quantizers that are not built yet for inputs of these shapes."""
        for quantizer, shape in zip(self.quantizers, shapes, strict=True):
            if not quantizer.built:
                quantizer.build(shape)

    def update(self, statistics: dict[str, Any]) -> None:
        for index, quantizer in enumerate(self.quantizers):
            quantizer.update(statistics[f"quantizer_{index}"])

    def joined(self, quantized: Any, parts: list[Quantized]) -> Quantized:
        """What the quantizers gave, as one: their codes side by side, their losses averaged."""
        statistics = {f"quantizer_{index}": part.statistics for index, part in enumerate(parts)}
        counts = ops.concatenate([part.statistics["counts"] for part in parts], axis=0)
        return Quantized(
            quantized,
            ops.concatenate([part.codes for part in parts], axis=-1),
            sum(part.loss for part in parts) / len(parts),
            {**statistics, "counts": counts},
        )

    def codes_of_each(self, codes: Any) -> list[Any]:
        """Codes (…, G) → those of each quantizer."""
        parts, first = [], 0
        for quantizer in self.quantizers:
            parts.append(codes[..., first : first + quantizer.num_codes])
            first += quantizer.num_codes
        return parts

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantizers": [serialized(each) for each in self.quantizers]}


def _from_config(quantizer: Any) -> Any:
    return keras.saving.deserialize_keras_object(quantizer) if isinstance(quantizer, dict) else quantizer
