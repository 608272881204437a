"""How often each code of a codebook is used."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tfprior.pictures.sheets import save_png
from tfprior.pictures.style import (
    ACCENT,
    STRONG,
    Label,
    count_ticks,
    draw_baseline,
    label_ends,
    new_chart,
    picture_of,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BARS = 128  # codes, more of which are drawn as one surface


def save_codebook_usage(
    codes: np.ndarray | Sequence[np.ndarray],
    codebook_size: int | Sequence[int],
    path: str | os.PathLike[str],
    title: str = "use of the codebook",
) -> None:
    """Draws the share of each code, the most used one first, beside that of evenly used ones.

    Args:
        codes: numbers in [0, codebook_size), of any shape; a list of several codebooks, one below another.
        codebook_size: bars to draw, K; a list of several codebooks.
        path: of the picture.
        title: above it.

    Raises:
        ValueError: for anything but such numbers.
    """
    grids = [codes] if isinstance(codes, np.ndarray) else codes
    sizes = [codebook_size] if isinstance(codebook_size, int) else codebook_size
    charts = [chart_of(grid, size, title) for grid, size in zip(grids, sizes, strict=True)]
    save_png(Image.fromarray(np.concatenate([np.asarray(chart) for chart in charts])), path)


def chart_of(codes: np.ndarray, codebook_size: int, title: str) -> Image.Image:
    countable = codes.size and np.issubdtype(codes.dtype, np.integer)
    if not countable or codes.min() < 0 or codes.max() >= codebook_size:
        raise ValueError(
            f"Got {codes.dtype} of shape {codes.shape} to count; expected codes in [0, {codebook_size - 1}], "
            "at least one."
        )
    shares = np.sort(np.bincount(codes.ravel(), minlength=codebook_size))[::-1] / codes.size
    return picture_of(usage(shares, title))


@styled()
def usage(shares: np.ndarray, title: str) -> "Figure":
    size = len(shares)
    used = shares[shares > 0]
    perplexity = np.exp(-(used * np.log(used)).sum())
    note = f"{len(used)} of {size} used · perplexity {perplexity:.1f}"
    figure, axes = new_chart(title, note, "code, the most used first")
    if size <= BARS:
        axes.bar(np.arange(1, size + 1), 100 * shares, 0.96, color=STRONG)
    else:
        axes.stairs(100 * shares, np.arange(size + 1) + 0.5, fill=True, color=STRONG, linewidth=0)
    axes.set_xlim(0.5, size + 0.5)
    axes.set_xticks(count_ticks(size))
    axes.yaxis.set_major_formatter("{x:g} %")
    even = 100 / size
    draw_baseline(axes, even)
    label_ends(figure, axes, [Label(even, f"uniform  {even:.2g} %", ACCENT)])
    return figure
