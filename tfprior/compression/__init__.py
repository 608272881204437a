"""Lossless compression: images in as many bits as the model's likelihood says."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "batches": ["Contents"],
        "container": ["Header", "read_header"],
        "lossless": ["compress", "decompress"],
    },
)
