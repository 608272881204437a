"""What is above (Nobody 2020, arXiv:0000.00000).

A prior added as CONTRIBUTING says: one class that says what its arguments are, and one line in the registry.

Shapes: B batch · H W C grid · P parameters of a pixel.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from typer.testing import CliRunner

from tfprior.cli import app
from tfprior.data import load
from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.priors import RasterPrior
from tfprior.registry import MODELS, Model
from tfprior.runs import load_prior, load_run


@keras.saving.register_keras_serializable("tests")
class Above(RasterPrior):
    """Every pixel knows the one above it and nothing else.

    Args:
        grid_shape: (H, W, 1) of the values.
        distribution: the output distribution.
        units: features of the hidden layer.
        boldness: factor of the parameters.
        num_classes: for class labels (B,) as the condition.
    """

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        units: int = 16,
        boldness: float = 1.0,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(grid_shape, distribution, num_classes, **kwargs)
        if units < 1:
            raise ValueError(f"Above got units={units}; expected a positive number.")
        self.units = units
        self.boldness = boldness
        self.hidden = keras.layers.Dense(units, "relu")
        self.head = keras.layers.Dense(self.num_features)
        self.build()

    def build_network(self, features: int, condition: tuple[Any, ...] | None) -> None:
        self.hidden.build((None, features + (0 if condition is None else condition[-1])))
        self.head.build((None, self.units))

    def params_below(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Encoded values (…, E) → parameters (…, P) of the pixels below them."""
        if condition is not None:
            x = ops.concatenate([x, condition * ops.ones_like(x[..., :1])], axis=-1)
        return self.boldness * self.head(self.hidden(x))

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        values, condition = self.unpack(inputs)
        above = ops.pad(self.encode(values), [(0, 0), (1, 0), (0, 0), (0, 0)])[:, :-1]
        return self.params_below(above, self.encode_condition(condition))

    def row_spec(self) -> dict[str, Any]:
        return {}

    def pixel_spec(self) -> dict[str, Any]:
        return {}

    def row(self, state: Any, finished: Tensor, condition: Tensor | None, y: Tensor) -> Any:
        return {}, self.params_below(self.encode(finished), self.condition_row(condition, y))

    def pixel(self, state: Any, features: Tensor, values: Tensor, position: Tensor) -> Any:
        return features, {}

    def row_params(self, state: Any, features: Tensor, values: Tensor, y: Tensor) -> Tensor:
        return features

    @property
    def num_features(self) -> int:
        return int(self.distribution.num_params(self.grid_shape[-1]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "boldness": self.boldness}


def run(*args: Any, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Model("above", f"{__name__}:Above", "prior", defaults={"units": 8})
    monkeypatch.setitem(MODELS, "above", line)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Columns of one level each, bright ones of class 1."""
    labels = np.arange(40) % 2
    rows = np.random.default_rng(0).integers(2, size=(40, 1, 5, 1)) + 2 * labels[:, None, None, None]
    images = rows.repeat(4, axis=1).astype("uint8")
    path = tmp_path / "stripes.npz"
    np.savez(path, x_train=images, x_test=images[:10], y_train=labels, y_test=labels[:10], num_levels=4)
    return path


@pytest.mark.usefixtures("registered")
def test_help_teaches_it() -> None:
    assert "above What is above (Nobody 2020, arXiv:0000.00000)" in " ".join(run("train", "--help").split())
    words = " ".join(run("train", "above", "--help").replace("│", " ").split())
    for said in (
        "Every pixel knows the one above it and nothing else.",
        "tfprior train above --data digits",
        "--units <int> Features of the hidden layer. [default: 8]",
        "--boldness <float> Factor of the parameters. [default: 1.0]",
    ):
        assert said in words
    assert "--filters" not in words


@pytest.mark.usefixtures("registered")
def test_it_goes_the_whole_way(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    how = ["--epochs", 30, "--batch-size", 8, "--learning-rate", 0.05]
    assert "this prior" in run(
        "train", "above", "--data", data, "--conditional", "--boldness", 2, "--out", out, *how
    )
    prior = load_prior(out)
    assert isinstance(prior, Above)
    assert (prior.units, prior.boldness, prior.num_classes) == (8, 2.0, 2)
    config = load_run(out).config["model"]
    assert {"name": "above", "units": 8, "boldness": 2.0, "output": "categorical"}.items() <= config.items()
    images = load(data)
    bits = float(np.mean(prior.bits_per_dim(images.x_test, images.y_test)))
    assert f"{bits:.4f}" in run("evaluate", out)
    assert bits < 0.5  # a quarter of the rows has one bit a pixel, which no prior can spare
    run("sample", out, "--class", 1, "--num", 20, "--out", tmp_path / "s.png", "--npz", tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as drawn:
        assert np.mean(drawn["values"] >= 2) > 0.95
        assert np.mean(drawn["values"][:, 1:] == drawn["values"][:, :-1]) > 0.8
    run("export", out, tmp_path / "bundle", "--format", "onnx")
    again = ["--class", 1, "--num", 20, "--out", tmp_path / "s.png", "--npz", tmp_path / "again.npz"]
    run("sample", tmp_path / "bundle", *again)
    with np.load(tmp_path / "s.npz") as drawn, np.load(tmp_path / "again.npz") as exported:
        np.testing.assert_array_equal(exported["values"], drawn["values"])
    for words, said in (
        (["above", "--units", 0], "--units 0: expected a positive number"),
        (["pixel_cnn", "--units", 3], "--units belongs to above; pixel_cnn has no such option"),
    ):
        assert said in run("train", *words, "--out", tmp_path / "other", code=2)
