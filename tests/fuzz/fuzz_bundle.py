"""Damaged and hostile bundles: every one is refused in a sentence, or draws what it should.

    python tests/fuzz/fuzz_bundle.py --rounds 2000

Three kinds of damage are done to a small bundle of ONNX graphs, and one image is drawn from each:

- bytes: of any file, as a disk or a network does. Whatever is drawn must be what the whole bundle draws.
- fields: of the manifest, its digest right again. What is drawn must be of the shape and levels it now says.
- graphs: bytes and nodes of a graph, bytes of the weights, hashes right again. What is drawn must lie within
  the levels. This runs in a process of its own with bounded memory, since a graph might take the runtime down
  with it.
"""

import argparse
import functools
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from bundle_files import replace_file  # noqa: E402
from mutations import mutated, outcome  # noqa: E402

from tfprior.export.checks import BundleError  # noqa: E402
from tfprior.export.client import OnnxSampler  # noqa: E402
from tfprior.export.manifest_file import sealed  # noqa: E402

OUTCOMES = ("refused", "right", "wrong", "raw", "hung")
SECONDS = 10
MEMORY = 8 << 30
ODD_VALUES = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    7,
    2**31,
    2**63,
    10**400,
    1e300,
    -0.5,
    "",
    "batch",
    "\ud800",
    [],
    {},
)
Round = Callable[[Path, np.random.Generator], str]


def draw(bundle: Path, method: str) -> np.ndarray:
    """One image, or for "log_prob" the likelihood of a black one."""
    sampler = OnnxSampler(bundle, threads=1)
    condition = sampler.prior.condition
    given = {"condition": np.zeros(1, "int32")} if condition is not None and condition.num_classes else {}
    if method == "log_prob":
        return sampler.log_prob(np.zeros((1, *sampler.grid_shape), "int32"), **given)
    return sampler.sample(1, seed=0, method=method, **given)


def is_plausible(bundle: Path, method: str) -> bool:
    """Whether what is drawn is what the bundle's own manifest promises."""
    drawn, prior = draw(bundle, method), json.loads((bundle / "manifest.json").read_text())["priors"][0]
    if method == "log_prob":
        return drawn.shape == (1,) and bool(np.isfinite(drawn).all())
    within = drawn.min() >= 0 and drawn.max() < prior["num_levels"]
    return drawn.shape == (1, *prior["grid_shape"]) and drawn.dtype == np.int32 and bool(within)


def became(draw_is_right: Callable[[], bool]) -> str:
    """One of OUTCOMES."""
    kind, result = outcome(draw_is_right, (BundleError,), SECONDS)
    if kind == "raw":
        print(f"raw: {result!r}"[:500], file=sys.stderr)
    return kind if kind != "returned" else "right" if result else "wrong"


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    return mutated(content, random.Random(int(rng.integers(2**32))))


def method_of(file: Path) -> str:
    """The method that runs a graph."""
    return {"sample": "loop", "log_prob": "log_prob", "step": "step", "initial_state": "step"}.get(
        file.stem, "pair"
    )


# Kinds of damage


def damage_bytes(bundle: Path, rng: np.random.Generator, expected: dict[str, np.ndarray]) -> str:
    files = sorted(file for file in bundle.rglob("*") if file.is_file())
    file = bundle / "manifest.json" if rng.random() < 0.5 else files[rng.integers(len(files))]
    before, after = file.read_bytes(), damaged(file.read_bytes(), rng)
    method = method_of(file)
    file.write_bytes(after)
    kind = became(lambda: np.array_equal(draw(bundle, method), expected[method]))
    file.write_bytes(before)
    return "wrong" if kind == "right" else kind  # every changed byte is noticed


def damage_fields(bundle: Path, rng: np.random.Generator) -> str:
    file = bundle / "manifest.json"
    before = file.read_text()
    fields = json.loads(before)
    for _ in range(rng.integers(1, 3)):
        change_field(fields, rng)
    try:
        text = sealed(fields)
    except (ValueError, RecursionError):  # no JSON can say it
        return "refused"
    file.write_text(text)
    kind = became(lambda: is_plausible(bundle, "pair"))
    file.write_text(before)
    return kind


def change_field(fields: Any, rng: np.random.Generator) -> None:
    """Changes a value somewhere inside, in place: each step down chooses one of the parts."""
    keys = list(fields) if isinstance(fields, dict) else list(range(len(fields)))
    if not keys:
        return
    key = keys[rng.integers(len(keys))]
    if isinstance(fields[key], dict | list) and fields[key] and rng.random() < 0.85:
        change_field(fields[key], rng)
        return
    match rng.integers(6):
        case 0:
            del fields[key]
        case 1 if isinstance(fields[key], int | float):
            fields[key] += int(rng.integers(-2, 3))
        case 2:
            fields[key] = functools.reduce(
                lambda inner, _: [inner], range(rng.integers(1, 2000)), fields[key]
            )
        case 3 if isinstance(fields, list):
            fields.append(fields[key])
        case 4 if isinstance(fields, dict):
            other = keys[rng.integers(len(keys))]
            fields[key], fields[other] = fields[other], fields[key]
        case _:
            fields[key] = ODD_VALUES[rng.integers(len(ODD_VALUES))]


def damage_graph(bundle: Path, rng: np.random.Generator) -> str:
    files = sorted((bundle / "onnx").iterdir())
    file = files[rng.integers(len(files))]
    before, manifest = file.read_bytes(), (bundle / "manifest.json").read_bytes()
    by_bytes = file.suffix != ".onnx" or rng.random() < 0.3
    replace_file(bundle, f"onnx/{file.name}", damaged(before, rng) if by_bytes else rewired(before, rng))
    kind = became(lambda: is_plausible(bundle, method_of(file)))
    file.write_bytes(before)
    (bundle / "manifest.json").write_bytes(manifest)
    return kind


def rewired(content: bytes, rng: np.random.Generator) -> bytes:
    """A graph of other nodes, edges, attributes or constants, still well-formed as a file."""
    import onnx

    model = onnx.load_from_string(content)
    graphs = list(_graphs(model.graph))
    for _ in range(rng.integers(1, 4)):
        graph = graphs[rng.integers(len(graphs))]
        nodes, weights = list(graph.node), list(graph.initializer)
        if not nodes:
            continue
        node, other = (nodes[rng.integers(len(nodes))] for _ in range(2))
        choice = rng.integers(7)
        if choice == 0:
            node.op_type = other.op_type
        elif choice == 1 and node.input and other.output:
            node.input[rng.integers(len(node.input))] = other.output[0]
        elif choice == 2 and node.attribute:
            change_attribute(node.attribute[rng.integers(len(node.attribute))], rng)
        elif choice == 3:
            graph.node.remove(node)
        elif choice == 4 and node.attribute:
            del node.attribute[rng.integers(len(node.attribute))]
        elif weights:
            change_constant(weights[rng.integers(len(weights))], rng)
    return model.SerializeToString()


def change_attribute(attribute: Any, rng: np.random.Generator) -> None:
    import onnx

    odd = [0, 1, -1, 2, -5, 100, 2**31 - 1, -(2**63), 2**63 - 1]
    number = odd[rng.integers(len(odd))]
    if attribute.type == onnx.AttributeProto.INT:
        attribute.i = number
    elif attribute.type == onnx.AttributeProto.INTS and attribute.ints:
        attribute.ints[rng.integers(len(attribute.ints))] = number
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = float(rng.choice([0, -1, np.nan, np.inf, 1e38]))
    elif attribute.type == onnx.AttributeProto.TENSOR:
        change_constant(attribute.t, rng)


def change_constant(tensor: Any, rng: np.random.Generator) -> None:
    from onnx import numpy_helper

    if rng.random() < 0.2:
        tensor.dims.append(int(rng.integers(0, 2**40)))
        return
    if tensor.external_data:  # where it lies among the shared weights
        places = ["0", "-1", "64", "4096", "99999999999999999999", "../weights.bin", "/etc/passwd", ""]
        entry = tensor.external_data[rng.integers(len(tensor.external_data))]
        entry.value = places[rng.integers(len(places))]
        return
    try:
        array = numpy_helper.to_array(tensor).copy()
    except ValueError:  # its sizes were changed before
        return
    if array.size:
        odd = [0, -1, 1, 2**31 - 1, -(2**31)] if array.dtype.kind in "iu" else [0, np.nan, np.inf, -1e38]
        array.flat[rng.integers(array.size)] = odd[rng.integers(len(odd))]
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


# Counting


def fuzz(bundle: Path, kind: str, rounds: int, seed: int) -> Counter[str]:
    """Damages copies of `bundle`, which stays as it is, and counts what became of them."""
    if kind == "graphs":
        return _fuzz_graphs(bundle, rounds, seed)
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(bundle, Path(folder) / "bundle"))
        if kind == "bytes":
            expected = {method: draw(copied, method) for method in ("pair", "step", "loop", "log_prob")}
            run: Round = functools.partial(damage_bytes, expected=expected)
        else:
            run = damage_fields
        return Counter(run(copied, np.random.default_rng([seed, index])) for index in range(rounds))


def _fuzz_graphs(bundle: Path, rounds: int, seed: int) -> Counter[str]:
    """In processes of their own, each going on until it is done, dead or too slow."""
    found: Counter[str] = Counter()
    while (done := found.total()) < rounds:
        command = [sys.executable, str(Path(__file__)), "--inside", str(bundle)]
        command += ["--rounds", str(rounds), "--seed", str(seed), "--first", str(done)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            found.update(line.strip() for line in process.stdout)
        code = process.returncode
        if code and found.total() < rounds:
            number = found.total()
            print(f"graphs, round {number} of seed {seed}: the process ended with {code}", file=sys.stderr)
            found["hung" if code == -signal.SIGPROF else "raw"] += 1
    return found


def inside(bundle: Path, rounds: int, seed: int, first: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(bundle, Path(folder) / "bundle"))
        for index in range(first, rounds):
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # ends what no Python handler can interrupt
            print(damage_graph(copied, np.random.default_rng([seed, index])), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=("bytes", "fields", "graphs"), action="append")
    parser.add_argument(
        "--bundle", type=Path, help="an ONNX bundle of a prior; a tiny one is made by default"
    )
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        inside(arguments.inside, arguments.rounds, arguments.seed, arguments.first)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        bundle = arguments.bundle
        if bundle is None:
            from small_bundles import save_prior

            bundle = save_prior(Path(folder) / "prior")
        bad = 0
        for kind in arguments.kind or ("bytes", "fields", "graphs"):
            found = fuzz(bundle, kind, arguments.rounds, arguments.seed)
            print(f"{kind:7}", *(f"{name} {found[name]}" for name in OUTCOMES), sep="  ", flush=True)
            bad += found["wrong"] + found["raw"] + found["hung"]
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
