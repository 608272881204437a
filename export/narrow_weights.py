"""Weights of fewer bits than float32: rounded once, so that every runtime computes with the same numbers.

A model is rounded before it is exported, and from then on computes in float32 as any other. Its ONNX graphs
hold the rounded numbers as float16, or as int8 times one scale for each channel, and widen them before they
compute anything. So files are a half or a quarter as large, and what is drawn is the same everywhere.
"""

from typing import Literal, TypeVar

import keras
import numpy as np
import onnx
from keras import ops
from onnx import TensorProto, helper, numpy_helper

from tfprior.export.shared_weights import SMALLEST, gather

WeightType = Literal["float32", "float16", "int8"]
WEIGHT_TYPES: tuple[WeightType, ...] = ("float32", "float16", "int8")
MOST = 127
"""The largest int8 whose negative is one too."""
SCALE_BITS = 12
"""Of a scale; with those of an int8 they are fewer than the 24 of a float32, and all products are exact."""

Model = TypeVar("Model", bound=keras.Model)


def rounded(model: Model, weight_type: WeightType) -> Model:
    """A model of the same kind whose matrices and kernels are numbers of the type; vectors stay as they are.

    Raises:
        ValueError: for weights that are too large for float16.
    """
    if weight_type == "float32":
        return model
    round_to = {"float16": rounded_to_float16, "int8": rounded_to_int8}[weight_type]
    copy = type(model).from_config(model.get_config())
    for weight, original in zip(copy.weights, model.weights, strict=True):
        array = ops.convert_to_numpy(original)
        is_narrowed = array.ndim > 1 and array.dtype == "float32"
        weight.assign(round_to(array, original.path) if is_narrowed else array)
    return copy


def rounded_to_float16(array: np.ndarray, name: str) -> np.ndarray:
    if np.abs(array).max() > np.finfo("float16").max:
        raise ValueError(
            f"The weights {name} reach {np.abs(array).max():.3g}, and float16 ends at "
            f"{np.finfo('float16').max:.0f}; export them as int8 or float32."
        )
    return array.astype("float16").astype("float32")


def rounded_to_int8(array: np.ndarray, name: str) -> np.ndarray:
    """Whole multiples, up to 127, of a scale of each channel, the last axis."""
    scales = _ceil(np.abs(array).max(tuple(range(array.ndim - 1))) / MOST)
    return (np.rint(array / scales) * scales).astype("float32")


def _ceil(scales: np.ndarray) -> np.ndarray:
    """The next numbers of so few bits; 1 for 0, which is no scale."""
    fractions, exponents = np.frexp(scales.astype("float64"))
    ceiled = np.ldexp(np.ceil(np.ldexp(fractions, SCALE_BITS)), exponents - SCALE_BITS)
    return np.where(scales > 0, ceiled, 1.0)


def narrow(graph: onnx.GraphProto, weight_type: WeightType) -> None:
    """Stores the weights of a graph, and of all within it, in the type, where they are numbers of it."""
    gather(graph)
    initializers, widening = [], []
    for tensor in graph.initializer:
        is_narrowed = tensor.data_type == TensorProto.FLOAT and len(tensor.raw_data) >= SMALLEST
        stored, nodes = _narrowed(tensor, weight_type) if is_narrowed else ([tensor], [])
        initializers += stored
        widening += nodes
    nodes = [*widening, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(initializers)
    graph.node.extend(nodes)


def _narrowed(tensor: TensorProto, weight_type: WeightType) -> tuple[list[TensorProto], list[onnx.NodeProto]]:
    """What is stored in place of a tensor, and the nodes that make it of that."""
    array, name = numpy_helper.to_array(tensor), tensor.name
    stored = f"{name}_{weight_type}"
    if weight_type == "float16":
        with np.errstate(over="ignore"):
            narrower = array.astype("float16")
        if (narrower != array).any():
            return [tensor], []
        cast = helper.make_node("Cast", [stored], [name], f"{name}_widened", to=TensorProto.FLOAT)
        return [numpy_helper.from_array(narrower, stored)], [cast]
    found = whole_multiples(array)
    if found is None:
        return [tensor], []
    multiples, scales = found
    wide, scale = f"{name}_multiples", f"{name}_scales"
    cast = helper.make_node("Cast", [stored], [wide], f"{name}_widened", to=TensorProto.FLOAT)
    times = helper.make_node("Mul", [wide, scale], [name], f"{name}_scaled")
    return [numpy_helper.from_array(multiples, stored), numpy_helper.from_array(scales, scale)], [cast, times]


def whole_multiples(array: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """int8 and, of each channel along some axis, a float32 scale, whose products are the array exactly.

    Graphs transpose kernels, cut them and multiply them with masks, so the scales are found in the numbers:
    in units of a channel's last bit these are integers, and their greatest common divisor is the scale.
    """
    for axis in reversed(range(array.ndim)):
        rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype("float64")
        if rows.shape[1] < 8:
            continue  # scales would outweigh what they save
        _, exponents = np.frexp(np.abs(rows).max(1))
        units = np.ldexp(1.0, exponents - np.finfo("float32").nmant - 1)
        integers = (rows / units[:, None]).astype("int64")
        if (integers * units[:, None] != rows).any():
            continue
        divisors = np.maximum(np.gcd.reduce(integers, axis=1), 1)
        multiples = integers // divisors[:, None]
        if np.abs(multiples).max() > MOST:
            continue
        others = [size for index, size in enumerate(array.shape) if index != axis]
        in_place = np.moveaxis(multiples.reshape(-1, *others), 0, axis).astype("int8")
        shape = [-1 if index == axis else 1 for index in range(array.ndim)]
        return np.ascontiguousarray(in_place), (divisors * units).reshape(shape).astype("float32")
    return None
