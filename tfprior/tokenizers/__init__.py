"""Tokenizers: images into grids of codes, and back."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"base": ["Tokenizer"], "vq_vae": ["VQVAE"], "vq_vae_2": ["VQVAE2"]},
)
