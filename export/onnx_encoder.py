"""The encoder of a bundle by NumPy and ONNX Runtime alone.

Shapes: N images · H W C image · F features of D numbers each, those of class tokens first · K classes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from tfprior.export.arrays import Arrays
from tfprior.export.checks import BundleError
from tfprior.export.encoder_description import CLASSIFY, FEATURES, PIXELS, RECONSTRUCT, as_pixels
from tfprior.export.onnx_functions import OnnxFunctions


class OnnxEncoder:
    """Features of images, of a classifier's bundle their classes, of a masked image model's their
    reconstructions.

    Images are float32, as `encoder.input` of the manifest says; uint8 ones become pixels in [0, 1] where the
    bundle takes such.

    Args:
        path: the bundle.
        threads: how many cores share a batch; all of them when left out.

    Attributes:
        manifest: the bundle's manifest.
        encoder: what it says of the encoder.
        class_names: of what `classify` tells apart; none where the bundle has none.

    Raises:
        BundleError: for a bundle that is missing, damaged, newer, or without an encoder or ONNX functions.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.functions = OnnxFunctions(path, threads or 0)
        self.manifest = self.functions.manifest
        if self.manifest.encoder is None:
            raise BundleError(f"The bundle {path} holds no encoder: open it with tfprior.export.client.")
        self.encoder = self.manifest.encoder
        self.class_names = self.manifest.class_names
        self.functions.check_file(FEATURES)

    def features(self, images: Any, batch_size: int = 64) -> np.ndarray:
        """Images (N, H, W, C) → features (N, F, D).

        Raises:
            ValueError: for images of another shape or type.
        """
        return self._run(FEATURES, "features", images, batch_size)

    def classify(self, images: Any, batch_size: int = 64) -> np.ndarray:
        """Images (N, H, W, C) → logits (N, K).

        Raises:
            ValueError: for images of another shape or type, and an encoder without classes.
        """
        if self.encoder.num_classes is None:
            raise ValueError(
                f"The bundle {self.functions.path} holds an encoder without classes; expected a Classifier's."
            )
        return self._run(CLASSIFY, "logits", images, batch_size)

    def reconstruct(self, images: Any, noise: Any, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Images (N, H, W, C) and noise (N, U) → what is visible of them, and that with the rest predicted.

        Raises:
            ValueError: for images or noise of another shape or type, and a bundle that reconstructs nothing.
        """
        units = self.encoder.num_units
        if units is None:
            raise ValueError(
                f"The bundle {self.functions.path} reconstructs nothing; expected one of a masked "
                "image model, such as an MAE."
            )
        images, noise = self._checked(np.asarray(images)), np.asarray(noise)
        if noise.dtype.kind != "f" or noise.shape != (len(images), units):
            raise ValueError(
                f"Got noise as {noise.dtype} {noise.shape}; expected floats {(len(images), units)}."
            )
        made = self._in_batches(RECONSTRUCT, {"images": images, "noise": noise.astype("float32")}, batch_size)
        return made["masked"], made["reconstruction"]

    def _run(self, function: str, output: str, images: Any, batch_size: int) -> np.ndarray:
        return self._in_batches(function, {"images": self._checked(np.asarray(images))}, batch_size)[output]

    def _in_batches(self, function: str, arrays: Arrays, batch_size: int) -> Arrays:
        starts = range(0, len(arrays["images"]), batch_size)
        rows = [
            {name: array[start : start + batch_size] for name, array in arrays.items()} for start in starts
        ]
        made = [self.functions.run(function, part) for part in rows]
        return {name: np.concatenate([part[name] for part in made]) for name in made[0]}

    def _checked(self, images: np.ndarray) -> np.ndarray:
        takes, shape = self.encoder.input, self.encoder.image_shape
        are_bytes = images.dtype == np.uint8 and takes == PIXELS
        if not (are_bytes or images.dtype.kind == "f") or images.shape[1:] != shape or not len(images):
            also = ", or uint8" if takes == PIXELS else ""
            raise ValueError(
                f"Got images as {images.dtype} {images.shape}; expected {takes}{also}, of shape "
                f"(N, {', '.join(map(str, shape))})."
            )
        return as_pixels(images) if are_bytes else images.astype("float32", copy=False)
