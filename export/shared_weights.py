"""Weights of a bundle's ONNX graphs, laid out as the operators take them, and each of them stored once.

Its functions share nearly all weights; as ONNX's external data they lie in one file beside the graphs.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from tfprior.export.graph_check import FILE
from tfprior.export.onnx_graphs import names_read, subgraphs, with_subgraphs

SMALLEST = 1024
"""Bytes of a tensor that leaves its graph; sizes and shapes, which are read before a graph runs, stay."""
ALIGNMENT = 64


class SharedWeights:
    """The tensors of several graphs in one file, equal bytes once.

    Args:
        folder: of the graphs.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        self._offsets: dict[bytes, int] = {}

    def take(self, graph: onnx.GraphProto) -> None:
        """Moves the weights of a graph, and of all within it, to the file, and says there where they lie."""
        gather(graph)
        for tensor in graph.initializer:
            if len(tensor.raw_data) < SMALLEST:
                continue
            offset = self._stored(tensor.raw_data)
            place = {"location": FILE, "offset": offset, "length": len(tensor.raw_data)}
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))

    def _stored(self, data: bytes) -> int:
        digest = hashlib.sha256(data).digest()
        if digest not in self._offsets:
            with self.file.open("ab") as stream:
                stream.write(bytes(-stream.tell() % ALIGNMENT))
                self._offsets[digest] = stream.tell()
                stream.write(data)
        return self._offsets[digest]


def gather(graph: onnx.GraphProto) -> None:
    """Moves weights of inner graphs to the outermost, where alone runtimes look that open it from memory."""
    names = {tensor.name for tensor in graph.initializer}
    _, *within = with_subgraphs(graph)
    for inner in within:
        stay: list[TensorProto] = []
        for tensor in inner.initializer:
            moves = len(tensor.raw_data) >= SMALLEST and tensor.name not in names
            names.add(tensor.name)
            (graph.initializer if moves else stay).append(tensor)
        del inner.initializer[:]
        inner.initializer.extend(stay)


def lay_out(graph: onnx.GraphProto) -> None:
    """Transposes weights where they are stored, not wherever they are read: other graphs have them so."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    graph.initializer.extend(list(_transposed(graph, weights)))
    read = names_read(graph)
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _transposed(graph: onnx.GraphProto, weights: dict[str, TensorProto]) -> Iterator[TensorProto]:
    """Takes the transpositions of weights out of a graph, and of all within it; gives what they made."""
    nodes = list(graph.node)
    given_back = {value.name for value in graph.output}
    del graph.node[:]
    for node in nodes:
        for inner in subgraphs(node):
            yield from _transposed(inner, weights)
        if node.op_type == "Transpose" and node.input[0] in weights and node.output[0] not in given_back:
            array = numpy_helper.to_array(weights[node.input[0]])
            axes = next(iter(node.attribute)).ints
            yield numpy_helper.from_array(np.ascontiguousarray(array.transpose(axes)), node.output[0])
        else:
            graph.node.append(node)
