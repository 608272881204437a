"""Functions as a SavedModel, in TensorFlow Serving's layout."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfprior.export.checks import BundleError
from tfprior.export.functions import Function
from tfprior.export.rollout import Arrays, Run
from tfprior.image_model import ImageModel


def concrete_function(function: Function) -> Any:
    """The function as a TensorFlow graph with named inputs and outputs and a dynamic batch."""
    signature = [tf.TensorSpec((None, *port.shape), port.dtype, name=port.name) for port in function.inputs]
    names = [port.name for port in function.inputs]

    def call(*tensors: Any) -> dict[str, Any]:
        outputs = function.call(dict(zip(names, tensors, strict=True)))
        return {port.name: tf.identity(outputs[port.name], name=port.name) for port in function.outputs}

    return tf.function(call, input_signature=signature, autograph=False).get_concrete_function()


def write_saved_model(model: ImageModel, graphs: dict[str, Any], path: Path) -> None:
    """Writes every graph as a signature; `step` (with several priors `generate`) is also the default one."""
    module = tf.Module()
    # The graphs read these variables; tracking them alone keeps each weight in the file once.
    module.weights = [weight.value for weight in model.weights]
    signatures = {**graphs, "serving_default": graphs["step" if "step" in graphs else "generate"]}
    tf.saved_model.save(module, str(path), signatures=signatures)


def open_saved_model(path: Path) -> Run:
    """The signatures of a SavedModel as functions of arrays; a SavedModel is a program, and this runs it.

    Raises:
        BundleError: for what TensorFlow does not load, and from the functions for what it does not run.
    """
    with _as_bundle_error(f"TensorFlow does not load {path}"):
        signatures = tf.saved_model.load(str(path)).signatures

    def run(function: str, arrays: Arrays) -> Arrays:
        with _as_bundle_error(f"The signature {function!r} of {path} fails"):
            takes = signatures[function].structured_input_signature[1]
            out = signatures[function](**{name: tf.constant(arrays[name]) for name in takes})
            return {name: tensor.numpy() for name, tensor in out.items()}

    return run


@contextmanager
def _as_bundle_error(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # TensorFlow's errors have no class in common
        first_line = str(error).partition("\n")[0]
        raise BundleError(f"{what} ({type(error).__name__}: {first_line}).") from error
