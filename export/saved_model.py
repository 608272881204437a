"""Functions as a SavedModel, in TensorFlow Serving's layout."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfprior.export.arrays import Arrays, Run
from tfprior.export.checks import as_bundle_error
from tfprior.export.ports import FunctionDescription, TensorNames, argument
from tfprior.export.signatures import Function, Port

DEFAULTS = ("step", "refine", "generate", "classify", "features")


def concrete_function(function: Function) -> Any:
    """The function as a TensorFlow graph with named inputs and outputs and a dynamic batch."""
    signature = [tensor_spec(port, argument(port.name)) for port in function.inputs]
    names = [port.name for port in function.inputs]

    def call(*tensors: Any) -> dict[str, Any]:
        outputs = function.call(dict(zip(names, tensors, strict=True)))
        return {
            argument(port.name): tf.identity(outputs[port.name], name=argument(port.name))
            for port in function.outputs
        }

    return tf.function(call, input_signature=signature, autograph=False).get_concrete_function()


def tensor_spec(port: Port, name: str) -> Any:
    """The port as TensorFlow declares a tensor, by that name."""
    sizes = (None if isinstance(size, str) else size for size in port.shape)
    return tf.TensorSpec((None, *sizes), port.dtype, name=name)


def write_saved_model(model: keras.Model, graphs: dict[str, Any], path: Path) -> None:
    """Writes every graph as a signature; the one that comes first among `DEFAULTS` is also the default."""
    module = tf.Module()
    # Tracking what the graphs read, and that alone, keeps each weight in the file once.
    read = {id(variable) for graph in graphs.values() for variable in graph.variables}
    module.weights = [weight.value for weight in model.weights if id(weight.value) in read]
    default = next(name for name in DEFAULTS if name in graphs)
    signatures = {**graphs, "serving_default": graphs[default]}
    tf.saved_model.save(module, str(path), signatures=signatures)


def tensor_names(path: Path, functions: dict[str, FunctionDescription]) -> dict[str, TensorNames]:
    """Which tensors of the graph are the functions' ports, for callers who have no signatures."""
    model = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    signatures = model.meta_graphs[0].signature_def
    return {
        name: TensorNames(
            *(
                {port.name: tensors[argument(port.name)].name for port in ports}
                for ports, tensors in (
                    (described.inputs, signatures[name].inputs),
                    (described.outputs, signatures[name].outputs),
                )
            )
        )
        for name, described in functions.items()
    }


def open_saved_model(path: Path, functions: dict[str, FunctionDescription]) -> Run:
    """The signatures of a SavedModel as functions of arrays; a SavedModel is a program, and this runs it.

    The functions are those of the bundle's manifest.

    Raises:
        BundleError: for what TensorFlow does not load, and from the functions for what it does not run.
    """
    with as_bundle_error(f"TensorFlow does not load {path}"):
        signatures = tf.saved_model.load(str(path)).signatures

    def run(function: str, arrays: Arrays) -> Arrays:
        with as_bundle_error(f"The signature {function!r} of {path} fails"):
            takes, gives = (
                {port.name: argument(port.name) for port in ports}
                for ports in (functions[function].inputs, functions[function].outputs)
            )
            out = signatures[function](**{short: tf.constant(arrays[name]) for name, short in takes.items()})
            return {name: out[short].numpy() for name, short in gives.items()}

    return run
