"""The training curve."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from tfprior.pictures.sheets import save_png
from tfprior.pictures.style import (
    ACCENT,
    PALE,
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS = 30  # epochs, more of which are a line without a dot on each


def save_curve(
    train: Sequence[float],
    validation: Sequence[float],
    path: str | os.PathLike[str],
    baselines: Mapping[str, float] | None = None,
    title: str = "bits per dimension",
    better: Literal["min", "max"] = "min",
) -> None:
    """Draws bits per dimension, or another score, of every epoch (1, 2, …), the baselines as dashed lines.

    The best epoch has a ring. Epochs that are not finite leave a gap, such baselines are left out.

    Raises:
        ValueError: for no epochs, or lines of different lengths.
    """
    if not len(train) or len(train) != len(validation):
        raise ValueError(
            f"Got {len(train)} training and {len(validation)} validation values; expected as many of both, "
            "and at least one."
        )
    save_png(picture_of(curve(train, validation, baselines or {}, title, better)), path)


@styled()
def curve(
    train: Sequence[float],
    validation: Sequence[float],
    baselines: Mapping[str, float],
    title: str,
    better: Literal["min", "max"] = "min",
) -> "Figure":
    finite = [(value, epoch) for epoch, value in enumerate(validation, 1) if math.isfinite(value)]
    choose = min if better == "min" else max
    score, best = choose(finite, key=lambda each: each[0], default=(math.nan, 0))
    note = f"best validation {score:.3f} in epoch {best}" if finite else "no finite validation"
    figure, axes = new_chart(title, note, "epoch")
    labels = [
        *draw_series(axes, "training", train, PALE, 1.8),
        *draw_series(axes, "validation", validation, STRONG, 2.2),
    ]
    axes.scatter(
        [best], [score], s=64, color="white", edgecolors=STRONG, linewidths=2, clip_on=False, zorder=4
    )
    for name, bits in baselines.items():
        if not math.isfinite(bits):
            continue
        draw_baseline(axes, bits)
        labels.append(Label(bits, f"{name}  {bits:.2f}", ACCENT))
    axes.set_xlim((1, len(train)) if len(train) > 1 else (0.5, 1.5))
    axes.set_xticks(count_ticks(len(train)))
    label_ends(figure, axes, labels)
    return figure


def draw_series(axes: "Axes", name: str, values: Sequence[float], color: str, width: float) -> list[Label]:
    """Draws the values of epochs 1, 2, …; gives the label of the last one, if any is finite."""
    heights = np.where(np.isfinite(values), values, np.nan)
    marker = "o" if len(values) <= DOTS else ""
    axes.plot(
        range(1, len(values) + 1),
        heights,
        color=color,
        linewidth=width,
        marker=marker,
        markersize=4.4,
        clip_on=False,
        zorder=3,
    )
    finite = heights[np.isfinite(heights)]
    return [Label(last, f"{name}  {values[-1]:.3f}", color) for last in finite[-1:]]
