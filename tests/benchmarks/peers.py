"""Samplers side by side on the CPU: ours, PyTorch's naive loop and TensorFlow Probability's PixelCNN.

    pip install torch==2.13.0   # for one row alone
    python tests/benchmarks/peers.py    # about half an hour on two cores; --batches 1 16: a third of that

Each network is measured in a process of its own, untrained, with the threads its library takes by default,
PyTorch with one where its forward pass is quicker so:

- our GatedPixelCNN, every sampling method on the same uniforms, and how many integers differ between them;
- the same network as public PyTorch projects write it, run in inference mode, anew for every pixel;
- our PixelCNN++ and `tfp.distributions.PixelCNN`, of the same stages, blocks and filters, both without weight
  normalization; TFP's `sample` runs its network anew for every pixel.

Forward passes and our samplers are taken in turn, the best of several counts. What runs a network for every
pixel takes minutes and runs once, whole, after forward passes have warmed the process up; only what took less
than 20 s runs again. TFP's graph is traced before; `full` compiles while it is timed. Forward passes are each
network's own, in ours the quicker of with and without XLA. A naive sampler costs hardly more of them than
there are pixels: where it shows many more, other processes kept the cores busy.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

LEVELS = 256
METHODS = ("cached", "parallel", "parallel_rows")
"""Ours besides "full"; the first is what all others are compared with."""
RUNS_AGAIN_BELOW = 20.0
"""Seconds."""
PIP = "pip install torch==2.13.0"

Run = Callable[[], np.ndarray]


class Network(NamedTuple):
    """What to measure: quick samplers repeatedly, naive ones, which run the network for every pixel, not."""

    parameters: int
    forward: dict[str, Run]
    quick: dict[str, Run]
    naive: dict[str, Run]


def gated(batch: int, options: argparse.Namespace) -> Network:
    from tfprior.distributions import Categorical
    from tfprior.priors import GatedPixelCNN

    prior = GatedPixelCNN(
        (*options.grid, 1), Categorical(LEVELS), filters=options.filters, num_layers=options.layers
    )
    return ours(prior, batch, options.methods, [] if "full" in options.skip else ["full"])


def pixelcnn_pp(batch: int, options: argparse.Namespace) -> Network:
    from tfprior.distributions import DiscretizedLogisticMixture
    from tfprior.priors import PixelCNNPP

    prior = PixelCNNPP(
        (*options.grid, 1),
        DiscretizedLogisticMixture(options.components),
        filters=options.stage_filters,
        num_layers=options.stage_layers,
        num_stages=options.stages,
        weight_norm=False,
    )
    return ours(prior, batch, options.methods, [])


def ours(prior: Any, batch: int, quick: list[str], naive: list[str]) -> Network:
    import tensorflow as tf

    from tfprior.sampling import sample

    generator = np.random.default_rng(0)
    for weight in prior.weights:  # zero biases would hide an error in them
        weight.assign(weight.numpy() + 0.01 * generator.standard_normal(weight.shape))
    grid = prior.grid_shape
    uniforms = generator.random((batch, *grid[:2], prior.distribution.num_uniforms(grid[2])), "float32")
    images = tf.constant(random_images(batch, grid))
    plain = tf.function(lambda x: prior(x), autograph=False)
    xla = tf.function(lambda x: prior(x), autograph=False, jit_compile=True)

    def sampler(method: str) -> Run:
        return lambda: sample(prior, batch, uniforms=uniforms, method=method)

    return Network(
        prior.count_params(),
        {"forward": lambda: plain(images).numpy(), "forward, XLA": lambda: xla(images).numpy()},
        {method: sampler(method) for method in quick},
        {method: sampler(method) for method in naive},
    )


def pytorch(batch: int, options: argparse.Namespace) -> Network:
    import torch

    torch.manual_seed(0)
    height, width = options.grid
    network = pytorch_gated_pixel_cnn(options.filters, options.layers).eval()
    given = torch.from_numpy(random_images(batch, (1, height, width)))

    def predict(images: torch.Tensor) -> torch.Tensor:
        logits = network(images)
        if network.training or not logits.is_inference():
            raise RuntimeError("The PyTorch network is to be measured in inference mode.")
        return logits

    @torch.inference_mode()
    def forward() -> np.ndarray:
        return predict(given).numpy()

    @torch.inference_mode()
    def sample() -> np.ndarray:
        images = torch.zeros((batch, 1, height, width), dtype=torch.int64)
        for y in range(height):
            for x in range(width):
                logits = predict(images)
                images[:, :, y, x] = torch.multinomial(logits[:, :, y, x].softmax(1), 1)
        return images.permute(0, 2, 3, 1).numpy()

    parameters = sum(weight.numel() for weight in network.parameters())
    threads = set_quicker_threads(forward)
    return Network(parameters, {"forward": forward}, {}, {f"naive, threads: {threads}": sample})


def set_quicker_threads(forward: Run) -> int:
    """Has PyTorch use all threads that it takes by default, or one where small operations are quicker so."""
    import torch

    def on(threads: int) -> Run:
        def run() -> np.ndarray:
            torch.set_num_threads(threads)
            return forward()

        return run

    taken = best({threads: on(threads) for threads in (torch.get_num_threads(), 1)}, repeats=5)
    quicker = min(taken, key=taken.__getitem__)
    torch.set_num_threads(quicker)
    return quicker


def pytorch_gated_pixel_cnn(filters: int, layers: int) -> Any:
    """The network of arXiv:1606.05328 in PyTorch: (B, 1, H, W) integers → (B, LEVELS, H, W) logits."""
    import torch
    from torch import nn

    def gate(x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, 1)
        return a.tanh() * b.sigmoid()

    class MaskedConv(nn.Conv2d):
        """Half of a masked convolution, cut to shape; only type A has its last row or pixel left to mask."""

        def __init__(self, channels: int, size: tuple[int, int], mask_type: str) -> None:
            padding = (size[0] - 1, size[1] // 2 if size[0] > 1 else size[1] - 1)
            super().__init__(channels, 2 * filters, size, padding=padding)
            if mask_type == "A":
                last = self.weight[:, :, -1] if size[0] > 1 else self.weight[:, :, :, -1]
                nn.init.zeros_(last)  # once: in inference nothing moves it

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)[:, :, : x.shape[2], : x.shape[3]]

    class GatedBlock(nn.Module):
        def __init__(self, channels: int, kernel_size: int, mask_type: str) -> None:
            super().__init__()
            taps = kernel_size // 2 + 1
            self.is_first = mask_type == "A"
            self.rows = MaskedConv(channels, (taps, kernel_size), mask_type)
            self.columns = MaskedConv(channels, (1, taps), mask_type)
            self.link = nn.Conv2d(2 * filters, 2 * filters, 1)
            self.residual = nn.Conv2d(filters, filters, 1)

        def forward(self, v: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, ...]:
            v = self.rows(v)
            gated = gate(self.columns(h) + self.link(v))
            residual = self.residual(gated)
            return gate(v), residual if self.is_first else residual + h, gated

    class GatedPixelCNN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first, others = GatedBlock(1, 7, "A"), [GatedBlock(filters, 3, "B") for _ in range(layers - 1)]
            self.blocks = nn.ModuleList([first, *others])
            self.skips = nn.Conv2d(layers * filters, filters, 1)
            self.hidden = nn.Conv2d(filters, filters, 1)
            self.head = nn.Conv2d(filters, LEVELS, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            v = h = images.float() * (2 / (LEVELS - 1)) - 1
            skips = []
            for block in self.blocks:
                v, h, skip = block(v, h)
                skips.append(skip)
            h = h + self.skips(torch.cat(skips, 1))
            return self.head(self.hidden(h.relu()).relu())

    return GatedPixelCNN()


def tfp(batch: int, options: argparse.Namespace) -> Network:
    import tensorflow as tf
    import tensorflow_probability

    grid = (*options.grid, 1)
    peer = tensorflow_probability.distributions.PixelCNN(
        grid,
        num_resnet=options.stage_layers,
        num_hierarchies=options.stages,
        num_filters=options.stage_filters,
        num_logistic_mix=options.components,
        use_weight_norm=False,  # it works in eager mode only
    )
    images = tf.constant(random_images(batch, grid), "float32")
    network = tf.function(lambda x: peer.network(x * (2 / (LEVELS - 1)) - 1, training=False), autograph=False)
    draw = tf.function(lambda: peer.sample(batch), autograph=False).get_concrete_function()

    def forward() -> np.ndarray:
        return np.concatenate([params.numpy().ravel() for params in network(images)])

    parameters = sum(int(np.prod(weight.shape)) for weight in peer.network.trainable_weights)
    return Network(parameters, {"forward": forward}, {}, {"sample": lambda: draw().numpy()})


def random_images(batch: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, LEVELS, (batch, *shape)).astype("int32")


def measure(network: Network, shape: tuple[int, ...], repeats: int) -> dict[str, Any]:
    """Seconds of a forward pass and of every sampler, and how many integers each draws unlike the first."""
    drawn, skipped = run_available(network.quick)
    taken = best({**network.forward, **{name: network.quick[name] for name in drawn}}, repeats)
    for name, run in network.naive.items():
        drawn[name], taken[name] = timed(run)
        if taken[name] < RUNS_AGAIN_BELOW:
            taken[name] = min(taken[name], timed(run)[1])
    for name, values in drawn.items():
        check(name, values, shape)
    first = next(iter(drawn.values()))
    return {
        "parameters": network.parameters,
        "forward": min(taken[name] for name in network.forward),
        "seconds": {name: taken[name] for name in drawn},
        "differing": {name: int((values != first).sum()) for name, values in drawn.items()},
        "skipped": skipped,
    }


def timed(run: Run) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    values = run()
    return values, time.perf_counter() - start


def run_available(samplers: dict[str, Run]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What each sampler draws, and why others do not: methods that this version or prior lacks say so."""
    drawn, skipped = {}, {}
    for name, run in samplers.items():
        try:
            drawn[name] = run()
        except ValueError as error:
            if not drawn:
                raise  # there is nothing to compare with
            skipped[name] = str(error)
    return drawn, skipped


def best(runs: dict[Any, Run], repeats: int) -> dict[Any, float]:
    """Best time of each, taken in turn so that a slow spell of the machine meets all of them."""
    for run in runs.values():
        run()  # compiles
    times: dict[Any, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(timed(run)[1])
    return {name: min(taken) for name, taken in times.items()}


def check(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raises unless these are drawn images of whole numbers from 0 to LEVELS − 1."""
    if values.shape != shape:
        raise ValueError(f"{name} drew the shape {values.shape}; expected {shape}.")
    if not np.isin(values, np.arange(LEVELS)).all():
        raise ValueError(f"{name} drew values that are no whole numbers from 0 to {LEVELS - 1}.")
    if (values == values.flat[0]).all():
        raise ValueError(f"{name} drew one value throughout.")


class Peer(NamedTuple):
    title: str
    build: Callable[[int, argparse.Namespace], Network]
    beside: str
    """Ours that it is compared with."""


PEERS = {
    "gated": Peer("tfprior GatedPixelCNN", gated, "gated"),
    "pytorch": Peer("PyTorch Gated PixelCNN", pytorch, "gated"),
    "pixelcnn_pp": Peer("tfprior PixelCNNPP", pixelcnn_pp, "pixelcnn_pp"),
    "tfp": Peer("TFP PixelCNN", tfp, "pixelcnn_pp"),
}


def measure_apart(name: str, batch: int) -> dict[str, Any]:
    """What a process of its own measured, or {"failed": why}."""
    if name == "pytorch" and importlib.util.find_spec("torch") is None:
        return {"failed": f"not installed: {PIP}"}
    run = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--measure", name, str(batch)],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
    )
    if run.returncode:
        print(run.stderr, file=sys.stderr)
        return {"failed": f"stopped with exit code {run.returncode}", "error": True}
    return json.loads(run.stdout.splitlines()[-1])


def rows(title: str, result: dict[str, Any], reference: float | None) -> list[list[str]]:
    """The rows of one network in the report; `reference`: seconds of ours that it is compared with."""
    if "failed" in result:
        return [[title, "", result["failed"]]]
    return [
        [
            title,
            f"{result['parameters']:,}",
            name,
            f"{result['forward']:.4f}",
            f"{seconds:.3f}",
            f"{seconds / result['forward']:.1f}",
            f"{seconds / reference:.2f}×" if reference else "–",
            str(result["differing"][name]) if len(result["seconds"]) > 1 else "–",
        ]
        for name, seconds in result["seconds"].items()
    ]


def report(batch: int, results: dict[str, dict[str, Any]], grid: list[int]) -> Any:
    from rich.table import Table

    size = f"{grid[0]}×{grid[1]}×1, {LEVELS} levels"
    table = Table(title=f"A batch of {batch}, {size}, on {os.cpu_count()} cores")
    table.add_column("network", no_wrap=True)
    table.add_column("parameters", justify="right")
    table.add_column("sampler", overflow="fold")
    for heading in ("forward pass s", "batch s", "forward passes", "times ours", "integers that differ"):
        table.add_column(heading, justify="right")
    for name, result in results.items():
        seconds = results.get(PEERS[name].beside, {}).get("seconds", {})
        for line in rows(PEERS[name].title, result, next(iter(seconds.values()), None)):
            table.add_row(*line)
        table.add_section()
    return table


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--grid", type=int, nargs=2, default=[28, 28], metavar=("H", "W"))
    parser.add_argument("--filters", type=int, default=64, help="of the Gated PixelCNNs")
    parser.add_argument("--layers", type=int, default=12, help="of the Gated PixelCNNs")
    parser.add_argument("--stage-filters", type=int, default=32, help="of PixelCNN++")
    parser.add_argument("--stage-layers", type=int, default=1, help="gated blocks of a stage of PixelCNN++")
    parser.add_argument("--stages", type=int, default=3, help="of PixelCNN++")
    parser.add_argument("--components", type=int, default=5, help="logistics of PixelCNN++")
    parser.add_argument(
        "--methods", nargs="+", default=METHODS, help="of ours, the one to compare with first"
    )
    parser.add_argument("--skip", nargs="+", choices=[*PEERS, "full"], default=[])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--measure", nargs=2, metavar=("PEER", "BATCH"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    if options.measure:
        name, batch = options.measure[0], int(options.measure[1])
        network = PEERS[name].build(batch, options)
        print(json.dumps(measure(network, (batch, *options.grid, 1), options.repeats)))
        return

    from rich.console import Console

    console, errors = Console(width=140, highlight=False), 0
    for batch in options.batches:
        results = {}
        for name in PEERS:
            if name not in options.skip:
                with console.status(f"batch {batch}: {PEERS[name].title}"):
                    results[name] = measure_apart(name, batch)
        console.print(report(batch, results, options.grid))
        for name, result in results.items():
            for method, why in result.get("skipped", {}).items():
                console.print(f"{PEERS[name].title}, {method} skipped: {why}")
        errors += sum("error" in result for result in results.values())
    if errors:
        raise SystemExit(f"{errors} measurements failed.")


if __name__ == "__main__":
    main()
