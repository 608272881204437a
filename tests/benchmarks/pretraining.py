"""A step of masked image modelling: what it saves that the encoder runs on visible patches alone.

    python tests/benchmarks/pretraining.py                       # minutes on two cores
    python tests/benchmarks/pretraining.py --batch 64 --xla      # on a GPU

Images of 224 × 224, 75 % hidden. SimMIM, which runs its encoder on all patches and has no decoder to speak
of, beside GreenMIM on one Swin-T, and beside MAE on one ViT-B/16: MAE as published, with eight blocks of
decoder, with one, and "on all patches", of which it hides one alone. Each has a process of its own: seconds
are the best of several training steps by `fit`, after two that trace and settle, GreenMIM's with the plan of
its mask; memory is the most that the process, or on a GPU TensorFlow, held, less what it held before the
first step.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (224, 224, 3)
CASES = {
    "Swin-T": ("SimMIM", "GreenMIM"),
    "ViT-B/16": ("SimMIM", "MAE on all patches", "MAE", "MAE, one block"),
}
SETTLING = 2


def model_of(encoder: str, kind: str) -> Any:
    import keras

    from tfprior.encoders import Swin, ViT
    from tfprior.pretraining import MAE, GreenMIM, SimMIM

    keras.utils.set_random_seed(0)
    built = Swin.from_preset("tiny") if encoder == "Swin-T" else ViT.from_preset("base_16")
    models = {
        "SimMIM": lambda: SimMIM(built, mask_ratio=0.75),
        "GreenMIM": lambda: GreenMIM(built, mask_ratio=0.75),
        "MAE on all patches": lambda: MAE(built, mask_ratio=0.005),
        "MAE": lambda: MAE(built, mask_ratio=0.75),
        "MAE, one block": lambda: MAE(built, mask_ratio=0.75, decoder_layers=1),
    }
    return models[kind]()


def held() -> float:
    """The most memory so far in MB: of the first GPU where there is one."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return float(tf.config.experimental.get_memory_info("GPU:0")["peak"]) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measure(encoder: str, kind: str, batch: int, steps: int, xla: bool) -> dict[str, float]:
    import keras

    model, times = model_of(encoder, kind), []
    images = np.random.default_rng(0).integers(0, 256, (batch, *SHAPE)).astype("uint8")

    class Clock(keras.callbacks.Callback):
        """From the end of a step, whose loss is waited for, to the end of the next."""

        def on_train_batch_end(self, step: int, logs: Any = None) -> None:
            assert np.isfinite(float(logs["loss"]))
            times.append(time.perf_counter())

    model.compile(keras.optimizers.AdamW(1e-4), jit_compile=xla)
    before = held()
    model.fit(images, batch_size=batch, epochs=SETTLING + steps, verbose=0, callbacks=[Clock()])
    return {"seconds": float(np.diff(times[SETTLING - 1 :]).min()), "MB": held() - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--xla", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("ENCODER", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one, options.batch, options.steps, options.xla)))
        return
    given = ["--batch", str(options.batch), "--steps", str(options.steps), *["--xla"] * options.xla]
    for encoder, kinds in CASES.items():
        found = {}
        for kind in kinds:
            command = [sys.executable, str(Path(__file__)), "--one", encoder, kind, *given]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                raise SystemExit(run.stderr)
            found[kind] = json.loads(run.stdout.splitlines()[-1])
        for kind, each in found.items():
            seconds, memory = (each[unit] / found["SimMIM"][unit] for unit in ("seconds", "MB"))
            print(
                f"{encoder:10}{kind:20}{each['seconds']:6.2f} s a step {seconds:5.0%}"
                f"{each['MB']:8.0f} MB {memory:5.0%}"
            )


if __name__ == "__main__":
    main()
