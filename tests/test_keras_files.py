"""`keras.models.load_model` opens what tfprior saved, in processes that imported no more than `tfprior`.

A file that Keras opened gives the same numbers: they are taken in this process and compared in the other.
"""

import importlib
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

from tfprior import registration
from tfprior.distributions import Categorical, DiscretizedLogistic
from tfprior.generator import Generator
from tfprior.priors import GatedPixelCNN, PixelCNNPP
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE

ROOT = Path(__file__).parent.parent
LOAD = """
import json, numpy as np
for path, expected in json.load(open("numbers.json")).items():
    model = keras.models.load_model(path)
    got = np.mean([np.mean(np.abs(weight)) for weight in model.get_weights()])
    np.testing.assert_allclose(got, expected["weights"], rtol=1e-6)
    outputs = model(np.asarray(expected["inputs"], expected["dtype"]))
    outputs = getattr(outputs, "params", outputs)
    np.testing.assert_allclose(np.mean(np.abs(outputs)), expected["outputs"], rtol=1e-4)
    print(path, type(model).__name__)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of every kind, and what their weights and outputs are."""
    folder: Path = tmp_path_factory.mktemp("files")
    grid = (2, 4, 1)
    prior = GatedPixelCNN(grid, Categorical(8), filters=8, num_layers=1, first_kernel_size=3)
    mixture = PixelCNNPP(grid, DiscretizedLogistic(8), filters=4, num_layers=1, num_stages=1)
    tokenizer = VQVAE((4, 8, 1), VectorQuantizer(8, 4), DiscretizedLogistic(16), downsampling=2, filters=8)
    generator = Generator(tokenizer, prior)
    values = keras.Input(grid, dtype="int32")
    wrapper = keras.Model(values, keras.layers.Rescaling(2.0)(prior(values)))
    vectors = keras.Input((4,))
    quantizing = keras.Model(vectors, VectorQuantizer(8, 4, initialization="uniform")(vectors).quantized)
    given = catalogue.integers(2, *grid)
    inputs = {
        "prior": given,
        "mixture": given,
        "tokenizer": catalogue.integers(2, 4, 8, 1, top=16),
        "wrapper": given,
        "quantizing": catalogue.features(2, 4),
    }
    models = [prior, mixture, tokenizer, wrapper, quantizing]
    numbers = {}
    for model, (name, x) in zip(models, inputs.items(), strict=True):
        outputs: Any = model(x)
        numbers[f"{name}.keras"] = {
            "weights": float(np.mean([np.mean(np.abs(weight)) for weight in model.get_weights()])),
            "inputs": x.tolist(),
            "dtype": x.dtype.name,
            "outputs": float(np.mean(np.abs(getattr(outputs, "params", outputs)))),
        }
        model.save(folder / f"{name}.keras")
    generator.save(folder / "generator.keras")
    (folder / "numbers.json").write_text(json.dumps(numbers))
    return folder


def run(program: str, folder: Path, **environment: str) -> list[str]:
    """What the program prints in a fresh process, line by line."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")


KINDS = [
    "prior.keras GatedPixelCNN",
    "mixture.keras PixelCNNPP",
    "tokenizer.keras VQVAE",
    "wrapper.keras Functional",
    "quantizing.keras Functional",
]


def test_files_of_every_kind_load_in_a_fresh_process(folder: Path) -> None:
    more = """
generator = keras.models.load_model("generator.keras")
print("generator.keras", type(generator).__name__, generator.sample(1, seed=0).shape)
"""
    expected = [*KINDS, "generator.keras Generator (1, 4, 8, 1)", ""]
    assert run(f"import tfprior, keras\n{LOAD}{more}", folder) == expected


@pytest.mark.slow("Functional")
@pytest.mark.parametrize(
    ("imports", "file", "kind"),
    [
        ("import keras, tfprior", "quantizing.keras", "Functional"),
        ("import tfprior.priors, keras", "prior.keras", "GatedPixelCNN"),
    ],
)
def test_files_load_on_jax_whatever_is_imported_first(
    imports: str, file: str, kind: str, folder: Path
) -> None:
    pytest.importorskip("jax", reason="JAX is not installed here: the base install runs on TensorFlow")
    program = f"{imports}\nprint(type(keras.models.load_model({file!r})).__name__)"
    assert run(program, folder, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu") == [kind, ""]


def test_every_class_that_stands_in_files_has_an_entry() -> None:
    for file in (ROOT / "tfprior").glob("**/*.py"):
        if "register_keras_serializable(" in file.read_text("utf-8") and file.stem != "registration":
            importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    known = keras.saving.get_custom_objects()
    classes = {name.removeprefix("tfprior>"): entry for name, entry in known.items() if "tfprior>" in name}
    defined = {name for name, entry in classes.items() if isinstance(entry, type)}
    assert defined <= set(registration.names())
    for name, module in registration.names().items():  # and every entry is a class
        assert isinstance(registration.Deferred(module, name).load(), type)


def test_an_entry_gives_way_to_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    known = keras.saving.get_custom_objects()
    name = "tfprior>Categorical"
    registration.register()
    assert known[name] is Categorical
    monkeypatch.delitem(known, name)
    registration.register()
    assert repr(known[name]) == "<tfprior.distributions.Categorical, not imported yet>"
    config = keras.saving.serialize_keras_object(Categorical(5))
    loaded = keras.saving.deserialize_keras_object(config)
    assert type(loaded) is Categorical
    assert loaded.num_levels == 5


def test_keras_stays_what_it_is(folder: Path) -> None:
    program = """
import importlib.util, sys, tfprior
before = importlib.util.find_spec("keras")
assert "keras" not in sys.modules
import keras
assert type(keras.__spec__.loader) is type(before.loader) is type(tfprior.__spec__.loader)
assert not [finder for finder in sys.meta_path if type(finder).__module__ == "tfprior.registration"]
print(*sorted(name for name in sys.modules if name.startswith("tfprior.") and name.count(".") > 1))
"""
    backend = "jax" if importlib.util.find_spec("jax") else "tensorflow"
    assert run(program, folder, KERAS_BACKEND=backend, JAX_PLATFORMS="cpu") == ["", ""]  # no class yet
