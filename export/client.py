"""Sampling a bundle with numpy and ONNX Runtime alone: no Keras, no TensorFlow.

images = OnnxSampler("my_prior").sample(16, seed=0)          # (16, H, W, C) int32
images = OnnxGenerator("my_generator").sample(16, seed=0)    # of a bundle with a tokenizer
"""

from pathlib import Path

from tfprior.export.manifest_file import load_manifest
from tfprior.export.onnx_generator import OnnxGenerator
from tfprior.export.onnx_sampler import OnnxSampler

__all__ = ["OnnxGenerator", "OnnxSampler", "open_bundle"]


def open_bundle(path: str | Path, threads: int | None = None) -> OnnxSampler | OnnxGenerator:
    """What draws the images of a bundle, be they those of its prior or of codes through its tokenizer.

    Raises:
        BundleError: for a bundle that is missing, damaged, newer, or without ONNX functions.
    """
    kind = OnnxSampler if load_manifest(path).images is None else OnnxGenerator
    return kind(path, threads)
