"""Images a second of `fit`: each model plain, compiled by XLA, and as two replicas of a MirroredStrategy.

    python tests/benchmarks/training.py            # some minutes on two cores
    SIDE=8 python tests/benchmarks/training.py     # of another grid

28×28×1, 256 levels. The peak is that of one matrix product in float32 on all cores, measured in the same run;
the share of it counts the multiplications of forward and backward pass alone, three times the forward's. Two
replicas share the cores and the batch of the process beside them: what they take longer is the strategy's.
TensorFlow Probability's PixelCNN has the stages, blocks and filters of our PixelCNN++.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from tfprior.distributions import Categorical, DiscretizedLogistic, DiscretizedLogisticMixture
from tfprior.priors import GatedPixelCNN, PixelCNNPP
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE

SIDE = int(os.environ.get("SIDE", "28"))  # which the processes of one benchmark share
SHAPE = (SIDE, SIDE, 1)
MODELS: dict[str, Callable[[], Any]] = {
    "Gated PixelCNN": lambda: GatedPixelCNN(SHAPE, Categorical(256), filters=64, num_layers=8),
    "PixelCNN++": lambda: PixelCNNPP(
        SHAPE, DiscretizedLogisticMixture(10, 256), filters=32, num_layers=2, dropout=0.0
    ),
    "VQ-VAE": lambda: VQVAE(SHAPE, VectorQuantizer(256, 32), DiscretizedLogistic(256), downsampling=4),
}


class StepTimes(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def seconds_of_a_step(name: str, batch_size: int, steps: int, how: str) -> float:
    """The median, after the first third."""
    keras.utils.set_random_seed(0)
    strategy: Any = tf.distribute.get_strategy()
    if how == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    values = np.random.default_rng(0).integers(0, 256, (batch_size, *SHAPE)).astype("uint8")
    times = StepTimes()
    with strategy.scope():
        model = MODELS[name]()
        model.compile(keras.optimizers.Adam(1e-3), jit_compile=how == "xla")
    data = tf.data.Dataset.from_tensors(values).repeat(steps)
    model.fit(data, verbose=0, callbacks=[times])
    return float(np.median(times.seconds[steps // 3 :]))


def multiplications(name: str, batch_size: int) -> float:
    """Of a forward pass, by TensorFlow's profiler: floating point operations of convolutions and products."""
    model = MODELS[name]()
    traced = tf.function(lambda x: model(x)).get_concrete_function(
        tf.TensorSpec((batch_size, *SHAPE), "int32")
    )
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2_as_graph

    _, graph = convert_variables_to_constants_v2_as_graph(traced)
    with tf.Graph().as_default() as empty:
        tf.graph_util.import_graph_def(graph, name="")
        options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        kinds = tf.compat.v1.profiler.profile(empty, cmd="op", options=options)
    kept = ("Conv2D", "MatMul", "BatchMatMulV2", "DepthwiseConv2dNative", "Conv2DBackpropInput")
    return float(sum(each.total_float_ops for each in kinds.children if each.name in kept))


def peak() -> float:
    """Floating point operations a second of a matrix product."""
    a = tf.random.normal((2048, 2048))
    multiply = tf.function(lambda: tf.matmul(a, a))
    multiply()
    best = min(_timed(lambda: multiply().numpy()) for _ in range(8))
    return 2 * 2048**3 / best


def of_tfp(batch_size: int, steps: int) -> float:
    import tensorflow_probability as tfp
    import tf_keras

    network = tfp.distributions.PixelCNN(
        image_shape=SHAPE,
        num_resnet=2,
        num_hierarchies=3,
        num_filters=32,
        num_logistic_mix=10,
        dropout_p=0.0,
        use_weight_norm=False,
    )
    values = np.random.default_rng(0).integers(0, 256, (batch_size, *SHAPE)).astype("float32")
    network.log_prob(values[:1])
    weights, optimizer = network.network.trainable_weights, tf_keras.optimizers.Adam(1e-3)

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(network.log_prob(tf.constant(values), training=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    step()
    return float(np.median([_timed(lambda: step().numpy()) for _ in range(steps)]))


def _timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def apart(*arguments: object) -> float:
    """What this script says in a process of its own: devices are set up but once."""
    ran = subprocess.run(
        [sys.executable, __file__, "--only", *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return float(json.loads(ran.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=18)
    parser.add_argument("--only", nargs=2, metavar=("MODEL", "HOW"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    size, steps = options.batch_size, options.steps
    if options.only:
        name, how = options.only
        if name == "tfp":
            print(json.dumps(of_tfp(size, steps)))
        elif how == "multiplications":
            print(json.dumps(multiplications(name, size)))
        else:
            print(json.dumps(seconds_of_a_step(name, size, steps, how)))
        return
    highest = peak()
    table = Table(
        *("", "plain", "share of peak", "XLA", "two replicas", "their overhead"),
        title=f"images a second, batches of {size}; peak {highest / 1e9:.0f} GFLOP/s",
    )
    for name in MODELS:
        plain, compiled, both = (apart(name, how) for how in ("plain", "xla", "mirrored"))
        share = 3 * apart(name, "multiplications") / plain / highest
        cells = f"{size / plain:.0f}", f"{share:.0%}", f"{size / compiled:.0f}", f"{size / both:.0f}"
        table.add_row(name, *cells, f"{both / plain - 1:+.0%}")
    table.add_row("PixelCNN, TensorFlow Probability", f"{size / apart('tfp', 'plain'):.0f}", *[""] * 4)
    Console().print(table)


if __name__ == "__main__":
    main()
