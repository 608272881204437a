"""Tokenizers: images into grids of codes, and back.

One import registers all of them with Keras, so that a file of one can be loaded.
"""

from tfprior.tokenizers.base import Tokenizer
from tfprior.tokenizers.vq_vae import VQVAE
from tfprior.tokenizers.vq_vae_2 import VQVAE2

__all__ = ["VQVAE", "VQVAE2", "Tokenizer"]
