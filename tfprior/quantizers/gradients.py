"""How gradients pass a quantizer, whose own are zero almost everywhere."""

from typing import Any

from keras import ops


def straight_through(inputs: Any, quantized: Any) -> Any:
    """The quantized vectors, through which gradients reach the inputs unchanged."""
    return _through(inputs, quantized)


def rotated(inputs: Any, quantized: Any) -> Any:
    """The quantized vectors, through which gradients are turned and scaled as the inputs were.

    The rotation trick (Fifty et al. 2024, arXiv:2410.06424): quantized = λ R inputs, λ and R held fixed.
    """
    size, target_size = (_norm(x) for x in (inputs, quantized))
    source, target = ops.stop_gradient(inputs / size), ops.stop_gradient(quantized / target_size)
    middle = ops.stop_gradient((source + target) / _norm(source + target))
    turned = inputs - 2 * middle * _dot(middle, inputs) + 2 * target * _dot(source, inputs)
    turned = ops.stop_gradient(target_size / size) * turned
    # A vector of no length has no direction to be turned from.
    return _through(ops.where(size > 1e-3 * target_size, turned, inputs), quantized)


GRADIENTS = {"straight_through": straight_through, "rotation": rotated}


def _through(carrier: Any, quantized: Any) -> Any:
    """The quantized vectors to the last bit, with the gradient of the carrier."""
    return ops.stop_gradient(quantized) + (carrier - ops.stop_gradient(carrier))


def _dot(x: Any, y: Any) -> Any:
    return ops.sum(x * y, axis=-1, keepdims=True)


def _norm(x: Any) -> Any:
    return ops.sqrt(ops.maximum(_dot(x, x), 1e-12))
