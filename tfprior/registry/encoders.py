"""Encoders from words and numbers."""

import dataclasses
from typing import Any, Literal

SMALLEST = {"vit": "tiny_16", "swin": "tiny"}


@dataclasses.dataclass(frozen=True)
class EncoderSizes:
    """Which encoder is trained; what is left out is that of the sizes.

    Args:
        encoder: the network.
        sizes: that papers name: of a ViT tiny_16, small_16, base_16, large_16 and others, of a Swin tiny,
            small, base and large; the smallest ones when left out.
        patch_size: side of a patch in pixels.
        hidden_dim: features; of a Swin those of the first stage.
        num_layers: blocks; of a Swin those of each stage.
        num_heads: heads of attention; of a Swin those of the first stage, twice as many in each that follows.
        num_stages: of a Swin; the first ones of its sizes.
        window_size: side of a Swin's window.
        positions: of a ViT; MAE has sin_cos.
        stochastic_depth: rate at which the last block's parts are left out in training; fewer before it.
    """

    encoder: Literal["vit", "swin"] = "vit"
    sizes: str | None = None
    patch_size: int | None = None
    hidden_dim: int | None = None
    num_layers: int | None = None
    num_heads: int | None = None
    num_stages: int | None = None
    window_size: int | None = None
    positions: Literal["learned", "sin_cos"] = "sin_cos"
    stochastic_depth: float = 0.0

    def build(self, image_shape: tuple[int, int, int], dtype: Any = None) -> Any:
        """The encoder for images of this shape, with weights that are random.

        Raises:
            ValueError: for unknown sizes, options of the other network, and images that do not divide.
        """
        from tfprior.encoders import Swin, ViT

        if self.encoder not in SMALLEST:
            raise ValueError(f"encoder={self.encoder!r}; expected one of {', '.join(SMALLEST)}.")
        kind = {"vit": ViT, "swin": Swin}[self.encoder]
        sizes = SMALLEST[self.encoder] if self.sizes is None else self.sizes
        return kind.from_preset(sizes, **self._options(sizes), image_shape=image_shape, dtype=dtype)

    def _options(self, sizes: str) -> dict[str, Any]:
        options = {
            name: getattr(self, name)
            for name in ("patch_size", "hidden_dim", "num_layers", "num_heads", "window_size")
            if getattr(self, name) is not None
        }
        options["stochastic_depth"] = self.stochastic_depth
        if self.encoder == "vit":
            for name in ("num_stages", "window_size"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}={getattr(self, name)} of a ViT, which has none: leave it out.")
            return {**options, "positions": self.positions}
        from tfprior.encoders import Swin

        of_sizes = Swin.PRESETS.get(sizes, {"num_layers": (), "num_heads": ()})
        stages = len(of_sizes["num_layers"]) if self.num_stages is None else self.num_stages
        layers, heads = of_sizes["num_layers"][:stages], of_sizes["num_heads"][:stages]
        if self.num_layers is not None:
            layers = (self.num_layers,) * stages
        if self.num_heads is not None:
            heads = tuple(self.num_heads * 2**stage for stage in range(stages))
        return {**options, "num_layers": layers, "num_heads": heads}
