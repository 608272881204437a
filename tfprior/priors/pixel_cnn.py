"""PixelCNN (van den Oord et al. 2016, "Pixel Recurrent Neural Networks", arXiv:1601.06759).

Shapes: B batch · H W C grid · E encoded channels · F filters · P parameters of a pixel.
"""

from typing import Any

import keras
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.inputs import check_sizes
from tfprior.layers.masked_conv import MaskedConv2D
from tfprior.layers.masked_dense import MaskedDense
from tfprior.layers.residual import ResidualBlock
from tfprior.layers.slices import in_parts
from tfprior.layers.streaming import Apply, State, Stream, over_image, present, where
from tfprior.priors.raster import RasterPrior


@keras.saving.register_keras_serializable("tfprior")
class PixelCNN(RasterPrior):
    """One stack of masked convolutions: 7×7 mask A, residual blocks with 3×3 mask B, two 1×1 layers.

    Stacked 3×3 masks never reach part of the rows above to the right: the blind spot that `GatedPixelCNN`
    was made to remove.

    Args:
        grid_shape: (H, W, C) of the values.
        distribution: the output distribution.
        filters: features between the blocks, F (2h in the paper).
        num_layers: residual blocks.
        kernel_size: height and width of the kernels in the blocks.
        first_kernel_size: height and width of the first layer's kernel.
        dropout: rate of dropout inside the blocks.
        num_classes: for class labels (B,) as the condition.
        condition_shape: (D,) for vectors, (H, W, D) for spatial maps as the condition.
        value_embedding_dim: size of a learned embedding of each value, for codes; None reads values as
            scaled numbers.
        class_embedding_dim: size of the class embedding.
        condition_dropout: share of training examples that lose their condition, for `guidance` in sampling.

    Raises:
        ValueError: for options out of range, or filters that do not split into the channels' groups.
    """

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        filters: int = 128,
        num_layers: int = 12,
        kernel_size: int = 3,
        first_kernel_size: int = 7,
        dropout: float = 0.0,
        num_classes: int | None = None,
        condition_shape: tuple[int, ...] | None = None,
        value_embedding_dim: int | None = None,
        class_embedding_dim: int = 64,
        condition_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            grid_shape,
            distribution,
            num_classes,
            condition_shape,
            value_embedding_dim,
            class_embedding_dim,
            condition_dropout=condition_dropout,
            **kwargs,
        )
        check_sizes("PixelCNN", filters=filters)
        check_sizes("PixelCNN", least=0, num_layers=num_layers)
        self.filters = filters
        self.num_layers = num_layers
        self.kernel_size = kernel_size
        self.first_kernel_size = first_kernel_size
        self.dropout = dropout
        groups, dtype = self.channel_groups, self.dtype_policy
        self.first = MaskedConv2D(filters, first_kernel_size, "A", groups, name="first", dtype=dtype)
        self.blocks = [
            ResidualBlock(filters, kernel_size, groups, dropout, name=f"block_{index}", dtype=dtype)
            for index in range(num_layers)
        ]
        self.condition_link = keras.layers.Dense(self.num_features, use_bias=False, dtype=dtype)
        self.hidden = MaskedDense(filters, "B", groups, dtype=dtype)
        self.head = MaskedDense(distribution.num_params(self.grid_shape[-1]), "B", groups, dtype=dtype)
        self.build()

    def build_network(self, features: int, condition: tuple[Any, ...] | None) -> None:
        inner = (None, *self.grid_shape[:2], self.filters)
        self.first.build((*inner[:-1], features))
        for block in self.blocks:
            block.build(inner)
        if condition is not None:
            self.condition_link.build(condition)
        self.hidden.build(inner)
        self.head.build(inner)

    def network(self, x: Tensor, links: list[Tensor], apply: Apply, training: bool = False) -> Tensor:
        """Encoded values (…, E), and what joins each masked convolution → features (…, F)."""
        h = apply(self.first, x) + links[0]
        for block, link in zip(self.blocks, links[1:], strict=True):
            h = block.run(h, link, apply, training)
        return h

    def output(self, h: Tensor) -> Tensor:
        """Features (…, F) → parameters (…, P)."""
        return self.head(ops.relu(self.hidden(ops.relu(h))))

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        values, condition = self.unpack(inputs)
        links = self.condition_links(self.encode_condition(condition))
        return self.output(self.network(self.encode(values), links, over_image, training))

    def condition_links(self, condition: Tensor | None) -> list[Tensor]:
        """What the condition's features (…, D) add to each masked convolution; zeros without a condition."""
        if condition is None:
            return [0.0] * len(self.masked_convs)
        return self._split(self.condition_link(condition))

    def row(
        self, state: State, finished: Tensor, condition: Tensor | None, y: Tensor
    ) -> tuple[State, Tensor]:
        finished_links = self.condition_links(self.condition_row(condition, ops.maximum(y - 1, 0)))
        stream = Stream(state, "row_step")
        self.network(self.encode(finished), finished_links, stream)
        # Above the image there is padding, not what the network makes of padding.
        state = where(y > 0, stream.after, state)
        links = self.condition_links(self.condition_row(condition, y))
        above = [layer.above(state[layer.name]) for layer in self.masked_convs]
        return state, ops.concatenate([a + link for a, link in zip(above, links, strict=True)], axis=2)

    def pixel(self, state: State, features: Tensor, values: Tensor, position: Tensor) -> tuple[Tensor, State]:
        stream = Stream(state, "pixel_step")
        return self.output(self.network(self.encode(values), self._split(features), stream)), stream.after

    def row_params(self, state: State, features: Tensor, values: Tensor, y: Tensor) -> Tensor:
        return self.output(self.network(self.encode(values), self._split(features), Stream({}, "own_row")))

    def row_spec(self) -> State:
        return {layer.name: layer.row_spec(self.grid_shape[1]) for layer in self.masked_convs}

    def pixel_spec(self) -> State:
        return present({layer.name: layer.pixel_spec() for layer in self.masked_convs})

    @property
    def masked_convs(self) -> list[MaskedConv2D]:
        return [self.first, *(block.conv for block in self.blocks)]

    @property
    def num_features(self) -> int:
        return sum(layer.filters for layer in self.masked_convs)

    def _split(self, features: Tensor) -> list[Tensor]:
        filters = (layer.filters for layer in self.masked_convs)
        return in_parts(features, filters, axis=len(features.shape) - 1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "num_layers": self.num_layers,
            "kernel_size": self.kernel_size,
            "first_kernel_size": self.first_kernel_size,
            "dropout": self.dropout,
        }
