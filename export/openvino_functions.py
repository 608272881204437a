"""The ONNX functions of a bundle, run by OpenVINO."""

from pathlib import Path
from typing import Any

from tfprior.export.arrays import Arrays, Run
from tfprior.export.checks import as_bundle_error
from tfprior.export.manifest import Manifest
from tfprior.export.onnx_functions import OnnxFunctions

SETTINGS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    "INFERENCE_NUM_THREADS": 1,
}
"""Left to itself OpenVINO computes in bfloat16 where the processor can, in int8 where weights are, and draws
other integers."""


def open_openvino(path: Path, manifest: Manifest) -> Run:
    """The graphs of a bundle as functions of arrays, each compiled when it is first called.

    Raises:
        BundleError: from the functions, for graphs that were changed or are hostile, and what OpenVINO does
            not run.
    """
    import openvino

    core, compiled = openvino.Core(), dict[str, Any]()
    graphs = OnnxFunctions(path)

    def run(function: str, arrays: Arrays) -> Arrays:
        described = manifest.functions[function]
        file = None if function in compiled else graphs.checked_graph(function)
        with as_bundle_error(f"OpenVINO does not run {function!r} of {path}"):
            if file is not None:
                compiled[function] = core.compile_model(str(file), "CPU", SETTINGS)
            out = compiled[function]({port.name: arrays[port.name] for port in described.inputs})
            return {port.name: out[port.name] for port in described.outputs}

    return run
