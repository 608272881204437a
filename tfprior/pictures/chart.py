"""Charts drawn with Pillow alone."""

import math
import os
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from tfprior.pictures.sheets import save_png

# Drawn three times larger and scaled down: Pillow's own lines have no smooth edges.
OVERSAMPLING = 3
SIZE = (900, 520)
LEFT, TOP, RIGHT, BOTTOM = 78, 58, 36, 62
WHITE, TEXT, FAINT, AXIS = (255, 255, 255), (50, 54, 62), (228, 230, 234), (150, 154, 162)
PALE, STRONG, ACCENT = (148, 163, 190), (31, 98, 196), (190, 96, 62)
Color = tuple[int, int, int]
Point = tuple[float, float]


class Chart:
    """A white sheet with two axes; what is drawn on it is placed in pixels, which `x` and `y` compute.

    Args:
        first: value at the left end.
        last: value at the right end.
        y_ticks: evenly spaced numbers beside the lower to the upper end.
    """

    left, top, right, bottom = LEFT, TOP, SIZE[0] - RIGHT, SIZE[1] - BOTTOM

    def __init__(self, first: float, last: float, y_ticks: Sequence[float]) -> None:
        self.first, self.last = first, last
        self.y_ticks = y_ticks
        width, height = (OVERSAMPLING * side for side in SIZE)
        self.canvas = Image.new("RGB", (width, height), WHITE)
        self.pen = ImageDraw.Draw(self.canvas)

    def x(self, value: float) -> float:
        share = 0.5 if self.first == self.last else (value - self.first) / (self.last - self.first)
        return self.left + share * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)

    def line(self, points: Sequence[Point], color: Color, width: float = 1) -> None:
        scaled = [(OVERSAMPLING * x, OVERSAMPLING * y) for x, y in points]
        self.pen.line(scaled, color, round(OVERSAMPLING * width), joint="curve")

    def dashes(self, y: float, color: Color) -> None:
        """A dashed line from end to end."""
        x = float(self.left)
        while x < self.right:
            self.line([(x, y), (min(x + 7, self.right), y)], color, 1.4)
            x += 12

    def dot(self, x: float, y: float, color: Color) -> None:
        self.pen.ellipse([OVERSAMPLING * side for side in (x - 3, y - 3, x + 3, y + 3)], color)

    def bar(self, left: float, right: float, top: float, color: Color) -> None:
        """A bar that stands on the lower axis."""
        self.pen.rectangle([OVERSAMPLING * side for side in (left, top, right, self.bottom)], color)

    def text(self, x: float, y: float, words: str, anchor: str, size: int = 14, color: Color = TEXT) -> None:
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

    def axes(self, title: str, x_label: str, x_ticks: Sequence[int]) -> None:
        digits = max(0, -math.floor(math.log10(self.y_ticks[1] - self.y_ticks[0]) + 1e-9))
        for value in self.y_ticks:
            self.line([(self.left, self.y(value)), (self.right, self.y(value))], FAINT)
            self.text(self.left - 10, self.y(value), f"{value:.{digits}f}", "rm")
        for tick in x_ticks:
            self.line([(self.x(tick), self.bottom), (self.x(tick), self.bottom + 6)], AXIS)
            self.text(self.x(tick), self.bottom + 18, str(tick), "mm")
        self.line([(self.left, self.top), (self.left, self.bottom), (self.right, self.bottom)], AXIS, 1.3)
        self.text(self.left, 26, title, "lm", 17)
        self.text((self.left + self.right) / 2, SIZE[1] - 18, x_label, "mm")

    def save(self, path: str | os.PathLike[str]) -> None:
        save_png(self.canvas.resize(SIZE, Image.Resampling.LANCZOS), path)


def nice_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers that enclose [low, high], 1, 2 or 5 times a power of ten apart."""
    raw = max(high - low, 1e-3 * max(abs(high), 1.0)) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]


def count_ticks(count: int, about: int = 8) -> list[int]:
    """Round numbers to label of 1 to `count`: the first one, and multiples of a round step."""
    step = max(1, round(nice_ticks(0, count, about)[1]))
    return [1, *(number for number in range(step, count + 1, step) if number - 1 >= step / 2)]
