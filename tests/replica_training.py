"""Trains small models on one device and as two replicas, or as one of two workers; run by test_replicas.py.

    python tests/replica_training.py mirrored MODEL …
    python tests/replica_training.py worker MODEL …   # a task of TF_CONFIG

Prints what came out as a line of JSON a model. A collective that failed ends a process for good, and keys of
collectives are known to one strategy alone: tests run this in processes of their own.
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf

from tfprior.distributions import Categorical, DiscretizedLogistic, DiscretizedLogisticMixture
from tfprior.encoders import Swin, ViT
from tfprior.masked_images import MaskedImages
from tfprior.pretraining import MAE, GreenMIM
from tfprior.priors import CausalTransformer, GatedPixelCNN, PixelCNNPP
from tfprior.quantizers import LookupFreeQuantizer, ResidualVectorQuantizer, VectorQuantizer
from tfprior.tokenizers import VQVAE, VQVAE2
from tfprior.training import ExactResume, ImagesPerSecond, PictureLogger

EXAMPLES, BATCH = 5, 5  # three on the first replica and two on the second
OTHER_SIZES = {
    "GatedPixelCNN": (11, 5),  # of the last batch the second replica has nothing
    "images of MAE": (11, 5),
    "PixelCNNPP": (15, 15),  # fewer do not tell the scale of its features
}
SMALL: dict[str, Any] = {"filters": 4, "num_residual_blocks": 1, "residual_filters": 4}
DECODER: dict[str, Any] = {"decoder_dim": 4, "decoder_layers": 1, "decoder_heads": 1}


def vectors(**options: Any) -> VectorQuantizer:
    return VectorQuantizer(6, 4, restart_below=0.3, **options)


def vq_vae(quantizer: Any) -> VQVAE:
    return VQVAE((8, 8, 1), quantizer, DiscretizedLogistic(4), downsampling=4, **SMALL)


MODELS: dict[str, Callable[[], Any]] = {
    "CausalTransformer": lambda: CausalTransformer(
        (4, 3, 1), Categorical(4), num_layers=1, num_heads=2, hidden_dim=8
    ),
    "GatedPixelCNN": lambda: GatedPixelCNN((4, 3, 1), Categorical(4), filters=8, num_layers=1, num_classes=3),
    "PixelCNNPP": lambda: PixelCNNPP(
        (4, 4, 1), DiscretizedLogisticMixture(1, 4), filters=4, num_layers=1, num_stages=1, dropout=0.0
    ),
    "EMA with restarts": lambda: vq_vae(vectors()),
    "residual, by average and gradient": lambda: vq_vae(
        ResidualVectorQuantizer([vectors(), vectors(decay=None, entropy_weight=0.1)])
    ),
    "VQVAE2, lookup-free": lambda: VQVAE2(
        (8, 8, 1), vectors(), LookupFreeQuantizer(3), DiscretizedLogistic(4), 2, **SMALL
    ),
    "images of MAE": lambda: MaskedImages(MAE(ViT((4, 4, 1), 2, 1, 1, 4), 0.5, **DECODER), 4),
    "GreenMIM": lambda: GreenMIM(Swin((8, 8, 1), 2, (2,), (1,), 4, window_size=2), unit_size=2, **DECODER),
}
NOISY: dict[str, Callable[[], Any]] = {
    "dropout": lambda: GatedPixelCNN((4, 3, 1), Categorical(4), filters=8, num_layers=1, dropout=0.5),
    "restarts": lambda: vq_vae(vectors()),
}
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "CausalTransformer": lambda: keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
    "GatedPixelCNN": lambda: keras.optimizers.AdamW(0.01, use_ema=True, ema_overwrite_frequency=3),
    "PixelCNNPP": lambda: keras.optimizers.Adam(0.001, global_clipnorm=1.0),
    "residual, by average and gradient": lambda: keras.optimizers.SGD(0.1, global_clipnorm=1.0),
    "VQVAE2, lookup-free": lambda: keras.optimizers.SGD(0.1, global_clipnorm=1.0),
    "images of MAE": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "GreenMIM": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
}
HOW: dict[str, dict[str, Any]] = {
    "GatedPixelCNN": {"steps_per_execution": 2},
    "CausalTransformer": {"jit_compile": True},
}
PREDICTED = ("GatedPixelCNN", "images of MAE", "GreenMIM")


def data_of(model: Any, count: int) -> Any:
    generator = np.random.default_rng(0)
    if isinstance(model, GreenMIM):
        return generator.random((count, *model.encoder.image_shape), "float32")
    values = generator.integers(0, 4, (count, *model.grid_shape)).astype("uint8")
    if model.num_classes is None:
        return values
    return {"values": values, "condition": generator.integers(0, model.num_classes, count)}


def shared_by_workers(strategy: Any, batches: tf.data.Dataset) -> Any:
    """The batches, of which each worker reads its own half, the first the larger one."""

    def part(context: Any) -> tf.data.Dataset:
        workers, worker = context.num_input_pipelines, context.input_pipeline_id

        def cut(tensor: Any) -> Any:
            each = -(-tf.shape(tensor)[0] // workers)
            return tensor[worker * each : (worker + 1) * each]

        return batches.map(lambda batch: tf.nest.map_structure(cut, batch))

    return strategy.distribute_datasets_from_function(part)


class Stop(keras.callbacks.Callback):
    """Ends `fit` with an error after a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def resumed(name: str, strategy: Any, stops: tuple[int, ...]) -> tuple[list[Any], dict[str, list[float]]]:
    """All that training changed, in numbers, after it was interrupted so many times, and the scores."""
    with tempfile.TemporaryDirectory() as folder:
        for stop in (*stops, 0):
            keras.utils.set_random_seed(1)
            with strategy.scope():
                model = NOISY[name]()
                optimizer = keras.optimizers.AdamW(0.01, global_clipnorm=1.0, use_ema=True)
                model.compile(optimizer=optimizer)
            callbacks = [Stop(stop), ExactResume(folder, every_minutes=0)]
            with contextlib.suppress(KeyboardInterrupt):
                model.fit(data_of(model, 11), batch_size=5, epochs=2, verbose=0, callbacks=callbacks)
    everything = [*model.variables, *model.optimizer.variables]
    copies = [strategy.experimental_local_results(each.value) for each in everything]
    numbers = [[np.asarray(copy, "float64").tolist() for copy in each] for each in copies]
    return numbers, model.history.history


def train(name: str, strategy: Any = None) -> dict[str, Any]:
    """What is known of a model after three epochs."""
    keras.utils.set_random_seed(1)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = MODELS[name]()
        optimizer = OPTIMIZERS.get(name, lambda: keras.optimizers.Adam(0.01, global_clipnorm=1.0))()
        how = dict(HOW.get(name, {})) if strategy else {}
        model.compile(optimizer=optimizer, **how)
    count, batch_size = OTHER_SIZES.get(name, (EXAMPLES, BATCH))
    batches = tf.data.Dataset.from_tensor_slices(data_of(model, count)).batch(batch_size)
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    fed = shared_by_workers(strategy, batches) if several else batches
    with warnings.catch_warnings():
        # What Keras says at the end of data of unknown length.
        warnings.filterwarnings("ignore", message="Your input ran out of data")
        pictures = Path(tempfile.mkdtemp())
        callbacks = [ImagesPerSecond()]
        if name == "EMA with restarts":
            callbacks.append(PictureLogger(pictures, data_of(model, count)))
        options = {"epochs": 3, "verbose": 0, "validation_data": batches, "callbacks": callbacks}
        history = model.fit(fed, **options).history
    assert min(history.pop("images_per_second")) > 0
    result = {
        "history": history,
        "weights": [np.asarray(weight, "float64").tolist() for weight in model.get_weights()],
        "spread": spread(model, strategy),
        "pictures": sorted(path.name for path in pictures.iterdir()),
    }
    shutil.rmtree(pictures)
    if name in PREDICTED:
        result["predicted"] = model.predict(batches, verbose=0).tolist()
    return result


def spread(model: Any, strategy: Any) -> float:
    """How far the replicas' copies of the weights are apart."""
    if strategy is None:
        return 0.0
    apart = [0.0]
    for weight in model.weights:
        copies = [np.asarray(copy, "float64") for copy in strategy.experimental_local_results(weight.value)]
        apart += [float(np.abs(copies[0] - copy).max()) for copy in copies[1:]]
    return max(apart)


def two_devices() -> Any:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def main() -> None:
    kind, *names = sys.argv[1:]
    if kind == "mirrored":
        strategy = two_devices()
        results = [
            {"name": name, "alone": train(name), "together": train(name, strategy)}
            for name in names
            if name in MODELS
        ]
        for name in NOISY.keys() & names:
            (whole, scores), (parts, of_parts) = (resumed(name, strategy, stops) for stops in ((), (2,)))
            told = {"whole": whole, "parts": parts, "history of whole": scores, "history of parts": of_parts}
            results.append({"name": name, **told})
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        results = [{"name": name, **train(name, strategy)} for name in names]
    for result in results:  # at the end: a worker that waits for a reader would hold up the other
        print(json.dumps(result))


if __name__ == "__main__":
    main()
