"""How often each code of a codebook is used."""

import os

import numpy as np

from tfprior.pictures.chart import ACCENT, STRONG, Chart, count_ticks, nice_ticks


def save_codebook_usage(
    codes: np.ndarray, codebook_size: int, path: str | os.PathLike[str], title: str = "use of the codebook"
) -> None:
    """Draws the share of each code, the most used one first, beside that of evenly used ones.

    Args:
        codes: numbers in [0, codebook_size), of any shape.
        codebook_size: bars to draw, K.
        path: of the picture.
        title: above it.

    Raises:
        ValueError: for anything but such numbers.
    """
    if not codes.size or not np.issubdtype(codes.dtype, np.integer) or codes.max() >= codebook_size:
        raise ValueError(
            f"Got {codes.dtype} of shape {codes.shape} to count; expected codes in [0, {codebook_size - 1}], "
            "at least one."
        )
    shares = np.sort(np.bincount(codes.ravel(), minlength=codebook_size))[::-1] / codes.size
    used = shares[shares > 0]
    perplexity = np.exp(-(used * np.log(used)).sum())
    chart = Chart(0.5, codebook_size + 0.5, nice_ticks(0, 100 * shares[0]))
    chart.axes(title, "code, the most used first", count_ticks(codebook_size))
    chart.text(chart.left - 10, chart.top - 16, "%", "rm")
    gap = 1 if codebook_size <= 128 else 0
    for number, share in enumerate(100 * used, 1):
        chart.bar(chart.x(number - 0.5) + gap, chart.x(number + 0.5) - gap, chart.y(share), STRONG)
    even = 100 / codebook_size
    chart.dashes(chart.y(even), ACCENT)
    chart.text(chart.right, chart.y(even) - 9, f"uniform  {even:.2g} %", "rm", 13, ACCENT)
    words = f"{len(used)} of {codebook_size} used · perplexity {perplexity:.1f}"
    chart.text(chart.right, 26, words, "rm")
    chart.save(path)
