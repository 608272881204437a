"""Features of ViT-B/16 and Swin-T: beside Hugging Face's in PyTorch, on the same weights and images.

    pip install torch==2.13.0 transformers==5.24.0      # for this benchmark alone; without: no such column
    python tests/benchmarks/encoders.py                                  # a minute or two on two cores
    python tests/benchmarks/encoders.py --peer OTHER/bin/python --batches 1 64      # they are in another venv

Images of 224 × 224. Milliseconds are those of a whole batch in float32, the best of several, in a process of
its own each: ours as a graph, with and without XLA; theirs in `torch.inference_mode`, with all the threads
that PyTorch takes. "apart" is the largest difference between the two's features.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 224
PRESETS = {"vit": ("ViT-B/16", "base_16", {}), "swin": ("Swin-T", "tiny", {})}
TINY = {
    "vit": ("a small ViT", "tiny_16", {"num_layers": 1}),
    "swin": ("a small Swin", "tiny", {"num_layers": (2, 1), "num_heads": (3, 6), "hidden_dim": 24}),
}


def best(run: Callable[[], Any], repeats: int) -> float:
    """Milliseconds of the quickest call, after one that compiles."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def images_of(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).standard_normal((batch, SIDE, SIDE, 3)).astype("float32")


def measure_ours(kind: str, batch: int, repeats: int, folder: Path, tiny: bool) -> dict[str, float]:
    """Leaves the weights, sizes and features for theirs."""
    import keras

    from tfprior.compilation import compiled
    from tfprior.encoders import Swin, ViT, save_safetensors

    keras.utils.set_random_seed(0)
    _, preset, sizes = (TINY if tiny else PRESETS)[kind]
    encoder = {"vit": ViT, "swin": Swin}[kind].from_preset(preset, image_shape=(SIDE, SIDE, 3), **sizes)
    save_safetensors(encoder, folder / "weights.safetensors", "hugging_face_5")
    (folder / "sizes.json").write_text(json.dumps(encoder.get_config(), default=str))
    images = keras.ops.convert_to_tensor(images_of(batch))
    taken = {}
    for name, by_xla in (("graph", False), ("XLA", True)):
        run = compiled(features, encoder, jit_compile=by_xla)
        taken[name] = best(lambda run=run: np.asarray(run(images)), repeats)
    np.save(folder / "features.npy", np.asarray(run(images)))
    return taken


def features(encoder: Any, images: Any) -> Any:
    return encoder(images, training=False)


def measure_theirs(kind: str, batch: int, repeats: int, folder: Path, tiny: bool) -> dict[str, float]:
    import torch
    import transformers
    from safetensors.torch import load_file

    sizes = json.loads((folder / "sizes.json").read_text())
    shared = {"image_size": SIDE, "patch_size": sizes["patch_size"], "layer_norm_eps": sizes["epsilon"]}
    if kind == "vit":
        config = transformers.ViTConfig(
            hidden_size=sizes["hidden_dim"],
            num_hidden_layers=sizes["num_layers"],
            num_attention_heads=sizes["num_heads"],
            intermediate_size=4 * sizes["hidden_dim"],
            **shared,
        )
        network = transformers.ViTModel(config, add_pooling_layer=False)
    else:
        config = transformers.SwinConfig(
            embed_dim=sizes["hidden_dim"],
            depths=sizes["num_layers"],
            num_heads=sizes["num_heads"],
            window_size=sizes["window_size"],
            **shared,
        )
        network = transformers.SwinModel(config, add_pooling_layer=False)
    missing, unexpected = network.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
    if unexpected or any("index" not in name for name in missing):
        raise ValueError(f"Their {kind} lacks {unexpected} and has besides {missing}.")
    network.eval()
    images = torch.from_numpy(images_of(batch).transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        taken = best(lambda: network(images).last_hidden_state.numpy(), repeats)
        apart = np.abs(network(images).last_hidden_state.numpy() - np.load(folder / "features.npy")).max()
    return {"theirs": taken, "apart": float(apart)}


def measured(python: str, which: str, kind: str, batch: int, options: Any, folder: str) -> dict[str, float]:
    """What a process of its own measured."""
    command = [python, __file__, "--measure", which, kind, str(batch), str(options.repeats), folder]
    printed = subprocess.run([*command, *["--tiny"] * options.tiny], stdout=subprocess.PIPE, text=True)
    if printed.returncode:
        raise SystemExit(f"The process that measures {which} failed.")
    taken: dict[str, float] = json.loads(printed.stdout.splitlines()[-1])
    return taken


def has_peers(python: str) -> bool:
    command = [python, "-c", "import torch, transformers, safetensors"]
    return subprocess.run(command, capture_output=True).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer", default=sys.executable, help="Python that has torch and transformers.")
    parser.add_argument("--tiny", action="store_true", help="Small networks, to see that it runs.")
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        which, kind, batch, repeats, folder = options.measure
        measure = measure_ours if which == "ours" else measure_theirs
        print(json.dumps(measure(kind, int(batch), int(repeats), Path(folder), options.tiny)))
        return
    beside = has_peers(options.peer)
    for kind, (name, *_) in (TINY if options.tiny else PRESETS).items():
        for batch in options.batches:
            with tempfile.TemporaryDirectory() as folder:
                taken = measured(sys.executable, "ours", kind, batch, options, folder)
                if beside:
                    taken |= measured(options.peer, "theirs", kind, batch, options, folder)
            line = f"{name:14}batch {batch:3} · graph {taken['graph']:.1f} ms · XLA {taken['XLA']:.1f} ms"
            if beside:
                line += f" · Hugging Face {taken['theirs']:.1f} ms · apart {taken['apart']:.1e}"
            print(line)


if __name__ == "__main__":
    main()
