"""Gated PixelCNN (van den Oord et al. 2016, arXiv:1606.05328).

Shapes: B batch · H W C grid · E encoded channels · F filters · P parameters of a pixel.
"""

from typing import Any

import keras
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.inputs import check_sizes
from tfprior.layers.gated import GatedBlock, concatenate_groups
from tfprior.layers.masked_dense import MaskedDense
from tfprior.layers.streaming import Apply, State, Stream, over_image, present
from tfprior.priors.raster import RasterPrior


@keras.saving.register_keras_serializable("tfprior")
class GatedPixelCNN(RasterPrior):
    """Two stacks of gated convolutions without a blind spot: one sees the rows above, one the pixels left.

        values ── vertical:    A k×k ── B 3×3 ── … ── B 3×3
             │                   │        │             │       links (1×1)
             └─── horizontal:  A 1×k ── B 1×3 ── … ── B 1×3 ──┐
                                 └────────┴────────────┴─ 1×1 ─+─ relu ─ 1×1 ─ relu ─ 1×1 ─ parameters

    Args:
        grid_shape: (H, W, C) of the values.
        distribution: the output distribution.
        filters: features of each stack, F.
        num_layers: gated blocks, the first one (type A) included.
        kernel_size: height and width of the kernels after the first block.
        first_kernel_size: height and width of the first block's kernels.
        dropout: rate of dropout on the gated features of the horizontal stack.
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
        filters: int = 64,
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
        check_sizes("GatedPixelCNN", filters=filters, num_layers=num_layers)
        self.filters = filters
        self.num_layers = num_layers
        self.kernel_size = kernel_size
        self.first_kernel_size = first_kernel_size
        self.dropout = dropout
        groups, dtype = self.channel_groups, self.dtype_policy
        self.blocks = [
            GatedBlock(
                filters,
                first_kernel_size if index == 0 else kernel_size,
                "A" if index == 0 else "B",
                groups,
                dropout,
                name=f"block_{index}",
                dtype=dtype,
            )
            for index in range(num_layers)
        ]
        self.skips = MaskedDense(filters, "B", groups, dtype=dtype)
        self.hidden = MaskedDense(filters, "B", groups, dtype=dtype)
        self.head = MaskedDense(distribution.num_params(self.grid_shape[-1]), "B", groups, dtype=dtype)
        self.build()

    def build_network(self, features: int, condition: tuple[Any, ...] | None) -> None:
        inner = (None, *self.grid_shape[:2], self.filters)
        x = (*inner[:-1], features)
        for index, block in enumerate(self.blocks):
            stacks = [x, x] if index == 0 else [inner, inner]
            block.build(stacks if condition is None else [*stacks, condition])
        self.skips.build((*inner[:-1], self.num_layers * self.filters))
        self.hidden.build(inner)
        self.head.build(inner)

    def vertical_stack(self, v: Tensor, condition: Tensor | None, apply: Apply) -> list[Tensor]:
        """Encoded values (…, E) → each block's link (…, 2F)."""
        links = []
        for block in self.blocks:
            v, link = block.vertical(v, condition, apply)
            links.append(link)
        return links

    def horizontal_stack(
        self, h: Tensor, links: list[Tensor], apply: Apply, training: bool = False
    ) -> Tensor:
        """Encoded values (…, E) and the links → parameters (…, P)."""
        skips = []
        for block, link in zip(self.blocks, links, strict=True):
            h, skip = block.horizontal(h, link, apply, training)
            skips.append(skip)
        h = h + self.skips(concatenate_groups(skips, self.channel_groups))
        return self.head(ops.relu(self.hidden(ops.relu(h))))

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        values, condition = self.unpack(inputs)
        x = self.encode(values)  # (B, H, W, E)
        links = self.vertical_stack(x, self.encode_condition(condition), over_image)
        return self.horizontal_stack(x, links, over_image, training)

    def row(
        self, state: State, finished: Tensor, condition: Tensor | None, y: Tensor
    ) -> tuple[State, Tensor]:
        stream = Stream(state, "row_step")
        links = self.vertical_stack(self.encode(finished), self.condition_row(condition, y), stream)
        return stream.after, ops.concatenate(links, axis=2)

    def pixel(self, state: State, features: Tensor, values: Tensor, position: Tensor) -> tuple[Tensor, State]:
        stream = Stream(state, "pixel_step")
        params = self.horizontal_stack(
            self.encode(values), ops.split(features, self.num_layers, axis=-1), stream
        )
        return params, stream.after

    def row_params(self, state: State, features: Tensor, values: Tensor, y: Tensor) -> Tensor:
        links = ops.split(features[:, None], self.num_layers, axis=-1)  # a row is an image one pixel high
        return self.horizontal_stack(self.encode(values[:, None]), links, over_image)[:, 0]

    def row_spec(self) -> State:
        convs = [block.rows_conv for block in self.blocks]
        return present({conv.name: conv.row_spec(self.grid_shape[1]) for conv in convs})

    def pixel_spec(self) -> State:
        convs = [block.columns_conv for block in self.blocks]
        return present({conv.name: conv.pixel_spec() for conv in convs})

    @property
    def num_features(self) -> int:
        return 2 * self.filters * self.num_layers

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "num_layers": self.num_layers,
            "kernel_size": self.kernel_size,
            "first_kernel_size": self.first_kernel_size,
            "dropout": self.dropout,
        }
