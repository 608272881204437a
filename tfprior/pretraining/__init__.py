"""Masked image modelling: encoders that learn from images alone, by what is hidden of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["MaskedImageModel"],
        "greenmim": ["GreenMIM"],
        "mae": ["MAE"],
        "simmim": ["SimMIM"],
    },
)
