"""Which weights of an encoder others store, and how.

Shapes: p side of a patch · C channels · D features · O, I features out of and into a dense layer.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from keras import ops

from tfprior.encoders.base import Encoder
from tfprior.encoders.swin import Swin
from tfprior.encoders.vit import ViT
from tfprior.encoders.weights_names import Spelling
from tfprior.layers.transformer_block import TransformerBlock

Arrays = dict[str, np.ndarray]


class Layout(NamedTuple):
    """From an array of theirs to one of ours, and back."""

    ours: Callable[[np.ndarray], np.ndarray]
    theirs: Callable[[np.ndarray], np.ndarray]


AS_IT_IS = Layout(lambda x: x, lambda x: x)
TRANSPOSED = Layout(np.transpose, np.transpose)  # (O, I) and (I, O)
TOKENS = Layout(  # with axes in front: a class token (1, 1, D), positions (1, N, D)
    lambda x: x.reshape(x.shape[2:] if x.shape[1] == 1 else x.shape[1:]),
    lambda x: x.reshape((1,) * (3 - x.ndim) + x.shape),
)


def convolution(patch_size: int) -> Layout:
    """(D, C, p, p) and (p · p · C, D)."""
    return Layout(
        lambda x: x.transpose(2, 3, 1, 0).reshape(-1, len(x)),
        lambda x: x.reshape(patch_size, patch_size, -1, x.shape[-1]).transpose(3, 2, 0, 1),
    )


@dataclass(frozen=True)
class Part:
    """Weights of ours and arrays of theirs that hold the same numbers, side by side by their outputs.

    Attributes:
        weights: ours; positions that are fixed are an array.
        roles: of theirs, one for each array; see `weights_names`.
        suffix: of their names.
        place: of the block or stage that they belong to.
        is_around: whether they are those of what is around the encoder.
    """

    weights: tuple[Any, ...]
    roles: tuple[str, ...]
    suffix: str = ""
    layout: Layout = AS_IT_IS
    place: dict[str, int] = field(default_factory=dict)
    is_around: bool = False

    def names(self, spelling: Spelling, prefix: str, outer: str) -> list[str]:
        """Theirs: those of the encoder behind the prefix, those of what is around it behind the outer one.

        Raises:
            KeyError: for a role that the spelling has no name for.
        """
        front = outer if self.is_around else prefix
        written = (spelling.names[role].format(**self.place) for role in self.roles)
        return list(dict.fromkeys(front + name + self.suffix for name in written))

    def theirs(self, count: int) -> list[np.ndarray]:
        """The numbers of now, in as many arrays of theirs."""
        together = np.concatenate([ops.convert_to_numpy(weight) for weight in self.weights], -1)
        return np.split(self.layout.theirs(together), count)

    def ours(self, theirs: list[np.ndarray]) -> list[np.ndarray]:
        """An array for each weight."""
        together = self.layout.ours(np.concatenate(theirs))
        sizes = [weight.shape[-1] for weight in self.weights]
        return np.split(together, np.cumsum(sizes)[:-1], -1)

    @property
    def is_fixed(self) -> bool:
        return isinstance(self.weights[0], np.ndarray)


@runtime_checkable
class AroundEncoder(Protocol):
    """A model around an encoder, with weights that others store too."""

    encoder: Encoder

    def parts_around(self) -> Iterable[Part]:
        """Those of all but the encoder."""
        ...


def parts_of(encoder: Encoder) -> list[Part]:
    """Those of an encoder."""
    layout = convolution(encoder.patch_size)
    return [
        *dense([encoder.patches.project], ["patches"], layout=layout),
        *OF_KIND[type(encoder)](encoder),
        *norm(encoder.norm, "norm"),
    ]


def _of_vit(vit: ViT) -> Iterator[Part]:
    if vit.use_class_token:
        yield Part((vit.class_token,), ("class_token",), layout=TOKENS)
    yield Part((vit.table,), ("positions",), layout=TOKENS)
    for index, block in enumerate(vit.blocks):
        yield from block_parts(block, {"block": index})


def _of_swin(swin: Swin) -> Iterator[Part]:
    yield from norm(swin.embedding_norm, "embedding_norm")
    for stage, layer in enumerate(swin.stages):
        place = {"stage": stage, "next": stage + 1}
        for index, block in enumerate(layer.blocks):
            yield Part((block.position_bias.table,), ("table",), place={**place, "block": index})
            yield from block_parts(block.transformer, {**place, "block": index})
        if layer.merging is not None:
            yield from norm(layer.merging.norm, "merging_norm", place)
            yield from dense([layer.merging.reduce], ["reduce"], place)


OF_KIND: dict[type[Encoder], Callable[[Any], Iterator[Part]]] = {ViT: _of_vit, Swin: _of_swin}


def around(parts: Iterable[Part], front: str = "") -> list[Part]:
    """The same, of what is around an encoder; their roles begin with `front`."""
    return [replace(part, roles=tuple(front + role for role in part.roles), is_around=True) for part in parts]


def block_parts(block: TransformerBlock, place: dict[str, int]) -> Iterator[Part]:
    attention, feed_forward = block.attention, block.feed_forward
    yield from norm(block.attention_norm, "attention_norm", place)
    yield from dense([attention.query, attention.key_value], ["query", "key", "value"], place)
    yield from dense([attention.result], ["result"], place)
    yield from norm(block.feed_forward_norm, "feed_forward_norm", place)
    yield from dense([feed_forward.expand], ["expand"], place)
    yield from dense([feed_forward.contract], ["contract"], place)
    if block.layer_scale is not None:
        yield Part((block.attention_scale.gamma,), ("attention_scale",), place=place)
        yield Part((block.feed_forward_scale.gamma,), ("feed_forward_scale",), place=place)


def dense(
    layers: list[Any], roles: list[str], place: dict[str, int] | None = None, layout: Layout = TRANSPOSED
) -> Iterator[Part]:
    yield Part(tuple(layer.kernel for layer in layers), tuple(roles), ".weight", layout, place or {})
    if layers[0].use_bias:
        yield Part(tuple(layer.bias for layer in layers), tuple(roles), ".bias", place=place or {})


def norm(layer: Any, role: str, place: dict[str, int] | None = None) -> Iterator[Part]:
    yield Part((layer.gamma,), (role,), ".weight", place=place or {})
    yield Part((layer.beta,), (role,), ".bias", place=place or {})
