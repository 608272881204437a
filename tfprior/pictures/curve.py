"""The training curve."""

import math
import os
from collections.abc import Mapping, Sequence

from tfprior.pictures.chart import ACCENT, PALE, STRONG, Chart, Color, count_ticks, nice_ticks


def save_curve(
    train: Sequence[float],
    validation: Sequence[float],
    path: str | os.PathLike[str],
    baselines: Mapping[str, float] | None = None,
    title: str = "bits per dimension",
) -> None:
    """Draws bits per dimension of every epoch (1, 2, …), with the baselines as dashed lines.

    Raises:
        ValueError: for no epochs, or lines of different lengths.
    """
    if not len(train) or len(train) != len(validation):
        raise ValueError(
            f"Got {len(train)} training and {len(validation)} validation values; expected as many of both, "
            "and at least one."
        )
    lines = {**(baselines or {})}
    values = [value for value in (*train, *validation, *lines.values()) if math.isfinite(value)] or [1.0]
    chart = Chart(1, len(train), nice_ticks(min(values), max(values)))
    chart.axes(title, "epoch", count_ticks(len(train)))
    draw_series(chart, train, PALE, 2)
    draw_series(chart, validation, STRONG, 2.6)
    draw_baselines(chart, lines)
    for x, color, words in (
        (chart.right - 330, PALE, "training"),
        (chart.right - 218, STRONG, f"validation (best {min(validation):.3f})"),
    ):
        chart.line([(x, 26), (x + 26, 26)], color, 3)
        chart.text(x + 34, 26, words, "lm")
    chart.save(path)


def draw_series(chart: Chart, values: Sequence[float], color: Color, width: float) -> None:
    points = [(chart.x(epoch), chart.y(bits)) for epoch, bits in enumerate(values, 1) if math.isfinite(bits)]
    if len(points) > 1:
        chart.line(points, color, width)
    if len(values) <= 30:
        for point in points:
            chart.dot(*point, color)


def draw_baselines(chart: Chart, baselines: Mapping[str, float]) -> None:
    labelled: list[float] = []
    for name, bits in baselines.items():
        y = chart.y(bits)
        chart.dashes(y, ACCENT)
        close = any(abs(y - other) < 18 for other in labelled)
        labelled.append(y)
        chart.text(chart.right, y + (9 if close else -9), f"{name}  {bits:.2f}", "rm", 13, ACCENT)
