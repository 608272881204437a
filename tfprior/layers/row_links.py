"""What a row hands to its pixels, as one tensor.

Shapes: B batch · W width · R features in all.
"""

from typing import Any, NamedTuple

from keras import ops

from tfprior.layers.slices import in_parts


class RowLink(NamedTuple):
    """One part: a name, its number of features, and for how many pixels side by side it is the same."""

    name: str
    size: int
    span: int


class RowLinks:
    """Parts of which some are the same for several pixels: (B, W / span, size) each, (B, W, R) together."""

    def __init__(self, links: list[RowLink]) -> None:
        self.links = sorted(links, key=lambda link: link.span)
        self.num_features = sum(link.size for link in links)

    def spread(self, parts: dict[str, Any], width: int) -> Any:
        """Parts by name → what each of the pixels gets (B, W, R)."""
        spread = []
        for span in sorted({link.span for link in self.links}):
            alike = [parts[link.name] for link in self.links if link.span == span]
            part = ops.concatenate(alike, axis=2)
            repeated = ops.concatenate([part[:, :, None]] * span, axis=2)
            spread.append(ops.reshape(repeated, (-1, width, part.shape[2])))
        return ops.concatenate(spread, axis=2)

    def of_pixel(self, features: Any) -> dict[str, Any]:
        """A pixel's features (B, R) → its parts by name."""
        parts = in_parts(features, (link.size for link in self.links), axis=1)
        return {link.name: part for link, part in zip(self.links, parts, strict=True)}
