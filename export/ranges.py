"""What graphs do with integers that are out of range: the same in every format.

Left to themselves TensorFlow stops at a label that there is not, ONNX Runtime reads the last one for −1, and
LiteRT what lies beside. Here they take the nearest integer that is in range; a grid or image to be scored has
the likelihood NaN instead. Clients refuse both.
"""

from typing import Any

import numpy as np
from keras import ops

from tfprior.export.signatures import Function, Port, Tensors

SCORED = ("values", "images")


def within_range(function: Function) -> Function:
    """The function, of integers of any size."""
    ranged = [port for port in function.inputs if port.levels]
    if not ranged:
        return function
    draws = any(port.name.endswith("uniforms") for port in function.inputs)
    scores = not draws and any(port.name == "log_prob" for port in function.outputs)
    scored = [port for port in ranged if port.name in SCORED] if scores else []

    def call(tensors: Tensors) -> Tensors:
        nearest = {port.name: _nearest(port, tensors[port.name]) for port in ranged if port.name in tensors}
        outputs = function.call({**tensors, **nearest})
        for port in scored:
            nats = outputs["log_prob"]
            is_right = ops.equal(tensors[port.name], nearest[port.name])
            outputs = {**outputs, "log_prob": ops.where(_of_nats(is_right, nats), nats, np.float32(np.nan))}
        return outputs

    return function._replace(call=call)


def _nearest(port: Port, tensor: Any) -> Any:
    return ops.maximum(ops.minimum(tensor, np.int32(port.levels - 1)), np.int32(0))


def _of_nats(is_right: Any, nats: Any) -> Any:
    """Which values (B, H, W, C) are right, for nats of whole grids (B,) or of their values (B, H, W, G)."""
    if len(nats.shape) == 1:
        return ops.all(is_right, axis=(1, 2, 3))
    return ops.all(is_right, axis=3, keepdims=True) if nats.shape[3] == 1 else is_right
