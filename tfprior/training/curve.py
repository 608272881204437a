"""The training curve, drawn with Pillow alone."""

import math
import os
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from tfprior.training.pictures import save_png

# Drawn three times larger and scaled down: Pillow's own lines have no smooth edges.
OVERSAMPLING = 3
SIZE = (900, 520)
LEFT, TOP, RIGHT, BOTTOM = 78, 58, 36, 62
WHITE, TEXT, FAINT, AXIS = (255, 255, 255), (50, 54, 62), (228, 230, 234), (150, 154, 162)
TRAIN, VALIDATION, BASELINE = (148, 163, 190), (31, 98, 196), (190, 96, 62)


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
    _Curve(train, validation, dict(baselines or {})).draw(title, path)


class _Curve:
    def __init__(
        self, train: Sequence[float], validation: Sequence[float], baselines: Mapping[str, float]
    ) -> None:
        self.train = [float(value) for value in train]
        self.validation = [float(value) for value in validation]
        self.baselines = baselines
        values = [v for v in [*self.train, *self.validation, *baselines.values()] if math.isfinite(v)] or [
            1.0
        ]
        self.y_ticks = nice_ticks(min(values), max(values))
        self.low, self.high = self.y_ticks[0], self.y_ticks[-1]
        self.epochs = len(self.train)
        width, height = (OVERSAMPLING * side for side in SIZE)
        self.canvas = Image.new("RGB", (width, height), WHITE)
        self.pen = ImageDraw.Draw(self.canvas)

    def x(self, epoch: float) -> float:
        share = 0.5 if self.epochs == 1 else (epoch - 1) / (self.epochs - 1)
        return LEFT + share * (SIZE[0] - LEFT - RIGHT)

    def y(self, bits: float) -> float:
        share = (bits - self.low) / (self.high - self.low)
        return SIZE[1] - BOTTOM - share * (SIZE[1] - TOP - BOTTOM)

    def line(self, points: list[tuple[float, float]], color: tuple[int, int, int], width: float = 1) -> None:
        scaled = [(OVERSAMPLING * x, OVERSAMPLING * y) for x, y in points]
        self.pen.line(scaled, color, round(OVERSAMPLING * width), joint="curve")

    def text(
        self, x: float, y: float, words: str, anchor: str, size: int = 14, color: tuple[int, int, int] = TEXT
    ) -> None:
        font = ImageFont.load_default(size=OVERSAMPLING * size)
        self.pen.text(
            (OVERSAMPLING * x, OVERSAMPLING * y),
            words,
            color,
            font,
            anchor,
            stroke_width=OVERSAMPLING * 2,
            stroke_fill=WHITE,
        )

    def draw(self, title: str, path: str | os.PathLike[str]) -> None:
        right, bottom = SIZE[0] - RIGHT, SIZE[1] - BOTTOM
        digits = max(0, -math.floor(math.log10(self.y_ticks[1] - self.y_ticks[0]) + 1e-9))
        for bits in self.y_ticks:
            self.line([(LEFT, self.y(bits)), (right, self.y(bits))], FAINT)
            self.text(LEFT - 10, self.y(bits), f"{bits:.{digits}f}", "rm")
        for epoch in epoch_ticks(self.epochs):
            self.line([(self.x(epoch), bottom), (self.x(epoch), bottom + 6)], AXIS)
            self.text(self.x(epoch), bottom + 18, str(epoch), "mm")
        self.line([(LEFT, TOP), (LEFT, bottom), (right, bottom)], AXIS, 1.3)
        self.text(LEFT, 26, title, "lm", 17)
        self.text((LEFT + right) / 2, SIZE[1] - 18, "epoch", "mm")
        self._series(self.train, TRAIN, 2)
        self._series(self.validation, VALIDATION, 2.6)
        self._baselines(right)
        self._legend(right)
        save_png(self.canvas.resize(SIZE, Image.Resampling.LANCZOS), path)

    def _baselines(self, right: float) -> None:
        labelled: list[float] = []
        for name, bits in self.baselines.items():
            x = float(LEFT)
            while x < right:
                self.line([(x, self.y(bits)), (min(x + 7, right), self.y(bits))], BASELINE, 1.4)
                x += 12
            close = any(abs(self.y(bits) - other) < 18 for other in labelled)
            labelled.append(self.y(bits))
            self.text(right, self.y(bits) + (9 if close else -9), f"{name}  {bits:.2f}", "rm", 13, BASELINE)

    def _series(self, values: list[float], color: tuple[int, int, int], width: float) -> None:
        points = [
            (self.x(epoch), self.y(bits)) for epoch, bits in enumerate(values, 1) if math.isfinite(bits)
        ]
        if len(points) > 1:
            self.line(points, color, width)
        if self.epochs <= 30:
            for x, y in points:
                box = [OVERSAMPLING * side for side in (x - 3, y - 3, x + 3, y + 3)]
                self.pen.ellipse(box, color)

    def _legend(self, right: float) -> None:
        best = min(self.validation)
        for x, color, words in (
            (right - 330, TRAIN, "training"),
            (right - 218, VALIDATION, f"validation (best {best:.3f})"),
        ):
            self.line([(x, 26), (x + 26, 26)], color, 3)
            self.text(x + 34, 26, words, "lm")


def nice_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers that enclose [low, high], 1, 2 or 5 times a power of ten apart."""
    raw = max(high - low, 1e-3 * max(abs(high), 1.0)) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]


def epoch_ticks(epochs: int, about: int = 8) -> list[int]:
    """Round epochs to label: the first one, and multiples of a round step."""
    step = max(1, round(nice_ticks(0, epochs, about)[1]))
    return [1, *(epoch for epoch in range(step, epochs + 1, step) if epoch - 1 >= step / 2)]
