"""All functions of a bundle in one LiteRT file, each a signature, by LiteRT's own operators alone."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfprior.export.arrays import Arrays, Run
from tfprior.export.checks import as_bundle_error
from tfprior.export.conversion import ConversionError
from tfprior.export.manifest import Manifest
from tfprior.export.ports import argument

FILE = "litert/model.tflite"


def write_litert(saved_model: Path, functions: Iterable[str], file: Path) -> None:
    """Converts the signatures of a SavedModel; they share their weights.

    Raises:
        ConversionError: for an operator that LiteRT has not.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=list(functions))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        content = converter.convert()
    except Exception as error:  # the converter's errors have no class in common
        first_line = str(error).strip().partition("\n")[0][:300]
        raise ConversionError(f"LiteRT does not take the functions ({first_line}).") from error
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)


def open_litert(path: Path, manifest: Manifest, threads: int = 1) -> Run:
    """The signatures of a bundle's LiteRT file as functions of arrays.

    Raises:
        BundleError: for a file that LiteRT does not load, and from the functions for what it does not run.
    """
    from ai_edge_litert.interpreter import Interpreter

    with as_bundle_error(f"LiteRT does not load {path / FILE}"):
        interpreter = Interpreter(str(path / FILE), num_threads=threads)
    runners: dict[str, Any] = {}

    def run(function: str, arrays: Arrays) -> Arrays:
        with as_bundle_error(f"The signature {function!r} of {path / FILE} fails"):
            if function not in runners:
                runners[function] = interpreter.get_signature_runner(function)
            described = manifest.functions[function]
            out = runners[function](**{argument(port.name): arrays[port.name] for port in described.inputs})
            return {port.name: out[argument(port.name)] for port in described.outputs}

    return run
