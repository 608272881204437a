"""A token of a causal Transformer from its cache: beside its products alone, others' and ONNX Runtime's.

    pip install torch==2.13.0 transformers==5.24.0      # for this benchmark alone; without: no such column
    pip install keras-hub                               # the same
    python tests/benchmarks/transformer_steps.py              # minutes on two cores
    python tests/benchmarks/transformer_steps.py --lengths    # what the cache costs as sequences grow

Six blocks of eight heads, 256 features, 1024 in the feed-forward part, 256 values; a grid of 16×16×1. Times
are microseconds a step, that is a token of every example of the batch: the best of several whole rollouts
divided by their steps.

"products" are the matrix products of a step and nothing else (queries, keys and values in one, scores,
weighted values, the result's, two of the feed-forward part, and the head's, over the whole length of the
cache), as XLA compiles them in a loop of as many steps; the quicker of the whole batch at once and shared out
to the cores as samples are. They are taken in turn with `sample(method="cached")`, in one process. Hugging
Face's `generate` on a GPT-2 of that shape, with its cache, has a process of its own, and of all the threads
that PyTorch takes and one, what is quicker for an eighth of the tokens. So has KerasHub's, compiled by XLA
where it is quicker so. So has ONNX Runtime, without TensorFlow; "differ" counts integers that it draws
otherwise than `sample` from the same noise.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

GRID = (16, 16, 1)
LONGER = ((8, 8, 1), GRID, (16, 32, 1), (32, 32, 1))
LAYERS, HEADS, FEATURES, INNER, LEVELS = 6, 8, 256, 1024, 256
EXPORTED = ("step", "loop")

Grid = tuple[int, int, int]
Run = Callable[[], np.ndarray]


def best(runs: dict[Any, Run], repeats: int) -> dict[Any, float]:
    """Best seconds of each, taken in turn so that a slow spell of the machine meets all of them."""
    for run in runs.values():
        run()  # compiles
    times: dict[Any, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: min(taken) for name, taken in times.items()}


def microseconds(seconds: float, grid: Grid) -> float:
    return 1e6 * seconds / int(np.prod(grid))


def noise(batch: int, grid: Grid) -> np.ndarray:
    return np.random.default_rng(1).random((batch, *grid), "float32")


def causal_transformer(grid: Grid) -> Any:
    import keras

    from tfprior.distributions import Categorical
    from tfprior.priors import CausalTransformer

    keras.utils.set_random_seed(0)
    prior = CausalTransformer(
        grid,
        Categorical(LEVELS),
        num_layers=LAYERS,
        num_heads=HEADS,
        hidden_dim=FEATURES,
        mlp_dim=INNER,
    )
    generator = np.random.default_rng(0)
    for weight in prior.weights:  # zero biases would be optimised away
        weight.assign(weight.numpy() + 0.01 * generator.standard_normal(weight.shape))
    return prior


def products_in_a_loop(steps: int) -> Callable[..., Any]:
    """(x (B, D), keys and values (B, h, S, d) and kernels of each layer, kernel of the head) → the last x."""
    import tensorflow as tf

    def run(start: Any, caches: list[Any], kernels: list[Any], head: Any) -> Any:
        def step(index: Any, x: Any) -> tuple[Any, Any]:
            for (keys, values), (query_key_value, result, expand, contract) in zip(
                caches, kernels, strict=True
            ):
                query, key, value = tf.split(x @ query_key_value, 3, axis=-1)
                queries = tf.reshape(query, (-1, HEADS, 1, FEATURES // HEADS))
                seen = tf.matmul(tf.matmul(queries, keys, transpose_b=True), values)
                x = (tf.reshape(seen, (-1, FEATURES)) + key + value) @ result  # used, or they are left out
                x = x @ expand @ contract
            # Each step needs the one before; numbers stay in range, as subnormal ones are slow.
            return index + 1, start + tf.tanh(tf.reduce_max(x @ head, axis=-1, keepdims=True))

        return tf.while_loop(lambda index, x: index < steps, step, (0, start))[1]

    return tf.function(run, jit_compile=True, autograph=False)


def products_of(parts: list[np.ndarray], grid: Grid) -> Run:
    """The products of a batch in those parts, as many at once as there are cores."""
    import tensorflow as tf

    from tfprior.sharding import run_in_shards

    generator, length = np.random.default_rng(0), int(np.prod(grid))

    def normal(*shape: int, scale: float) -> Any:
        return tf.constant(scale * generator.standard_normal(shape, "float32"))

    def kernel(rows: int, columns: int) -> Any:
        return normal(rows, columns, scale=rows**-0.5)

    sizes = (FEATURES, 3 * FEATURES), (FEATURES, FEATURES), (FEATURES, INNER), (INNER, FEATURES)
    kernels = [[kernel(*size) for size in sizes] for _ in range(LAYERS)]
    head, head_dim = kernel(FEATURES, LEVELS), FEATURES // HEADS
    given = {}
    for rows in parts:
        cache = len(rows), HEADS, length, head_dim
        caches = [
            (normal(*cache, scale=head_dim**-0.5), normal(*cache, scale=length**-0.5)) for _ in range(LAYERS)
        ]
        given[rows[0]] = normal(len(rows), FEATURES, scale=1), caches
    products = products_in_a_loop(length)

    def run() -> np.ndarray:
        return run_in_shards(lambda rows: (products(*given[rows[0]], kernels, head).numpy(),), parts)[0]

    return run


def measure_tensorflow(batch: int, grid: Grid, repeats: int, folder: Path) -> dict[str, float]:
    from tfprior.sampling import sample
    from tfprior.sharding import few_sized_shards

    prior, uniforms = causal_transformer(grid), noise(batch, grid)
    runs = {
        "ours": lambda: sample(prior, batch, uniforms=uniforms, method="cached"),
        "products": products_of([np.arange(batch)], grid),
    }
    parts = few_sized_shards(batch)
    if len(parts) > 1:
        runs["products, shared out"] = products_of(parts, grid)
    np.save(folder / f"{batch}.npy", runs["ours"]())
    taken = {name: microseconds(seconds, grid) for name, seconds in best(runs, repeats).items()}
    ours = taken.pop("ours")
    return {"ours": ours, "products": min(taken.values())}


def export_prior(batch: int, grid: Grid, repeats: int, folder: Path) -> dict[str, float]:
    from tfprior import export

    export.save(causal_transformer(grid), folder / "prior", formats=("onnx",))
    return {}


def measure_onnx(batch: int, grid: Grid, repeats: int, folder: Path) -> dict[str, float]:
    from tfprior.export.client import OnnxSampler

    sampler, uniforms = OnnxSampler(folder / "prior"), noise(batch, grid)
    drawn = np.load(folder / f"{batch}.npy")

    def sampling(method: str) -> Run:
        return lambda: sampler.rollout(uniforms, None, 1.0, method).values

    runs = {method: sampling(method) for method in EXPORTED}
    differing = sum(int((run() != drawn).sum()) for run in runs.values())
    taken = {method: microseconds(seconds, grid) for method, seconds in best(runs, repeats).items()}
    if "tensorflow" in sys.modules:
        raise RuntimeError("ONNX Runtime is to be measured in a process without TensorFlow.")
    return {**taken, "differing": differing}


def measure_hugging_face(batch: int, grid: Grid, repeats: int, folder: Path) -> dict[str, float]:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    steps = int(np.prod(grid))
    config = GPT2Config(
        vocab_size=LEVELS,
        n_positions=steps + 1,
        n_embd=FEATURES,
        n_layer=LAYERS,
        n_head=HEADS,
        n_inner=INNER,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    network = GPT2LMHeadModel(config).eval()
    start = torch.zeros((batch, 1), dtype=torch.int64)
    choices = {"do_sample": True, "use_cache": True, "top_k": 0, "attention_mask": torch.ones_like(start)}

    def generating(threads: int, tokens: int) -> Run:
        def run() -> np.ndarray:
            torch.set_num_threads(threads)
            drawn = network.generate(start, min_new_tokens=tokens, max_new_tokens=tokens, **choices).numpy()
            if drawn.shape != (batch, tokens + 1):
                raise ValueError(f"generate drew the shape {drawn.shape}; expected {(batch, tokens + 1)}.")
            return drawn

        return run

    few = steps // 8
    trial = best({threads: generating(threads, few) for threads in (torch.get_num_threads(), 1)}, repeats)
    quicker = min(trial, key=trial.__getitem__)
    taken = best({"hugging face": generating(quicker, steps)}, repeats)
    return {"hugging face": microseconds(taken["hugging face"], grid), "threads": quicker}


def measure_keras_hub(batch: int, grid: Grid, repeats: int, folder: Path) -> dict[str, float]:
    import keras
    from keras_hub.models import GPT2Backbone, GPT2CausalLM

    steps = int(np.prod(grid))

    def generating(jit_compile: bool) -> Run:
        keras.utils.set_random_seed(0)
        sizes = {"hidden_dim": FEATURES, "intermediate_dim": INNER, "max_sequence_length": steps + 1}
        backbone = GPT2Backbone(LEVELS, LAYERS, HEADS, **sizes)
        network = GPT2CausalLM(backbone)
        network.compile(sampler="random", jit_compile=jit_compile)
        tokens = np.zeros((batch, steps + 1), "int32")
        given = {"token_ids": tokens, "padding_mask": tokens + (np.arange(steps + 1) < 1)}

        def run() -> np.ndarray:
            drawn = np.asarray(network.generate(given, stop_token_ids=None)["token_ids"])
            if drawn.shape != tokens.shape or not drawn[:, 1:].any():
                raise ValueError(f"generate drew {drawn}; expected {steps} tokens.")
            return drawn

        return run

    taken = best({by_xla: generating(by_xla) for by_xla in (True, False)}, repeats)
    quicker = min(taken, key=taken.__getitem__)
    return {"keras hub": microseconds(taken[quicker], grid), "by XLA": quicker}


MEASUREMENTS = {
    "tensorflow": measure_tensorflow,
    "export": export_prior,
    "onnx": measure_onnx,
    "hugging face": measure_hugging_face,
    "keras hub": measure_keras_hub,
}


def measure_apart(
    name: str, batch: int, grid: Grid, options: argparse.Namespace, folder: str
) -> dict[str, float]:
    """What a process of its own measured."""
    wanted = [name, str(batch), *map(str, grid), str(options.repeats), folder]
    command = [sys.executable, __file__, "--measure", *wanted]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    taken = json.loads(printed.splitlines()[-1])
    if taken:
        print(f"{name}, batch {batch}, {grid}: {taken}", file=sys.stderr)  # a whole run takes minutes
    return taken


PEERS = {"hugging face": ("torch", "transformers"), "keras hub": ("keras_hub",)}
"""What each of them imports."""


def installed(name: str) -> bool:
    return all(importlib.util.find_spec(package) is not None for package in PEERS[name])


def compare(options: argparse.Namespace, folder: str) -> Any:
    """Ours beside the others, a row for each batch."""
    from rich.table import Table

    table = Table(title=f"Causal Transformer, {size_of(GRID)}: µs a step")
    for heading in (
        *("batch", "products", "ours", "ours / products", "Hugging Face", "Hugging Face / ours"),
        *("KerasHub", "KerasHub / ours"),
        *("ONNX step", "ONNX step / ours", "ONNX loop", "ONNX loop / ours", "differ"),
    ):
        table.add_column(heading, justify="right")
    if options.exported:
        measure_apart("export", 1, GRID, options, folder)
    for batch in options.batches:
        taken = measure_apart("tensorflow", batch, GRID, options, folder)
        for peer in filter(installed, PEERS):
            taken |= measure_apart(peer, batch, GRID, options, folder)
        if batch in options.exported:
            taken |= measure_apart("onnx", batch, GRID, options, folder)
        cells = [f"{taken['products']:.0f}", f"{taken['ours']:.0f}", ratio(taken, "ours", "products")]
        for name in (*PEERS, *EXPORTED):
            cells += [f"{taken[name]:.0f}" if name in taken else "–", ratio(taken, name, "ours")]
        table.add_row(str(batch), *cells, f"{taken['differing']:.0f}" if "differing" in taken else "–")
    return table


def lengthen(options: argparse.Namespace, folder: str) -> Any:
    """Ours as sequences grow, a row for each length."""
    from rich.table import Table

    batch = 16
    table = Table(title=f"Causal Transformer, batch {batch}: µs a step")
    for heading in ("tokens", "MB of caches", "products", "ours", "ours / products"):
        table.add_column(heading, justify="right")
    for grid in LONGER:
        tokens = int(np.prod(grid))
        taken = measure_apart("tensorflow", batch, grid, options, folder)
        caches = 4e-6 * 2 * LAYERS * FEATURES * batch * tokens
        cells = [f"{taken['products']:.0f}", f"{taken['ours']:.0f}", ratio(taken, "ours", "products")]
        table.add_row(str(tokens), f"{caches:.0f}", *cells)
    return table


def ratio(taken: dict[str, float], name: str, beside: str) -> str:
    return f"{taken[name] / taken[beside]:.2f}×" if name in taken else "–"


def size_of(grid: Grid) -> str:
    return f"{LAYERS} blocks, {HEADS} heads, {FEATURES} features, {'×'.join(map(str, grid))}, {LEVELS} levels"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--exported", type=int, nargs="*", default=[1, 16], help="batches for ONNX Runtime")
    parser.add_argument("--lengths", action="store_true", help="ours at batch 16 and four lengths, alone")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=7, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, batch, height, width, channels, repeats, folder = options.measure
        grid = int(height), int(width), int(channels)
        print(json.dumps(MEASUREMENTS[name](int(batch), grid, int(repeats), Path(folder))))
        return

    from rich.console import Console

    with tempfile.TemporaryDirectory() as folder:
        Console(width=140, highlight=False).print((lengthen if options.lengths else compare)(options, folder))


if __name__ == "__main__":
    main()
