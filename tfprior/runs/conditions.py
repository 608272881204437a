"""What a prior of a finer grid of codes is conditioned on: the tokenizer's map of the coarser codes.

Shapes: N grids · h w coarser codes, G each · H W finer codes · D features.
"""

import os

import numpy as np

from tfprior.compilation import in_batches
from tfprior.data import CodesOrigin, Images
from tfprior.distributions.base import Tensor
from tfprior.inputs import check_values
from tfprior.runs.opening import tokenizer_of
from tfprior.tokenizers.base import Tokenizer


class ConditionMap:
    """Codes (N, h, w, G) of the grid above → the condition (N, H, W, D) float32 of the priors of a grid.

    Args:
        tokenizer: of the codes.
        grid: which is conditioned, from 1; 0 is the coarsest.
    """

    def __init__(self, tokenizer: Tokenizer, grid: int) -> None:
        self.tokenizer = tokenizer
        self.grid = grid

    @property
    def shape(self) -> tuple[int, ...] | None:
        """(H, W, D)."""
        return self.tokenizer.condition_shapes[self.grid]

    def check(self, codes: np.ndarray) -> None:
        """Raises ValueError for codes of another shape, type or range."""
        above = self.grid - 1
        check_values(
            codes, self.tokenizer.code_shapes[above], self.tokenizer.codebook_sizes[above], "coarser codes"
        )

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        maps: np.ndarray = in_batches(_condition_map, self.tokenizer, [codes.astype("int32")], len(codes))
        return maps


def condition_map_of(images: Images, tokenizer: str | os.PathLike[str] | None = None) -> ConditionMap | None:
    """Of codes of a finer grid; None for all else.

    Raises:
        FileNotFoundError: where their tokenizer is no longer there.
        ValueError: for another tokenizer, and coarser codes that are not its.
    """
    origin: CodesOrigin | None = images.origin
    if origin is None or not images.are_finer:
        return None
    model = tokenizer_of(origin, images.name, tokenizer)
    if len(model.code_shapes) != origin.num_grids:
        raise ValueError(
            f"{images.name} holds codes of grid {origin.grid} of {origin.num_grids} and its tokenizer has "
            f"{len(model.code_shapes)}; encode the images again."
        )
    found = ConditionMap(model, origin.grid)
    for codes in (images.y_train, images.y_test):
        if codes is not None:
            found.check(codes)
    return found


def _condition_map(tokenizer: Tokenizer, codes: Tensor) -> Tensor:
    return tokenizer.condition_map(codes)
