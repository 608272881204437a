"""Classifier-free guidance in bundles: functions run for each example twice, with its condition and without.

What functions hand on holds both, side by side along the last axis, so that callers lead one state as ever.

Shapes: B batch.
"""

from typing import Any

from keras import ops

from tfprior.export.signatures import Function, Port, Ports, Tensors
from tfprior.priors import Prior


def is_guided(prior: Prior) -> bool:
    """Whether it can be drawn from away from no condition: it has learnt what that is, and gives logits."""
    return prior.condition_dropout > 0 and prior.distribution.has_guidance


def guided(prior: Prior, ports: Ports, function: Function) -> Function:
    """The function of a prior that is guided, where it draws or hands on; any other as it is."""
    draws = ports.temperature in function.inputs
    if not is_guided(prior) or not (draws or any(port.carried for port in function.outputs)):
        return function

    def call(tensors: Tensors) -> Tensors:
        size = ops.shape(tensors[function.inputs[0].name])[0]
        both = {port.name: _both(prior, port, tensors[port.name]) for port in inputs if port.name in tensors}
        outputs = function.call(both)
        return {port.name: _one(port, outputs[port.name], size) for port in function.outputs}

    inputs = (*function.inputs, *([ports.guidance] if draws else []))
    taken, given = (tuple(map(_twice_as_wide, each)) for each in (inputs, function.outputs))
    return Function(function.name, call, taken, given)


def _both(prior: Prior, port: Port, tensor: Any) -> Any:
    """Of B examples with their condition, then of the same without: (2 B, …)."""
    if port.carried:
        width = tensor.shape[-1] // 2
        return ops.concatenate([tensor[..., :width], tensor[..., width:]], axis=0)
    other = tensor
    if port.name == "condition" and prior.condition_kind is not None:
        other = ops.full_like(tensor, prior.condition_kind.of_none)
    return ops.concatenate([tensor, other], axis=0)


def _one(port: Port, tensor: Any, size: Any) -> Any:
    """Of B examples: what is handed on of both, and what was drawn, which is the same in both."""
    if port.carried:
        return ops.concatenate([tensor[:size], tensor[size:]], axis=-1)
    return tensor[:size]


def _twice_as_wide(port: Port) -> Port:
    if not port.carried:
        return port
    *sizes, width = port.shape
    assert isinstance(width, int)
    meaning = f"{port.meaning}; with the condition, then without, along the last axis"
    return port._replace(shape=(*sizes, 2 * width), meaning=meaning)
