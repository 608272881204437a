"""Sampling a bundle with numpy and ONNX Runtime alone: no Keras, no TensorFlow.

images = OnnxSampler("my_prior").sample(16, seed=0)          # (16, H, W, C) int32
images = OnnxGenerator("my_generator").sample(16, seed=0)    # of a bundle with a tokenizer
"""

from tfprior.export.onnx_generator import OnnxGenerator
from tfprior.export.onnx_sampler import OnnxSampler

__all__ = ["OnnxGenerator", "OnnxSampler"]
