"""Priors that cannot be built are refused at construction, in one sentence."""

from typing import Any

import catalogue
import pytest
from catalogue import COLOUR, each_kind, each_masked_kind, each_raster_kind

from tfprior.priors import PixelCNNPP


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid_shape": (5, 6)}, r"grid_shape=\(5, 6\) is not a grid; expected three positive integers"),
        ({"grid_shape": (5, 0, 1)}, r"grid_shape=\(5, 0, 1\) is not a grid"),
        ({"grid_shape": (5.0, 6, 1)}, r"grid_shape=\(5.0, 6, 1\) is not a grid"),
        ({"grid_shape": 28}, r"grid_shape=28 is not a grid"),
        (
            {"distribution": "categorical"},
            r"distribution='categorical'; expected one of tfprior.distributions",
        ),
        ({"num_classes": 3, "condition_shape": (4,)}, r"expected one kind of condition"),
        ({"num_classes": 0}, r"num_classes=0; expected a positive number"),
        (
            {"condition_shape": (6, 4, 2)},
            r"condition_shape=\(6, 4, 2\); expected \(D,\) for vectors or \(4, 6, D\)",
        ),
        ({"condition_shape": (4, 6)}, r"condition_shape=\(4, 6\); expected"),
        ({"condition_shape": 4}, r"condition_shape=4; expected"),
        ({"condition_shape": (0,)}, r"condition_shape=\(0,\); expected"),
        ({"num_layers": -1}, r"num_layers=-1.*; expected"),
        ({"dropout": 1.5}, r"rate.*1.5"),
        ({"num_layers": 10**8}, r"num_layers=100000000; expected 1,000 at most"),
        ({"value_embedding_dim": 0}, r"embedding_dim=0; expected"),
        (
            {"class_embedding_dim": 0, "num_classes": 3},
            r"class_embedding_dim=0; expected a positive integer",
        ),
        ({"depth": 3}, r"depth"),
    ],
)
@each_kind
def test_bad_options_are_refused_at_construction(kind: Any, changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{**catalogue.arguments(kind), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filters": 0}, r"filters=0"),
        ({"filters": 10**8}, r"filters=100000000; expected 1,048,576 at most"),
    ],
)
@each_raster_kind
def test_bad_filters_are_refused_at_construction(kind: Any, changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{**catalogue.arguments(kind), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 4}, r"kernel_size=4; expected an odd number"),
        ({"first_kernel_size": 1}, r"kernel_size=1; expected an odd number"),
        ({"filters": 8, "grid_shape": COLOUR}, r"filters=8 for groups="),
    ],
)
@each_masked_kind
def test_bad_options_of_masks_are_refused_at_construction(kind: Any, changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{**catalogue.arguments(kind), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid_shape": (6, 8, 1), "num_stages": 3}, "divisible by 4: crop or pad the images, or use fewer"),
        ({"grid_shape": (4, 7, 1), "num_stages": 2}, "divisible by 2"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"num_stages": 0}, "num_stages=0"),
    ],
)
def test_bad_options_of_stages_are_refused_at_construction(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PixelCNNPP(**{**catalogue.arguments(PixelCNNPP), **changes})
