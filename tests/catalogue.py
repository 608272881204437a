"""One catalogue of every public layer, distribution and prior: how to build it and what to feed it.

Shapes: B batch · H W C grid. H ≠ W everywhere, and `randomise` gives every bias a value: zeros hide leaks.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from tfprior import distributions, encoders, layers, pretraining, priors, quantizers, tokenizers
from tfprior.distributions import Categorical, DiscretizedLogistic, DiscretizedLogisticMixture, Gaussian
from tfprior.priors import (
    AnyOrderTransformer,
    CausalTransformer,
    EncoderDecoderTransformer,
    GatedPixelCNN,
    MaskedTransformer,
    PixelCNN,
    PixelCNNPP,
    Prior,
)
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE, VQVAE2

GREY, COLOUR, SEQUENCE = (4, 6, 1), (3, 4, 3), (1, 7, 1)
EVEN_COLOUR = (2, 4, 3)
CONDITIONS = ("none", "labels", "vectors", "maps")

PACKAGES = (layers, quantizers, distributions, priors, tokenizers, encoders, pretraining)
ABSTRACT = {
    "OutputDistribution",
    "AutoregressivePrior",
    "Encoder",
    "MaskedImageModel",
    "MaskedPrior",
    "Prior",
    "Quantizer",
    "RasterPrior",
    "Tokenizer",
    "TransformerPrior",
}


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """A public class, the arguments of one example of it, and inputs for that example.

    An argument that is a function is called for every build: no two examples share a layer.
    """

    kind: type
    arguments: dict[str, Any]
    inputs: Callable[[], Any]

    def build(self, **changes: Any) -> Any:
        given = {**self.arguments, **changes}
        return self.kind(**{name: value() if callable(value) else value for name, value in given.items()})

    def __str__(self) -> str:
        shown = [f"{name}={value}" for name, value in self.arguments.items() if name in _SHOWN]
        return "-".join([self.kind.__name__, *shown])


_SHOWN = (
    "direction",
    "strides",
    "weight_norm",
    "axis",
    "mask_type",
    "groups",
    "value_embedding_dim",
    "grid_shape",
    "num_classes",
    "condition_shape",
)


def features(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def integers(*shape: int, top: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(top, size=shape).astype("int32")


def randomise(model: Any, seed: int = 0) -> Any:
    """Random weights of a size that keeps signals of order one, biases too."""
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        scale = 0.5 if len(weight.shape) == 1 else 1.5 / math.sqrt(math.prod(weight.shape[:-1]))
        weight.assign(rng.normal(0, scale, weight.shape).astype("float32"))
    return model


def _maps(channels: int) -> Callable[[], np.ndarray]:
    return lambda: features(2, 4, 5, channels)


def _stacks(*channels: int) -> Callable[[], list[np.ndarray]]:
    return lambda: [features(2, 4, 5, size, seed=seed) for seed, size in enumerate(channels)]


def _queries_and_memory() -> list[np.ndarray]:
    return [features(2, 7, 6), features(2, 5, 8, seed=1)]


def _conditioned_stacks() -> list[np.ndarray]:
    return [*_stacks(6, 6)(), features(2, 1, 1, 3, seed=2)]


LAYERS = [
    Entry(layers.MaskedConv2D, {"filters": 6, "kernel_size": 3, "mask_type": "A"}, _maps(4)),
    Entry(layers.MaskedConv2D, {"filters": 6, "kernel_size": 5, "mask_type": "B", "groups": 3}, _maps(3)),
    Entry(layers.CausalConv2D, {"filters": 6, "kernel_size": 3, "axis": "rows", "mask_type": "A"}, _maps(4)),
    Entry(layers.CausalConv2D, {"filters": 6, "kernel_size": 5, "axis": "rows"}, _maps(4)),
    Entry(layers.CausalConv2D, {"filters": 6, "kernel_size": 5, "axis": "columns", "groups": 3}, _maps(3)),
    Entry(
        layers.CausalConv2D, {"filters": 6, "kernel_size": 3, "axis": "columns", "mask_type": "A"}, _maps(4)
    ),
    Entry(layers.MaskedDense, {"filters": 6, "mask_type": "A", "groups": 3}, _maps(3)),
    Entry(layers.MaskedDense, {"filters": 5}, _maps(4)),
    Entry(layers.GatedActivation, {}, _maps(4)),
    Entry(layers.GatedActivation, {"groups": 3}, _maps(12)),
    Entry(layers.GatedBlock, {"filters": 6, "mask_type": "A"}, _stacks(4, 4)),
    Entry(layers.GatedBlock, {"filters": 6, "groups": 3, "dropout": 0.5}, _stacks(6, 6)),
    Entry(layers.GatedBlock, {"filters": 6}, _conditioned_stacks),
    Entry(layers.ResidualBlock, {"filters": 12, "groups": 3, "dropout": 0.5}, _maps(12)),
    Entry(layers.ResidualBlock, {"filters": 6, "kernel_size": 5}, _maps(6)),
    Entry(layers.ShiftedConv2D, {"filters": 6, "kernel_size": (2, 3), "direction": "down"}, _maps(4)),
    Entry(
        layers.ShiftedConv2D,
        {"filters": 6, "kernel_size": (2, 2), "direction": "down_right", "strides": 2, "init_scale": 0.1},
        _maps(4),
    ),
    Entry(
        layers.ShiftedConv2D,
        {"filters": 6, "kernel_size": (3, 1), "direction": "down", "strides": 2, "weight_norm": False},
        _maps(4),
    ),
    Entry(layers.ShiftedConv2DTranspose, {"filters": 6, "direction": "down"}, _maps(4)),
    Entry(
        layers.ShiftedConv2DTranspose,
        {"filters": 6, "direction": "down_right", "weight_norm": False},
        _maps(4),
    ),
    Entry(layers.WeightNormDense, {"filters": 5}, _maps(4)),
    Entry(layers.GatedResNet, {"filters": 6, "direction": "down"}, _maps(6)),
    Entry(
        layers.GatedResNet,
        {
            "filters": 6,
            "direction": "down_right",
            "takes_down": True,
            "takes_shortcut": True,
            "dropout": 0.5,
        },
        lambda: [*_stacks(6, 6, 6)(), features(2, 1, 1, 3, seed=3)],
    ),
    Entry(layers.MultiHeadAttention, {"num_heads": 2}, lambda: features(2, 7, 8)),
    Entry(layers.MultiHeadAttention, {"num_heads": 3, "use_bias": False}, _queries_and_memory),
    Entry(layers.CausalSelfAttention, {"num_heads": 4, "dropout": 0.5}, lambda: features(2, 7, 8)),
    Entry(layers.FeedForward, {"hidden_dim": 12, "activation": "gelu"}, _maps(8)),
    Entry(layers.FeedForward, {"hidden_dim": 12, "activation": "swiglu", "dropout": 0.5}, _maps(8)),
    Entry(layers.TransformerBlock, {"num_heads": 2, "mlp_dim": 12}, lambda: features(2, 7, 8)),
    Entry(
        layers.TransformerBlock,
        {"num_heads": 2, "mlp_dim": 12, "pre_norm": False, "causal": False, "norm": "rms", "dropout": 0.5},
        lambda: features(2, 7, 8),
    ),
    Entry(
        layers.TransformerBlock,
        {"num_heads": 3, "mlp_dim": 12, "takes_memory": True, "activation": "relu"},
        _queries_and_memory,
    ),
    Entry(
        layers.TransformerBlock,
        {"num_heads": 3, "mlp_dim": 12, "takes_memory": True, "self_attention": False},
        _queries_and_memory,
    ),
    Entry(
        layers.TransformerBlock,
        {"num_heads": 2, "mlp_dim": 12, "causal": False, "layer_scale": 0.5, "stochastic_depth": 0.5},
        lambda: features(2, 7, 8),
    ),
    Entry(layers.ImageScaling, {"mean": (0.5, 0.4, 0.3), "std": 0.2}, lambda: features(2, 4, 6, 3)),
    Entry(layers.PatchEmbedding, {"patch_size": 2, "hidden_dim": 6}, lambda: features(2, 4, 6, 3)),
    Entry(layers.PatchMerging, {"map_size": (3, 5)}, lambda: features(2, 15, 6)),
    Entry(
        layers.SwinBlock,
        {"num_heads": 2, "mlp_dim": 12, "map_size": (5, 7), "window_size": 3, "shift": 1},
        lambda: features(2, 35, 8),
    ),
    Entry(layers.ValueEncoding, {"num_levels": 4}, lambda: integers(2, 4, 5, 3)),
    Entry(layers.ValueEncoding, {"num_levels": 4, "embedding_dim": 3}, lambda: integers(2, 4, 5, 3)),
]


def _quantizers(*sizes: int) -> Callable[[], list[VectorQuantizer]]:
    return lambda: [VectorQuantizer(8, size) for size in sizes]


QUANTIZERS = [
    Entry(quantizers.VectorQuantizer, {"codebook_size": 8, "code_dim": 4}, _maps(4)),
    Entry(
        quantizers.VectorQuantizer,
        {"codebook_size": 8, "code_dim": 4, "decay": None, "metric": "cosine", "gradient": "rotation"},
        _maps(4),
    ),
    Entry(quantizers.ResidualVectorQuantizer, {"quantizers": _quantizers(4, 4)}, _maps(4)),
    Entry(quantizers.ProductQuantizer, {"quantizers": _quantizers(1, 3)}, _maps(4)),
    Entry(quantizers.FiniteScalarQuantizer, {"levels": (4, 3, 2, 2)}, _maps(4)),
    Entry(quantizers.LookupFreeQuantizer, {"num_bits": 4}, _maps(4)),
]

DISTRIBUTIONS = [
    Entry(Categorical, {"num_levels": 5}, lambda: features(2, 4, 3, 3 * 5)),
    Entry(DiscretizedLogistic, {"num_levels": 5}, lambda: features(2, 4, 3, 10)),
    Entry(DiscretizedLogisticMixture, {"num_components": 2, "num_levels": 5}, lambda: features(2, 4, 3, 20)),
    Entry(Gaussian, {"num_levels": 5, "scale": 0.5}, lambda: features(2, 4, 3, 3)),
]


def arguments(
    kind: type[Prior], grid_shape: tuple[int, int, int] = GREY, condition: str = "none", **changes: Any
) -> dict[str, Any]:
    """Arguments of a small prior with one kind of condition."""
    options: dict[str, dict[str, Any]] = {
        "none": {},
        "labels": {"num_classes": 3},
        "vectors": {"condition_shape": (4,)},
        "maps": {"condition_shape": (*grid_shape[:2], 2)},
    }
    small = {"filters": 12, "num_layers": 2, "first_kernel_size": 5, "class_embedding_dim": 4}
    if kind in (CausalTransformer, AnyOrderTransformer, MaskedTransformer):
        small = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "class_embedding_dim": 4}
    if kind is EncoderDecoderTransformer:
        small = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "dropout": 0.0}
        small |= {"source_levels": 5, "source_length": 6}
    if kind is PixelCNNPP:
        num_stages = 1 if any(size % 2 for size in grid_shape[:2]) else 2
        small = {
            "filters": 6,
            "num_layers": 1,
            "num_stages": num_stages,
            "dropout": 0.0,
            "class_embedding_dim": 4,
        }
    return {
        "grid_shape": grid_shape,
        "distribution": Categorical(4),
        **small,
        **options[condition],
        **changes,
    }


def prior(kind: type[Prior], *shape: Any, seed: int = 0, **changes: Any) -> Prior:
    """A small prior with random weights; arguments as in `arguments`."""
    return randomise(kind(**arguments(kind, *shape, **changes)), seed)


prior_like = functools.cache(prior)
"""Priors that no test changes: what is compiled for them stays compiled."""

MASKED_KINDS = [PixelCNN, GatedPixelCNN]
RASTER_KINDS = [*MASKED_KINDS, PixelCNNPP]
KINDS = [*RASTER_KINDS, CausalTransformer]
each_masked_kind = pytest.mark.parametrize("kind", MASKED_KINDS)
each_raster_kind = pytest.mark.parametrize("kind", RASTER_KINDS)
each_kind = pytest.mark.parametrize("kind", KINDS)
each_grid = pytest.mark.parametrize("grid", [GREY, COLOUR], ids=["grey", "colour"])


def values_of(prior: Prior, batch_size: int = 3, seed: int = 0) -> np.ndarray:
    values = integers(batch_size, *prior.grid_shape, top=prior.distribution.num_levels, seed=seed)
    end = getattr(prior, "end_value", None)
    return values if end is None else np.where(np.cumsum(values == end, axis=2) > 0, end, values)


def condition_of(prior: Prior, batch_size: int = 3, seed: int = 0) -> np.ndarray | None:
    if prior.condition_kind is not None and prior.condition_kind.is_source:
        return integers(batch_size, *prior.condition_kind.shape, top=prior.condition_levels, seed=seed + 100)
    if prior.num_classes is not None:
        return np.arange(batch_size, dtype="int32") % prior.num_classes
    if prior.condition_shape is None:
        return None
    return features(batch_size, *prior.condition_shape, seed=seed + 100)


def batch_of(prior: Prior, batch_size: int = 3, seed: int = 0) -> Any:
    """A batch as `fit` takes it: values, or a dict of values and condition."""
    values, condition = values_of(prior, batch_size, seed), condition_of(prior, batch_size, seed)
    return values if condition is None else {"values": values, "condition": condition}


def _prior_entry(kind: type[Prior], *shape: Any, **changes: Any) -> Entry:
    given = arguments(kind, *shape, **changes)
    return Entry(kind, given, lambda: batch_of(kind(**given)))


PRIORS = [
    _prior_entry(PixelCNN, GREY, "labels"),
    _prior_entry(PixelCNN, COLOUR, "none", dropout=0.5),
    _prior_entry(GatedPixelCNN, COLOUR, "maps", dropout=0.5),
    _prior_entry(GatedPixelCNN, GREY, "vectors", value_embedding_dim=3),
    _prior_entry(PixelCNNPP, GREY, "labels", num_stages=1, dropout=0.5),
    _prior_entry(PixelCNNPP, EVEN_COLOUR, "maps", weight_norm=False),
    _prior_entry(PixelCNNPP, EVEN_COLOUR, num_stages=1, distribution=DiscretizedLogisticMixture(2, 4)),
    _prior_entry(CausalTransformer, GREY, "maps", positions="rotary", norm="rms", activation="swiglu"),
    _prior_entry(CausalTransformer, COLOUR, "labels", dropout=0.5, value_embedding_dim=3),
    _prior_entry(AnyOrderTransformer, GREY, "maps", positions="rotary", hidden_dim=8),
    _prior_entry(AnyOrderTransformer, COLOUR, "labels", dropout=0.5, num_layers=3),
    _prior_entry(CausalTransformer, COLOUR, pre_norm=False, positions="sinusoidal", activation="gelu"),
    _prior_entry(EncoderDecoderTransformer, SEQUENCE, end_value=3, dropout=0.5),
]

MASKED_PRIORS = [
    _prior_entry(MaskedTransformer, GREY, "maps", positions="rotary", norm="rms"),
    _prior_entry(
        MaskedTransformer,
        COLOUR,
        "labels",
        dropout=0.5,
        objective="bert",
        value_embedding_dim=3,
        pre_norm=False,
        embedding_norm=True,
        tied_head=True,
        epsilon=1e-3,
    ),
]

TOKENIZERS = [
    Entry(
        VQVAE,
        {
            "image_shape": (4, 8, 1),
            "quantizer": lambda: VectorQuantizer(8, 4),
            "distribution": DiscretizedLogistic(16),
            "filters": 6,
            "residual_filters": 4,
        },
        lambda: integers(3, 4, 8, 1, top=16),
    ),
    Entry(
        VQVAE,
        {
            "image_shape": (4, 6, 3),
            "quantizer": lambda: quantizers.ProductQuantizer(_quantizers(2, 3)()),
            "distribution": Categorical(4),
            "downsampling": 2,
            "filters": 6,
            "num_residual_blocks": 1,
        },
        lambda: integers(3, 4, 6, 3),
    ),
    Entry(
        VQVAE2,
        {
            "image_shape": (8, 4, 1),
            "top_quantizer": lambda: VectorQuantizer(8, 4),
            "bottom_quantizer": lambda: VectorQuantizer(16, 3),
            "distribution": DiscretizedLogistic(16),
            "downsampling": 2,
            "filters": 6,
            "num_residual_blocks": 1,
            "residual_filters": 4,
        },
        lambda: integers(3, 8, 4, 1, top=16),
    ),
]

SMALL_VIT = {"image_shape": (4, 6, 3), "patch_size": 2, "num_layers": 1, "num_heads": 2, "hidden_dim": 8}
ENCODERS = [
    Entry(encoders.ViT, {**SMALL_VIT, "layer_scale": 0.5, "dropout": 0.5}, lambda: features(2, 4, 6, 3)),
    Entry(
        encoders.ViT,
        {**SMALL_VIT, "positions": "sin_cos", "use_class_token": False, "stochastic_depth": 0.5},
        lambda: features(2, 4, 6, 3),
    ),
    Entry(
        encoders.Swin,
        {
            "image_shape": (10, 14, 2),
            "patch_size": 2,
            "num_layers": (2, 1),
            "num_heads": (2, 2),
            "hidden_dim": 8,
            "window_size": 3,
            "stochastic_depth": 0.5,
        },
        lambda: features(2, 10, 14, 2),
    ),
]

CLASSIFIERS = [
    Entry(
        encoders.Classifier,
        {"encoder": lambda: encoders.ViT(**SMALL_VIT), "num_classes": 3, "pooling": "class_token"},
        lambda: features(2, 4, 6, 3),
    ),
]

SMALL_SWIN = {"patch_size": 2, "num_layers": (1, 1), "num_heads": (2, 2), "hidden_dim": 4, "window_size": 3}
SMALL_DECODER = {"decoder_dim": 8, "decoder_layers": 1, "decoder_heads": 2}
PRETRAINING = [
    Entry(
        pretraining.MAE,
        {"encoder": lambda: encoders.ViT(**SMALL_VIT), **SMALL_DECODER, "mean": 0.5, "std": (0.1, 0.2, 0.3)},
        lambda: features(2, 4, 6, 3),
    ),
    Entry(
        pretraining.SimMIM,
        {"encoder": lambda: encoders.Swin((8, 12, 1), **SMALL_SWIN), "unit_size": 4},
        lambda: features(2, 8, 12, 1),
    ),
    Entry(
        pretraining.GreenMIM,
        {"encoder": lambda: encoders.Swin((8, 12, 1), **SMALL_SWIN), "unit_size": 4, **SMALL_DECODER},
        lambda: features(2, 8, 12, 1),
    ),
]

ENTRIES = [
    *LAYERS,
    *QUANTIZERS,
    *DISTRIBUTIONS,
    *PRIORS,
    *MASKED_PRIORS,
    *TOKENIZERS,
    *ENCODERS,
    *CLASSIFIERS,
    *PRETRAINING,
]


def example_model(entry: Entry) -> tuple[keras.Model, Any]:
    """A layer as a functional model with random weights, and inputs for it."""
    inputs = entry.inputs()
    symbols = symbols_of(inputs)
    return randomise(keras.Model(symbols, entry.build()(symbols))), inputs


def symbols_of(inputs: Any) -> Any:
    """Symbolic inputs of the same structure, for any batch size."""
    return keras.tree.map_structure(lambda x: keras.Input(x.shape[1:], dtype=x.dtype.name), inputs)
