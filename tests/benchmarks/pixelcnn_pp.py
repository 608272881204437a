"""PixelCNN++ beside TensorFlow Probability's: one training step, and one sampled batch.

    python tests/benchmarks/pixelcnn_pp.py         # about three minutes on two cores

Both networks have the same stages, blocks and filters, for 28×28×1 values of 256 levels and five components;
theirs stores more weights, as it masks square kernels where ours are cut to shape. Theirs runs without weight
normalization, which it has in eager mode only; ours runs with it. Training steps are taken in turn, the best
of several counts; their sampling runs once, whole, traced before, and without XLA.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from rich.console import Console
from rich.table import Table

from tfprior.distributions import DiscretizedLogisticMixture
from tfprior.priors import PixelCNNPP
from tfprior.sampling import sample

GRID = (28, 28, 1)
COMPONENTS = 5


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def best(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Best time of each, taken in turn so that a slow spell of the machine meets all of them."""
    for run in runs.values():
        run()  # compiles
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return {name: min(taken) for name, taken in times.items()}


def training_step(
    loss: Callable[[tf.Tensor], tf.Tensor], variables: list[Any], optimizer: Any, jit_compile: bool = False
) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.function(jit_compile=jit_compile, autograph=False)
    def step(values: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            nats = loss(values)
        optimizer.apply_gradients(zip(tape.gradient(nats, variables), variables, strict=True))
        return nats

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--layers", type=int, default=1, help="gated blocks of a stage")
    parser.add_argument("--stages", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--skip-tfp-sampling", action="store_true")
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    values = np.random.default_rng(0).integers(0, 256, (options.batch, *GRID)).astype("int32")
    prior = PixelCNNPP(
        GRID,
        DiscretizedLogisticMixture(COMPONENTS),
        filters=options.filters,
        num_layers=options.layers,
        num_stages=options.stages,
        dropout=0.3,
    )
    prior.initialize(values)
    peer = tfp.distributions.PixelCNN(
        GRID,
        num_resnet=options.layers,
        num_hierarchies=options.stages,
        num_filters=options.filters,
        num_logistic_mix=COMPONENTS,
        dropout_p=0.3,
        use_weight_norm=False,
    )
    images, inputs = tf.constant(values), tf.constant(values, "float32")
    import tf_keras

    ours = lambda x: prior.compute_loss(x, y_pred=prior(x, training=True))  # noqa: E731
    theirs = lambda x: -tf.reduce_mean(peer.log_prob(x, training=True))  # noqa: E731
    our_variables, their_variables = prior.trainable_variables, peer.network.trainable_weights
    adam, their_adam = keras.optimizers.Adam(1e-4), tf_keras.optimizers.Adam(1e-4)
    adam.build(our_variables)
    step = training_step(ours, [v.value for v in our_variables], _Applied(adam, our_variables))
    compiled = training_step(ours, [v.value for v in our_variables], _Applied(adam, our_variables), True)
    their_step = training_step(theirs, their_variables, their_adam)
    taken = best(
        {
            "TFP": lambda: their_step(inputs).numpy(),
            "ours": lambda: step(images).numpy(),
            "ours, XLA": lambda: compiled(images).numpy(),
        },
        options.repeats,
    )

    uniforms = np.random.default_rng(0).random((options.batch, *GRID[:2], 2), "float32")
    forward = tf.function(lambda x: prior(x), autograph=False)
    ours_sampled = best(
        {
            "forward": lambda: forward(images).numpy(),
            "sample": lambda: sample(prior, options.batch, uniforms=uniforms),
        },
        options.repeats,
    )
    table = Table(
        title=f"PixelCNN++, {options.stages} stages × {options.layers} × {options.filters} filters, "
        f"batch {options.batch}"
    )
    for name in ("", "TFP", "ours", "ratio"):
        table.add_column(name, justify="right")
    stored = [sum(int(np.prod(v.shape)) for v in own) for own in (their_variables, our_variables)]
    table.add_row("trainable weights", *(f"{count:,}" for count in stored), "")
    for name in ("ours", "ours, XLA"):
        table.add_row(
            f"training step ({name}), ms",
            f"{1e3 * taken['TFP']:.0f}",
            f"{1e3 * taken[name]:.0f}",
            f"{taken['TFP'] / taken[name]:.2f}×",
        )
    console = Console(width=120)
    once, ratio = "–", "–"
    if not options.skip_tfp_sampling:
        draw = tf.function(lambda: peer.sample(options.batch), autograph=False).get_concrete_function()
        taken_once = seconds(lambda: draw().numpy())
        once, ratio = f"{taken_once:.1f}", f"{taken_once / ours_sampled['sample']:.0f}×"
    table.add_row("sampled batch, s", once, f"{ours_sampled['sample']:.3f}", ratio)
    steps = GRID[0] * GRID[1]
    table.add_row("a step, µs", "", f"{1e6 * ours_sampled['sample'] / steps:.0f}", "")
    passes = ours_sampled["sample"] / ours_sampled["forward"]
    table.add_row("cost in our forward passes", "", f"{passes:.2f}", "")
    console.print(table)


class _Applied:
    """A Keras optimizer that applies gradients to its own variables."""

    def __init__(self, optimizer: keras.optimizers.Optimizer, variables: list[Any]) -> None:
        self.optimizer, self.variables = optimizer, variables

    def apply_gradients(self, pairs: Any) -> None:
        self.optimizer.apply([gradient for gradient, _ in pairs], self.variables)


if __name__ == "__main__":
    main()
