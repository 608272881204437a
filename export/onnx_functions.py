"""The ONNX functions of a bundle, run by name: NumPy and ONNX Runtime alone."""

from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime

from tfprior.export.arrays import Arrays
from tfprior.export.checks import BundleError
from tfprior.export.graph_check import FILE, check_graph
from tfprior.export.manifest_file import checked_file, load_manifest
from tfprior.export.ports import WORDS, FunctionDescription, PortDescription

Ports = dict[str, tuple[str, tuple[Any, ...]]]
"""name → type and shape, as ONNX Runtime says them."""
TYPES = {"float32": "tensor(float)", "int32": "tensor(int32)"}


class Opened(NamedTuple):
    """A graph that has the ports of its manifest; a call chooses one size for the axes `chosen` of inputs."""

    session: Any
    inputs: tuple[str, ...]
    outputs: tuple[PortDescription, ...]
    chosen: tuple[tuple[str, int], ...]


class OnnxFunctions:
    """Named arrays in, named arrays out; a file is checked against the manifest before it is opened.

    Args:
        path: the bundle.
        threads: for a single operation.

    Raises:
        BundleError: for a bundle that is missing, damaged or newer.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        self.path = Path(path)
        self.manifest = load_manifest(path)
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.log_severity_level = 4  # its errors are raised, and need no second telling
        self._opened: dict[str, Opened] = {}
        self._checked_bytes: int | None = None

    def run(self, function: str, arrays: Arrays) -> Arrays:
        """Runs one function; arrays that it does not take are left out.

        Raises:
            BundleError: for a graph that fails, or gives arrays of another shape than the manifest says.
            ValueError: for an input that is missing.
        """
        session, inputs, outputs, chosen = self._opened.get(function) or self.open(function)
        try:
            feeds = {name: arrays[name] for name in inputs}
        except KeyError as error:
            raise ValueError(
                f"The function {function!r} takes {', '.join(inputs)}; got no {error}."
            ) from None
        if len({feeds[name].shape[axis : axis + 1] for name, axis in chosen}) > 1:
            self._check_feeds(function, feeds)
        names = [port.name for port in outputs]
        try:
            results = session.run(names, feeds)
        except Exception as error:  # ONNX Runtime's errors have no class in common
            self._check_feeds(function, feeds)
            raise BundleError(
                f"The function {function!r} of the bundle {self.path} fails ({_first_line(error)})."
            ) from error
        batch = len(feeds[inputs[0]])
        for port, array in zip(outputs, results, strict=True):
            if not port.fits(array.shape, batch):
                raise BundleError(
                    f"The function {function!r} gives {port.name} of shape {array.shape}; expected "
                    f"{(batch, *port.sizes)}: the bundle does not compute what its manifest says; "
                    "do not use it."
                )
        return dict(zip(names, results, strict=True))

    def _check_feeds(self, function: str, feeds: Arrays) -> None:
        """Raises ValueError for an input of another type or shape than the manifest says."""
        ports = self.manifest.functions[function].inputs
        batch, sizes = len(feeds[ports[0].name]), dict[str, int]()
        for port in ports:
            array = feeds[port.name]
            fits = array.dtype == port.dtype and port.fits(array.shape, batch)
            lengths = zip(array.shape[1:], port.sizes, strict=False)
            words = {size: length for length, size in lengths if isinstance(size, str)}
            if not fits or any(sizes.setdefault(word, length) != length for word, length in words.items()):
                expected = (
                    batch,
                    *(sizes.get(size, size) if isinstance(size, str) else size for size in port.sizes),
                )
                raise ValueError(
                    f"The function {function!r} got {port.name} as {array.dtype} {array.shape}; expected "
                    f"{port.dtype} {expected}."
                )

    def check_file(self, function: str) -> Path:
        """The file of a function's graph, its size and hash checked.

        Raises:
            BundleError: for a file that is missing or changed.
        """
        return checked_file(self.path, self.manifest, f"onnx/{function}.onnx")

    def checked_graph(self, function: str) -> Path:
        """The file of a function's graph, read for what no export contains.

        Raises:
            BundleError: for a file that is missing, changed, no graph, or hostile.
        """
        file = self.check_file(function)
        check_graph(file, self._shared_bytes())
        return file

    def _shared_bytes(self) -> int:
        """Those of the weights that graphs share, their file checked."""
        if self._checked_bytes is None:
            name = f"onnx/{FILE}"
            listed = any(entry.path == name for entry in self.manifest.files)
            self._checked_bytes = checked_file(self.path, self.manifest, name).stat().st_size if listed else 0
        return self._checked_bytes

    def open(self, function: str) -> Opened:
        """Loads a function's graph and compares its ports with the manifest's, once.

        Raises:
            BundleError: for a file that is missing, changed, no graph, hostile, or with other ports.
        """
        if function not in self._opened:
            file = self.checked_graph(function)
            try:
                session = onnxruntime.InferenceSession(
                    str(file),
                    self._options,
                    providers=["CPUExecutionProvider"],
                    enable_fallback=0,  # which prints, and tries the same again
                )
                found = _ports(session.get_inputs()), _ports(session.get_outputs())
            except Exception as error:  # as above
                raise BundleError(f"ONNX Runtime does not load {file} ({_first_line(error)}).") from error
            described = self.manifest.functions[function]
            _check_ports(file, found, described)
            self._opened[function] = Opened(
                session,
                tuple(port.name for port in described.inputs),
                described.outputs,
                tuple(
                    (port.name, port.shape.index(word))
                    for port in described.inputs
                    for word in WORDS
                    if word in port.shape
                ),
            )
        return self._opened[function]


def _ports(values: list[Any]) -> Ports:
    return {value.name: (value.type, tuple(value.shape)) for value in values}


def _check_ports(file: Path, found: tuple[Ports, Ports], described: FunctionDescription) -> None:
    for side, ports, actual in (
        ("inputs", described.inputs, found[0]),
        ("outputs", described.outputs, found[1]),
    ):
        expected = {port.name: (TYPES[port.dtype], port.shape) for port in ports}
        if set(actual) != set(expected) or not all(_fits(actual[name], expected[name]) for name in expected):
            raise BundleError(
                f"The graph {file} has the {side} {_words(actual)}; expected {_words(expected)}, as its "
                "manifest says: the bundle was changed; do not use it."
            )


def _fits(actual: tuple[str, tuple[Any, ...]], expected: tuple[str, tuple[Any, ...]]) -> bool:
    """Sizes that a graph does not tell fit any: what `run` gets is checked again."""
    if actual[0] != expected[0] or len(actual[1]) != len(expected[1]):
        return False
    return all(
        not isinstance(one, int) or one == other for one, other in zip(actual[1], expected[1], strict=True)
    )


def _words(ports: Ports) -> str:
    return _short(", ".join(f"{name} {kind} {shape}" for name, (kind, shape) in sorted(ports.items())))


def _first_line(error: Exception) -> str:
    return _short(ascii(str(error).strip().partition("\n")[0])[1:-1])


def _short(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:299]}…"
