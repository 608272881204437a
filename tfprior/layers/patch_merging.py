"""Half as many rows and columns, twice the features (Liu et al. 2021, arXiv:2103.14030).

Shapes: B batch · H W map · N = H · W tokens · M = ⌈H / 2⌉ · ⌈W / 2⌉ of them merged · D features.
"""

from typing import Any

import keras
from keras import ops

from tfprior.layers.pointwise_dense import PointwiseDense


@keras.saving.register_keras_serializable("tfprior")
class PatchMerging(keras.layers.Layer):
    """Each 2 × 2 tokens of a map side by side, normalized and projected: (B, N, D) → (B, M, 2D).

        0 2
        1 3   the order in which they stand; beyond the last row or column of an odd map are zeros

    Args:
        map_size: (H, W).
        epsilon: of the norm.
    """

    def __init__(self, map_size: tuple[int, int], epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.map_size = (map_size[0], map_size[1])
        self.epsilon = epsilon
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon, dtype=self.dtype_policy)

    @property
    def merged_size(self) -> tuple[int, int]:
        """(⌈H / 2⌉, ⌈W / 2⌉)."""
        return -(-self.map_size[0] // 2), -(-self.map_size[1] // 2)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        features, dtype = input_shape[-1], self.dtype_policy
        self.reduce = PointwiseDense(2 * features, use_bias=False, name="reduce", dtype=dtype)
        self.norm.build((None, None, 4 * features))
        self.reduce.build((None, None, 4 * features))
        self.built = True

    def call(self, x: Any) -> Any:
        (height, width), (down, across) = self.map_size, self.merged_size
        features = x.shape[-1]
        x = ops.reshape(x, (-1, height, width, features))
        if (height % 2) or (width % 2):
            x = ops.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
        x = ops.reshape(x, (-1, down, 2, across, 2, features))
        x = ops.transpose(x, (0, 1, 3, 4, 2, 5))
        return self.merge(ops.reshape(x, (-1, down * across, 4 * features)))

    def merge(self, neighbours: Any) -> Any:
        """Any tokens of the merged map, from four side by side: (B, T, 4D) → (B, T, 2D)."""
        return self.reduce(self.norm(neighbours))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        down, across = self.merged_size
        return input_shape[0], down * across, 2 * input_shape[-1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "map_size": self.map_size, "epsilon": self.epsilon}
