"""What a bundle's functions are made of: named tensors in, named tensors out, the batch always in front.

Shapes: B batch · H W C grid · P positions · K uniforms a pixel.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tfprior.distributions import SamplingOptions
from tfprior.priors import AnyOrderTransformer, MaskedPrior, Prior

Tensors = dict[str, Any]


class Port(NamedTuple):
    """An input or output; its shape leaves out the batch, and a word in it is a size that calls choose.

    It is `carried` where what one function gives is for another one, and says nothing to callers; integers
    have `levels`, and lie in [0, levels).
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    meaning: str
    carried: bool = False
    levels: int = 0


class Function(NamedTuple):
    name: str
    call: Callable[[Tensors], Tensors]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


class Ports:
    """The tensors that the functions of one prior share."""

    def __init__(self, prior: Prior) -> None:
        height, width, channels = prior.grid_shape
        levels = prior.distribution.num_levels
        uniforms = prior.distribution.num_uniforms(channels)
        steps, before = prior.num_steps, "value at position − 1; ignored at position 0"
        self.previous = Port("previous", "int32", (channels,), before, levels=levels)
        self.position = Port("position", "int32", (), f"y · {width} + x, in [0, {steps})", levels=steps)
        self.uniforms = Port("uniforms", "float32", (uniforms,), "noise in [0, 1), fresh for every position")
        self.noise = Port("uniforms", "float32", (height, width, uniforms), "noise in [0, 1)")
        self.temperature = Port("temperature", "float32", (), "1 draws from the model itself")
        self.guidance = Port("guidance", "float32", (), "0 draws from the condition alone")
        self.value = Port("value", "int32", (channels,), f"the pixel drawn, in [0, {levels})")
        self.values = Port("values", "int32", prior.grid_shape, f"grids in [0, {levels})", levels=levels)
        self.log_prob = Port("log_prob", "float32", (), "nats, of the model at temperature 1")
        self.order: tuple[Port, ...] = ()
        if draws_in_any_order(prior):
            meaning = "positions in the order of drawing, each once"
            self.order = (Port("order", "int32", (steps,), meaning, levels=steps),)
        self.condition: tuple[Port, ...] = ()
        kind = prior.condition_kind
        if kind is not None:
            dtype, meaning = "float32" if kind.num_levels is None else "int32", "condition"
            if kind.is_label:
                meaning = f"class label in [0, {kind.num_levels})"
            elif kind.is_source:
                meaning = f"tokens in [0, {kind.num_levels}), filled up with {kind.padding}"
            self.condition = (Port("condition", dtype, kind.shape, meaning, levels=kind.num_levels or 0),)
        self.memory: tuple[Port, ...] = ()
        if (specs := prior.memory_spec()) is not None:
            meaning = "from `encode_source`, the same for all steps"
            self.memory = tuple(Port(name, spec.dtype, spec.shape, meaning) for name, spec in specs.items())

    @property
    def given(self) -> tuple[Port, ...]:
        """What steps learn of the condition by: its memory, or itself."""
        return self.memory or self.condition


def draws_in_any_order(prior: Prior) -> bool:
    """Whether the prior was trained for every order, and its callers choose one."""
    if isinstance(prior, AnyOrderTransformer):
        return prior.trained_orders == "random"
    return isinstance(prior, MaskedPrior)


def batch_size(tensors: Tensors) -> Any:
    return ops.shape(tensors["position"])[0]


def each_once(order: Any) -> Any:
    """Which orders (B, P) hold every position: (B,) bool."""
    places = np.arange(order.shape[-1], dtype="int32")
    return ops.all(ops.equal(ops.sort(order, axis=-1), places), axis=-1)


def options_of(tensors: Tensors) -> SamplingOptions:
    return SamplingOptions(tensors["temperature"], guidance=tensors.get("guidance"))


def condition_of(prior: Prior, tensors: Tensors) -> Tensors:
    """The features of the condition among the tensors, as states have them; nothing without one."""
    if (specs := prior.memory_spec()) is not None and set(specs) <= set(tensors):
        return {"condition": {name: tensors[name] for name in specs}}
    if "condition" not in tensors:
        return {}
    return {"condition": prior.encode_condition(tensors["condition"])}
