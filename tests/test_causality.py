"""Raster priors are causal both ways: parameters depend on exactly what the masks let through.

The receptive field of PixelCNN++ is in test_pixelcnn_pp_causality.
"""

from pathlib import Path
from typing import Any

import catalogue
import keras
import numpy as np
import pytest
from catalogue import (
    COLOUR,
    GREY,
    batch_of,
    each_grid,
    each_kind,
    each_masked_kind,
)
from receptive_fields import assert_causal, jacobian, permitted

from tfprior.priors import CausalTransformer, GatedPixelCNN, PixelCNN, Prior

each_model = pytest.mark.parametrize(
    ("grid", "condition"),
    [
        *[(GREY, name) for name in ("none", "labels", "maps")],
        *[(COLOUR, name) for name in ("none", "vectors", "maps")],
    ],
)


def wide(kind: Any, *shape: Any, **changes: Any) -> Prior:
    """A prior with so many features that no value is lost in dead units."""
    size = "hidden_dim" if kind is CausalTransformer else "filters"
    return catalogue.prior(kind, *shape, **{size: 24}, **changes)


def fitted(prior: Prior, **options: Any) -> Prior:
    prior.compile(optimizer=keras.optimizers.AdamW(0.01, weight_decay=0.1), run_eagerly=True)
    prior.fit(batch_of(prior, 6), batch_size=6, verbose=0, **options)
    return prior


@each_masked_kind
@each_model
def test_parameters_depend_on_exactly_the_receptive_field(kind: Any, grid: Any, condition: str) -> None:
    assert_causal(wide(kind, grid, condition))


@pytest.mark.each_once
@each_masked_kind
@each_grid
def test_training_and_saving_keep_causality(kind: Any, grid: Any, tmp_path: Path) -> None:
    prior = fitted(wide(kind, grid, "labels"))
    assert_causal(prior)
    prior.save(tmp_path / "prior.keras")
    assert_causal(keras.saving.load_model(tmp_path / "prior.keras"))


@each_grid
def test_gated_pixel_cnn_has_no_blind_spot(grid: Any) -> None:
    prior = wide(GatedPixelCNN, grid, num_layers=4)
    np.testing.assert_array_equal(jacobian(prior).any(3), permitted(grid))


def test_pixel_cnn_has_its_blind_spot() -> None:
    grid = (6, 7, 1)
    moved = jacobian(wide(PixelCNN, grid, num_layers=5, first_kernel_size=3)).any(3)[..., 0, :, :, 0]
    # What the pixel `o` sees: 3×3 masks climb one column to the right a row, the rest (.) is never reached.
    drawing = [
        "x x x x x x x",
        "x x x x x x .",
        "x x x x x . .",
        "x x x x . . .",
        "x x o . . . .",
        ". . . . . . .",
    ]
    np.testing.assert_array_equal(moved[4, 2], [[mark == "x" for mark in row.split()] for row in drawing])


@each_kind
def test_red_leads_green_leads_blue(kind: Any) -> None:
    moved = jacobian(wide(kind, COLOUR)).all(3)
    for y, x in np.ndindex(COLOUR[:2]):
        order = moved[y, x, :, y, x].astype(int).tolist()  # parameters of R, G, B by values of R, G, B
        assert order == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
