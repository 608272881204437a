"""Images cut into patches (Dosovitskiy et al. 2020, "An Image Is Worth 16x16 Words", arXiv:2010.11929).

Shapes: B batch · H W C image · p side of a patch · h w = H / p, W / p · N = h · w patches · D features.
"""

from typing import Any

import keras
from keras import ops

from tfprior.inputs import check_sizes
from tfprior.layers.pointwise_dense import PointwiseDense


@keras.saving.register_keras_serializable("tfprior")
class PatchEmbedding(keras.layers.Layer):
    """Patches of images as tokens: (B, H, W, C) → (B, N, D), in raster order.

    Args:
        patch_size: p, the side of a patch.
        hidden_dim: D.

    Raises:
        ValueError: for images that do not divide into patches.
    """

    def __init__(self, patch_size: int, hidden_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_sizes(type(self).__name__, patch_size=patch_size, hidden_dim=hidden_dim)
        self.patch_size = patch_size
        self.hidden_dim = hidden_dim
        self.project = PointwiseDense(hidden_dim, name="project", dtype=self.dtype_policy)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        map_size(input_shape[1:3], self.patch_size)
        self.project.build((None, None, self.patch_size**2 * input_shape[-1]))
        self.built = True

    def call(self, images: Any) -> Any:
        return self.project(patches_of(images, self.patch_size))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        height, width = map_size(input_shape[1:3], self.patch_size)
        return input_shape[0], height * width, self.hidden_dim

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "patch_size": self.patch_size, "hidden_dim": self.hidden_dim}


def map_size(image_size: Any, patch_size: int) -> tuple[int, int]:
    """(H, W) → (h, w).

    Raises:
        ValueError: unless the patches fill the image.
    """
    height, width = image_size
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"Got images of {height} × {width} for patches of {patch_size} × {patch_size}; expected height "
            "and width divisible by the patch: crop, pad or resize the images."
        )
    return height // patch_size, width // patch_size


def patches_of(images: Any, patch_size: int) -> Any:
    """(B, H, W, C) → (B, N, p · p · C): a patch's rows one after the other."""
    height, width = map_size(images.shape[1:3], patch_size)
    channels = images.shape[-1]
    x = ops.reshape(images, (-1, height, patch_size, width, patch_size, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, h, w, p, p, C)
    return ops.reshape(x, (-1, height * width, patch_size * patch_size * channels))


def images_of(patches: Any, patch_size: int, size: tuple[int, int]) -> Any:
    """(B, N, p · p · C) → (B, H, W, C), of patches that stand h × w."""
    height, width = size
    channels = patches.shape[-1] // patch_size**2
    x = ops.reshape(patches, (-1, height, width, patch_size, patch_size, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (B, h, p, w, p, C)
    return ops.reshape(x, (-1, height * patch_size, width * patch_size, channels))
