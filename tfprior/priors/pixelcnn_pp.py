"""PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517).

Shapes: B batch · H W C grid · E encoded channels · F filters · P parameters of a pixel.
"""

import weakref
from typing import Any

import keras
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.float32_copies import in_float32
from tfprior.inputs import check_sizes
from tfprior.layers.gated_resnet import Features, GatedResNet
from tfprior.layers.masked_dense import MaskedDense
from tfprior.layers.shifted_conv import ShiftedConv2D, moved_down, moved_right
from tfprior.layers.stage import Execution, Links, Stage
from tfprior.layers.streaming import Apply, over_image
from tfprior.layers.weight_norm import (
    WeightNormalized,
    WeightNormDense,
    copy_with_plain_kernels,
    initialize,
)
from tfprior.priors.condition_maps import pooled
from tfprior.priors.two_streams import TwoStreams


@keras.saving.register_keras_serializable("tfprior")
class PixelCNNPP(TwoStreams):
    """Two streams of shifted convolutions over three resolutions, with short-cuts.

        values ── 2×3 ── shift down ──────────────────── stages of the down stream
             │                                               │   1×1, block by block
             ├─── 1×3 ── shift down ──┐                      ▼
             └─── 2×1 ── shift right ─+── stages of the down-right stream ── elu ── 1×1 ── parameters

    The kernels are weight-normalized; `initialize`, which `fit` does by itself on a first batch (from arrays,
    examples from all over them), sets their scales and biases from data.

    Args:
        grid_shape: (H, W, C) of the values; H and W divisible by 2^(num_stages − 1).
        distribution: the output distribution, in the paper a `DiscretizedLogisticMixture`. Two more 1×1
            layers order the channels of a `Categorical`.
        filters: features of each stream, F.
        num_layers: gated blocks on the way down through a stage; one more on the way up where a stage has
            another below it.
        num_stages: resolutions, each half the one above.
        dropout: rate of dropout inside the blocks.
        num_classes: for class labels (B,) as the condition.
        condition_shape: (D,) for vectors, (H, W, D) for spatial maps as the condition.
        value_embedding_dim: size of a learned embedding of each value, for codes; None reads values as
            scaled numbers.
        class_embedding_dim: size of the class embedding.
        condition_dropout: share of training examples that lose their condition, for `guidance` in sampling.
        weight_norm: whether kernels are weight-normalized.

    Raises:
        ValueError: for options out of range, or a grid that does not halve as often as there are stages.
    """

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        filters: int = 160,
        num_layers: int = 5,
        num_stages: int = 3,
        dropout: float = 0.5,
        num_classes: int | None = None,
        condition_shape: tuple[int, ...] | None = None,
        value_embedding_dim: int | None = None,
        class_embedding_dim: int = 64,
        condition_dropout: float = 0.0,
        weight_norm: bool = True,
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
        height, width, channels = self.grid_shape
        check_sizes("PixelCNNPP", filters=filters, num_layers=num_layers, num_stages=num_stages)
        stride = 2 ** (num_stages - 1)
        if height % stride or width % stride:
            raise ValueError(
                f"PixelCNNPP got a grid of {height} × {width} for num_stages={num_stages}; expected height "
                f"and width divisible by {stride}: crop or pad the images, or use fewer stages."
            )
        self.filters = filters
        self.num_layers = num_layers
        self.num_stages = num_stages
        self.dropout = dropout
        self.weight_norm = weight_norm

        shared = {"weight_norm": weight_norm, "dtype": self.dtype_policy}
        stages = (filters, num_layers, num_stages, dropout, weight_norm)
        self.rows_above = ShiftedConv2D(filters, (2, 3), "down", name="rows_above", **shared)
        self.row_above = ShiftedConv2D(filters, (1, 3), "down", name="row_above", **shared)
        self.pixel_left = ShiftedConv2D(filters, (2, 1), "down_right", name="pixel_left", **shared)
        self.down = Stage("down", "down", *stages, dtype=self.dtype_policy)
        self.right = Stage("right", "down_right", *stages, dtype=self.dtype_policy)
        num_params = distribution.num_params(channels)
        if self.channel_groups == 1:
            self.head: Any = WeightNormDense(num_params, **shared)
        else:
            hidden = channels * filters
            self.hidden = WeightNormDense(hidden, **shared)
            self.channels_before = MaskedDense(hidden, "A", channels, use_bias=False, dtype=self.dtype_policy)
            self.head = MaskedDense(num_params, "B", channels, dtype=self.dtype_policy)
        self.build()

    def build_network(self, features: int, condition: tuple[Any, ...] | None) -> None:
        x, h = ((None, *self.grid_shape[:2], size) for size in (features, self.filters))
        for layer in (self.rows_above, self.row_above, self.pixel_left):
            layer.build(x)
        for stream in (self.down, self.right):
            stream.build(h, condition)
        if self.channel_groups > 1:
            self.hidden.build(h)
            self.channels_before.build(x)
            h = (*h[:-1], self.hidden.filters)
        self.head.build(h)
        self.pair_streams()

    # The whole image

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        return self.network(inputs, over_image, training)

    def network(self, inputs: Any, apply: Apply, training: bool = False) -> Tensor:
        """Values, with or without a condition → parameters (B, H, W, P); every layer run by `apply`."""
        values, condition = self.unpack(inputs)
        condition = self.encode_condition(condition)
        x = self.encode(values)  # (B, H, W, E)

        def join(block: GatedResNet, u: Features) -> Links:
            return block.links(None, pooled(condition, u.x.shape[1:3]), apply)

        def publish(block: GatedResNet, u: Features) -> Links:
            return self.partners[block.name].links(u, pooled(condition, u.x.shape[1:3]), apply)

        down = Execution(apply, join, publish, training)
        self.down.run(moved_down(apply, self.rows_above, x), down)
        h = moved_down(apply, self.row_above, x) + moved_right(apply, self.pixel_left, x)
        h = self.right.run(h, Execution(apply, lambda *_: down.links, training=training))
        return self.output(h, x, apply)

    def output(self, h: Tensor, x: Tensor, apply: Apply) -> Tensor:
        """Features (…, F), and the pixels' own encoded values (…, E) → parameters (…, P)."""
        if self.channel_groups == 1:
            return apply(self.head, ops.elu(h))
        return self.head(ops.elu(apply(self.hidden, ops.elu(h)) + self.channels_before(x)))

    def initialize(self, inputs: Any) -> None:
        """Sets the scales and biases of all layers so that their outputs over a batch are normalized.

        The batch is what `fit` takes: values, or a dict of values and condition.

        Raises:
            ValueError: for an empty batch, or one of the wrong shape, type or range.
        """
        self.network(self.checked_batch(inputs), initialize)

    @property
    def needs_initialization(self) -> bool:
        """Whether no bias has moved: neither from data, nor in training, nor by loading weights."""
        biases = (each.bias for each in self._flatten_layers() if isinstance(each, WeightNormalized))
        return not any(ops.convert_to_numpy(bias).any() for bias in biases)

    def without_weight_norm(self) -> "PixelCNNPP":
        """A copy with plain kernels, which computes the same with less work."""
        plain = type(self).from_config({**self.get_config(), "weight_norm": False})
        copy_with_plain_kernels(self, plain)
        return plain

    def for_sampling(self) -> "PixelCNNPP":
        """The copy with plain kernels, in float32, kept so that what was compiled for it serves again."""
        exact = in_float32(self)
        if not self.weight_norm:
            return exact
        if exact in _PLAIN:
            copy_with_plain_kernels(exact, _PLAIN[exact])
        else:
            _PLAIN[exact] = exact.without_weight_norm()
        return _PLAIN[exact]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "num_layers": self.num_layers,
            "num_stages": self.num_stages,
            "dropout": self.dropout,
            "weight_norm": self.weight_norm,
        }


_PLAIN: weakref.WeakKeyDictionary[PixelCNNPP, PixelCNNPP] = weakref.WeakKeyDictionary()
