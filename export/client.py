"""Running a bundle with numpy and ONNX Runtime alone: no Keras, no TensorFlow.

images = OnnxSampler("my_prior").sample(16, seed=0)          # (16, H, W, C) int32
images = OnnxGenerator("my_generator").sample(16, seed=0)    # of a bundle with a tokenizer
features = OnnxEncoder("my_encoder").features(images)        # (N, F, D) float32
"""

from pathlib import Path

from tfprior.export.checks import BundleError
from tfprior.export.manifest_file import load_manifest
from tfprior.export.onnx_encoder import OnnxEncoder
from tfprior.export.onnx_generator import OnnxGenerator
from tfprior.export.onnx_sampler import OnnxSampler
from tfprior.export.tf_serving import ServingGenerator, ServingSampler

__all__ = [
    "OnnxEncoder",
    "OnnxGenerator",
    "OnnxSampler",
    "ServingGenerator",
    "ServingSampler",
    "open_bundle",
]


def open_bundle(path: str | Path, threads: int | None = None) -> OnnxSampler | OnnxGenerator:
    """What draws the images of a bundle, be they those of its prior or of codes through its tokenizer.

    Raises:
        BundleError: for a bundle that is missing, damaged, newer, without ONNX functions, or an encoder's.
    """
    manifest = load_manifest(path)
    if manifest.encoder is not None:
        raise BundleError(
            f"The bundle {path} holds an encoder, which draws nothing: open it with OnnxEncoder."
        )
    kind = OnnxSampler if manifest.images is None else OnnxGenerator
    return kind(path, threads)
