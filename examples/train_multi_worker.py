"""A Gated PixelCNN trained by several machines in plain Keras, which goes on after any of them was lost.

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]},
                "task": {"type": "worker", "index": 0}}' python examples/train_multi_worker.py
    python examples/train_multi_worker.py         # on this machine alone, with the same numbers

On the second machine index is 1. docs/distribute.md has files for Slurm and Kubernetes, which set TF_CONFIG.
"""

import os
from pathlib import Path
from typing import Annotated

import keras
import tensorflow as tf
import typer

from tfprior import data
from tfprior.distributions import Categorical
from tfprior.priors import GatedPixelCNN
from tfprior.training import ExactResume, strategy_named


def main(
    data_set: Annotated[str, typer.Option("--data")] = "digits",
    out: str = "runs/multi_worker",
    epochs: int = 5,
    batch_size: int = 64,
    filters: int = 32,
    num_layers: int = 4,
    seed: int = 0,
) -> dict[str, float]:
    """Trains on all workers; returns the test scores, which are the same on each of them."""
    # Before anything else is asked of TensorFlow.
    strategy = strategy_named("multi_worker") if "TF_CONFIG" in os.environ else tf.distribute.get_strategy()
    keras.utils.set_random_seed(seed)
    images = data.load(data_set)
    with strategy.scope():
        prior = GatedPixelCNN(
            images.grid_shape, Categorical(images.num_levels), filters=filters, num_layers=num_layers
        )
        prior.compile(optimizer=keras.optimizers.AdamW(1e-3, global_clipnorm=1.0))
    prior.fit(
        # Every worker reads its part of each batch.
        images.resumable(batch_size, seed=seed, drop_remainder=True),
        validation_data=images.x_test,
        validation_batch_size=batch_size,
        epochs=epochs,
        verbose=2 if prior.is_chief else 0,
        callbacks=[ExactResume(Path(out) / "resume")],  # the chief's
    )
    scores = prior.evaluate(images.x_test, batch_size=batch_size, verbose=0, return_dict=True)
    if prior.is_chief:
        prior.save(Path(out) / "prior.keras")
        print(f"{scores['bits_per_dim']:.4f} bits/dim on the test images; {out}/prior.keras")
    return scores


if __name__ == "__main__":
    typer.run(main)
