"""Pictures: pixel-exact sheets of images, and charts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "codebook_usage": ["save_codebook_usage"],
        "curve": ["save_curve"],
        "heat_map": ["save_heat_maps"],
        "sheets": ["save_completions", "save_grid", "save_masked", "save_reconstructions"],
    },
)
