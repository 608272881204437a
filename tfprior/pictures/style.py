"""The one style of all charts, drawn by matplotlib in memory: its settings and pyplot stay the user's own."""

import contextlib
import logging
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what matplotlib tells of its font cache, where it first makes one, from the user's terminal."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


with quiet():
    import matplotlib.style
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager
    from matplotlib.ticker import MaxNLocator

# Aileron Regular by Sora Sagano, in the public domain (CC0), cut down to Latin letters; others are DejaVu's.
fontManager.addfont(Path(__file__).with_name("aileron.otf"))

INK, MUTED, AXIS, FAINT = "#32363e", "#6b707b", "#969aa2", "#e4e6ea"
PALE, STRONG, ACCENT = "#8393b3", "#1f62c4", "#be603e"
SIZE, DPI = (9, 5.2), 200  # inches, pixels per inch
SMALL, TITLE, LINE_HEIGHT, TITLE_WIDTH = 9.5, 13.0, 13.5, 84  # points, the last one characters
ROUND_STEPS = [1, 2, 5, 10]
STYLE = {
    "font.family": ["Aileron", "DejaVu Sans"],
    "font.size": 10.5,
    "text.color": INK,
    "text.hinting": "none",
    "text.parse_math": False,
    "axes.axisbelow": True,
    "axes.autolimit_mode": "round_numbers",
    "axes.edgecolor": AXIS,
    "axes.labelcolor": INK,
    "axes.labelpad": 8,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 28,
    "axes.titlesize": TITLE,
    "axes.xmargin": 0,
    "axes.ymargin": 0,
    "figure.constrained_layout.h_pad": 0.14,
    "figure.constrained_layout.w_pad": 0.16,
    "figure.dpi": DPI,
    "figure.figsize": SIZE,
    "grid.color": FAINT,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
    "xtick.color": AXIS,
    "xtick.labelcolor": INK,
    "xtick.major.size": 4,
    "ytick.labelcolor": INK,
    "ytick.major.pad": 7,
    "ytick.major.size": 0,
}


class Label(NamedTuple):
    """Words beside the right end of a line, at the height where the line ends."""

    height: float
    words: str
    color: str


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Within it, charts look like ours whatever the user's settings are; these hold again after it.

    As a decorator: of every function that makes or draws a figure.
    """
    with matplotlib.style.context(STYLE, after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # letters of a title, drawn as boxes
        yield


def new_chart(title: str, note: str, x_label: str) -> tuple[Figure, Axes]:
    """Axes under a title and a note; their vertical limits are round numbers."""
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=ROUND_STEPS))
    axes.set_title(textwrap.fill(title, TITLE_WIDTH))
    axes.annotate(note, (0, 1), (0, 11), "axes fraction", "offset points", color=MUTED)
    axes.set_xlabel(x_label)
    return figure, axes


def draw_baseline(axes: Axes, height: float) -> None:
    """A dashed line from end to end."""
    axes.axhline(height, color=ACCENT, linewidth=1, dashes=(5, 3.6))


def label_ends(figure: Figure, axes: Axes, labels: Sequence[Label]) -> None:
    """Writes the labels right of the axes, moved up or down as little as keeps them apart."""
    from sklearn.isotonic import isotonic_regression

    if not labels:
        return
    figure.draw_without_rendering()  # the layout tells how tall the axes are
    tall = axes.bbox.height * 72 / DPI
    labels = sorted(labels)
    low, high = axes.get_ylim()
    wanted = np.array([(label.height - low) / (high - low) * tall for label in labels])
    rows = LINE_HEIGHT * np.arange(len(labels))
    placed = rows + isotonic_regression(wanted - rows, y_min=0, y_max=tall - rows[-1])
    for label, shift in zip(labels, placed - wanted, strict=True):
        axes.annotate(
            label.words,
            (1, label.height),
            (18, shift),
            ("axes fraction", "data"),
            "offset points",
            color=label.color,
            fontsize=SMALL,
            va="center_baseline",
            arrowprops={
                "arrowstyle": "-",
                "color": label.color,
                "linewidth": 0.7,
                "relpos": (0, 0.6),
                "shrinkA": 2,
                "shrinkB": 3,
            },
            annotation_clip=False,
        )


def count_ticks(count: int) -> list[int]:
    """Round numbers to label of 1 to `count`: the first one, and multiples of a round step."""
    ticks = [round(tick) for tick in MaxNLocator(8, integer=True, steps=ROUND_STEPS).tick_values(0, count)]
    return [1, *(tick for tick in ticks if 1 + ticks[1] / 2 <= tick <= count)]


@styled()
def picture_of(figure: Figure) -> Image.Image:
    """What the figure looks like, in its own pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
