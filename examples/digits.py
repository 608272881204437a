"""The whole path on handwritten digits: train, measure, sample, complete, export, sample without TensorFlow.

Run by `make demo`; everything lands in runs/demo.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

# A process of its own in which TensorFlow and Keras cannot be imported: all it has is NumPy and ONNX Runtime.
WITHOUT_TENSORFLOW = """
import sys
sys.modules.update(dict.fromkeys(["tensorflow", "keras"]))  # importing either raises ImportError

import numpy as np
from tfprior.export.client import OnnxSampler

bundle, noise, out = sys.argv[1:]
given = np.load(noise)
sampler = OnnxSampler(bundle)
drawn = {
    method: sampler.sample(
        len(given["labels"]), given["labels"], uniforms=given["uniforms"], method=method
    )
    for method in ("step", "pair")
}
np.savez(out, **drawn)
"""


def main(
    out: str | os.PathLike[str] = "runs/demo",
    epochs: int = 28,
    filters: int = 48,
    num_layers: int = 6,
) -> dict[str, float]:
    """Runs the demonstration; returns test bits per dimension of the prior and the baselines.

    Raises:
        RuntimeError: if the exported graph draws other integers than Keras.
    """
    from tfprior import data, export, sampling
    from tfprior.measuring import baseline_bits, bits_per_dim
    from tfprior.pictures.sheets import save_completions
    from tfprior.sampling.completion import complete_images
    from tfprior.sampling.masks import hidden_part
    from tfprior.training import TrainingOptions, train

    out, console = Path(out), Console(highlight=False, soft_wrap=True)
    console.print("[bold]1 · Training[/] a class-conditional Gated PixelCNN on 8 × 8 digits of 17 levels")
    images = data.load("digits")
    model = {
        "name": "gated_pixel_cnn",
        "conditional": True,
        "filters": filters,
        "num_layers": num_layers,
        "first_kernel_size": 5,
        "value_embedding_dim": 16,
        "dropout": 0.4,
    }
    options = TrainingOptions(epochs=epochs, batch_size=32, learning_rate=3e-3, ema=0.99, seed=0)
    run = train(images, model, out, options, overwrite=True, console=console)
    prior = run.load()

    console.print("\n[bold]2 · Measuring[/] on images it has never seen")
    scores = {
        "Gated PixelCNN": bits_per_dim(prior, images.x_test, images.y_test),
        **baseline_bits(images.x_train, images.x_test, images.num_levels),
    }
    console.print(table_of(scores, f"digits, {len(images.x_test)} test images"))

    console.print("\n[bold]3 · Sampling[/] ten classes × 8, and completing test images from their upper half")
    mask = hidden_part("bottom", prior.grid_shape)
    originals, completions = complete_images(prior, images, mask, num=10, completions=6, seed=0)
    save_completions(originals, mask, completions, images.num_levels, out / "completion.png")
    console.print(f"{out / 'samples.png'}\n{out / 'completion.png'}")

    console.print("\n[bold]4 · Exporting[/] SavedModel and ONNX, checked against Keras")
    start = time.monotonic()
    export.save(prior, out / "bundle", overwrite=True)
    console.print(f"{out / 'bundle'} in {time.monotonic() - start:.0f} s")

    console.print("\n[bold]5 · Sampling the export[/] in a process that cannot import TensorFlow or Keras")
    labels = np.repeat(np.arange(10, dtype="int32"), 8)
    uniforms = np.random.default_rng(1).random((len(labels), 8, 8, 1), "float32")
    expected = sampling.sample(prior, len(labels), labels, uniforms=uniforms)
    for method, values in sample_without_tensorflow(out, uniforms, labels).items():
        compare(console, f"ONNX {method}", values, expected)
    return scores


def sample_without_tensorflow(out: Path, uniforms: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What the bundle draws from the noise in a process without TensorFlow: way of sampling → integers."""
    noise, drawn = out / "noise.npz", out / "drawn.npz"
    np.savez(noise, uniforms=uniforms, labels=labels)
    try:
        command = [sys.executable, "-c", WITHOUT_TENSORFLOW, out / "bundle", noise, drawn]
        subprocess.run(command, check=True)
        with np.load(drawn) as archive:
            return dict(archive)
    finally:
        noise.unlink(missing_ok=True)
        drawn.unlink(missing_ok=True)


def compare(console: Console, name: str, values: np.ndarray, expected: np.ndarray) -> None:
    """Prints how many integers agree; a uniform that rounds to another side of the CDF may spoil an image."""
    agree = values == expected
    spoiled = len(agree) - int(agree.all(axis=(1, 2, 3)).sum())
    console.print(f"{name}: {agree.sum()} of {agree.size} integers equal Keras's")
    if spoiled > 1:
        raise RuntimeError(f"{name} draws {spoiled} of {len(agree)} images differently; expected the same.")


def table_of(scores: dict[str, float], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    table.add_column("bits/dim", justify="right")
    for name, bits in scores.items():
        table.add_row(name, f"{bits:.3f}", style="bold green" if bits == min(scores.values()) else None)
    return table


if __name__ == "__main__":
    from tfprior.cli import import_keras

    start = time.monotonic()
    import_keras()  # without what TensorFlow has to say of the machine
    main()
    print(f"\nDone in {time.monotonic() - start:.0f} s.")
