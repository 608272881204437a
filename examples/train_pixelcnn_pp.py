"""PixelCNN++ trained by the paper's recipe, in plain Keras (Salimans et al. 2017, arXiv:1701.05517).

    python examples/train_pixelcnn_pp.py                                  # photo patches, some minutes
    python examples/train_pixelcnn_pp.py --data cifar10.npz --filters 160 --num-layers 5 \
        --dropout 0.5 --epochs 500                                        # the paper's network: a GPU's job

The recipe: Adam(β₁ = 0.95, β₂ = 0.9995), a learning rate of 1e-3 · 0.999995^step, dropout (0.5 in the paper's
large network), half of the images mirrored, weights normalized and initialized on the first batch, and
Polyak averaging: what is validated, kept and sampled is the moving average of the weights.
"""

from pathlib import Path
from typing import Annotated

import keras
import typer
from rich.console import Console

from tfprior import data, sampling
from tfprior.data import hold_out_validation
from tfprior.distributions import DiscretizedLogisticMixture
from tfprior.measuring import baseline_bits, bits_per_dim
from tfprior.pictures.sheets import save_grid
from tfprior.priors import PixelCNNPP


def main(
    data_set: Annotated[str, typer.Option("--data")] = "photos",
    out: str = "runs/pixelcnn_pp",
    epochs: int = 3,
    batch_size: int = 16,
    filters: int = 24,
    num_layers: int = 1,
    num_stages: int = 3,
    dropout: float = 0.1,
    samples: int = 32,
    seed: int = 0,
) -> dict[str, float]:
    """Trains, measures and samples; returns test bits per dimension of the prior and the baselines."""
    console, folder = Console(highlight=False, soft_wrap=True), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    images = data.load(data_set)
    seen, held_out = hold_out_validation(images, fraction=0.1, limit=1000, batch_size=batch_size, seed=seed)

    prior = PixelCNNPP(
        images.grid_shape,
        DiscretizedLogisticMixture(num_components=10, num_levels=images.num_levels),
        filters=filters,
        num_layers=num_layers,
        num_stages=num_stages,
        dropout=dropout,
    )
    batches = seen.pipeline("train", batch_size, seed=seed, flip=True, drop_remainder=True)
    steps = epochs * batches.cardinality().numpy()
    prior.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.ExponentialDecay(1e-3, decay_steps=1, decay_rate=0.999995),
            beta_1=0.95,
            beta_2=0.9995,
            use_ema=True,
            # The paper's 0.9995 looks back over 2000 steps; a short training ends before that many.
            ema_momentum=min(0.9995, max(0.0, 1 - 10 / steps)),
        ),
        jit_compile=False,  # on a CPU these convolutions are faster without XLA
    )
    best = folder / "best.keras"
    prior.fit(
        batches,
        validation_data=held_out.x_train,
        validation_batch_size=batch_size,
        epochs=epochs,
        verbose=2,
        callbacks=[
            # Before the checkpoint, so that what it keeps are the averages.
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            keras.callbacks.ModelCheckpoint(
                best, monitor="val_bits_per_dim", mode="min", save_best_only=True
            ),
            keras.callbacks.CSVLogger(folder / "metrics.csv"),
            keras.callbacks.TerminateOnNaN(),
        ],
    )

    prior = keras.saving.load_model(best)
    scores = {
        "PixelCNN++": bits_per_dim(prior, images.x_test, batch_size=batch_size),
        **baseline_bits(images.x_train, images.x_test, images.num_levels),
    }
    for name, bits in scores.items():
        console.print(f"{bits:7.4f} bits/dim  {name}")
    save_grid(
        sampling.sample(prior, samples, seed=seed), images.num_levels, folder / "samples.png", columns=8
    )
    console.print(f"{best}\n{folder / 'samples.png'}")
    return scores


if __name__ == "__main__":
    typer.run(main)
