"""Backends beside TensorFlow and JAX, each in a process of its own.

NumPy's devices Keras does not list; PyTorch's does with a saved model what TensorFlow does.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import catalogue
import keras
import numpy as np
import pytest

from tfprior import priors
from tfprior.distributions import DiscretizedLogistic
from tfprior.priors import Prior
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE

DRAW = """
import numpy as np
from tfprior.compilation import devices
from tfprior.distributions import Categorical
from tfprior.priors import PixelCNN

prior = PixelCNN((3, 4, 1), Categorical(4), filters=6, num_layers=1, first_kernel_size=3)
drawn = prior.sample(2, seed=0)
np.testing.assert_array_equal(drawn, prior.sample(2, seed=0, method="full"))
assert np.isfinite(prior.log_prob(drawn)).all()
print(devices())
"""
KINDS = ("PixelCNN", "GatedPixelCNN", "PixelCNNPP", "VQVAE")


def on_backend(backend: str, *command: str) -> str:
    folders = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    path = os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": path}
    run = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()[-1]


def test_a_prior_draws_on_a_backend_that_lists_no_devices() -> None:
    assert on_backend("numpy", "-c", DRAW) == "['cpu']"


def built(kind: str) -> Any:
    if kind == "VQVAE":
        small = {"filters": 6, "num_residual_blocks": 1}
        return VQVAE((4, 8, 1), VectorQuantizer(8, 4, decay=0.9), DiscretizedLogistic(4), **small)
    condition = "maps" if kind == "PixelCNNPP" else "labels"
    of_kind = getattr(priors, kind)
    return of_kind(**catalogue.arguments(of_kind, (2, 4, 1), condition))


def outcome(model: Any) -> dict[str, Any]:
    """What a model makes of images, before and after it was trained on them."""
    if isinstance(model, Prior):
        batch, condition = catalogue.batch_of(model, 8), catalogue.condition_of(model, 8)
        values = batch["values"]
        drawn = {
            method: model.sample(4, condition[:4], seed=0, method=method) for method in ("cached", "full")
        }
        before = model.log_prob(values, condition)
    else:
        batch = catalogue.integers(8, *model.grid_shape)
        drawn = {"codes": model.encode(batch)}
        before = model.reconstruct(batch)
    model.compile(optimizer=keras.optimizers.AdamW(0.01, epsilon=1e-3, global_clipnorm=1.0))
    history = model.fit(batch, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    scores = model.evaluate(batch, batch_size=3, verbose=0, return_dict=True)
    found = {
        "drawn": drawn,
        "before": before,
        "history": list(history.values()),
        "scores": list(scores.values()),
        "weights": model.get_weights(),
    }
    told: dict[str, Any] = keras.tree.map_structure(lambda part: np.asarray(part).tolist(), found)
    return told


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        model = built(kind)
        if isinstance(model, Prior):
            catalogue.randomise(model)
        else:
            model.initialize(catalogue.integers(8, *model.grid_shape))
        model.save(folder / f"{kind}.keras")
    return folder


@pytest.fixture(scope="module")
def torch() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed here: the base install runs on TensorFlow")


@pytest.fixture(scope="module")
def on_torch(torch: None, saved: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(on_backend("torch", __file__, str(saved)))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_pytorch_does_what_tensorflow_does(kind: str, saved: Path, on_torch: dict[str, Any]) -> None:
    here, there = outcome(keras.models.load_model(saved / f"{kind}.keras")), on_torch[kind]
    assert there.pop("drawn") == here.pop("drawn")
    for what, expected in here.items():
        for one, other in zip(expected, there[what], strict=True):
            np.testing.assert_allclose(other, one, rtol=2e-5, atol=2e-5, err_msg=what)


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("check", ["interrupted_run", "compressed_images", "xla_is_refused"])
def test_what_holds_on_pytorch(check: str) -> None:
    program = f"import sys, backend_checks as b; b.{check}(); print(sys.modules['keras'].backend.backend())"
    assert on_backend("torch", "-c", program) == "torch"


if __name__ == "__main__":
    import tfprior  # noqa: F401

    models = {path.stem: keras.models.load_model(path) for path in Path(sys.argv[1]).glob("*.keras")}
    print(json.dumps({kind: outcome(model) for kind, model in models.items()}))
