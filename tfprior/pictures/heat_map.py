"""Images above maps of how many bits each of their pixels takes.

Shapes: N images · H W C.
"""

import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfprior.pictures.chart import nice_ticks
from tfprior.pictures.sheets import (
    BACKDROP,
    GAP,
    INK,
    check_grids,
    enlarge,
    lay_out_pairs,
    save_png,
    to_rgb,
)

# From what is likely to what surprises, in nearly even steps of lightness (CIE L* 4, 20, 36, 52, 68, 84, 97).
COLORS = (
    (13, 11, 32),
    (72, 24, 104),
    (143, 38, 121),
    (214, 69, 92),
    (243, 132, 70),
    (247, 200, 115),
    (252, 246, 212),
)
UNIT = "bits per pixel"
BAR_WIDTH, BAR_HEIGHT, TICK, MARGIN = 256, 12, 4, 24
FONT_SIZE = 13
PERCENTILE = 99.5
SIDE = 96


def save_heat_maps(
    images: np.ndarray,
    bits: np.ndarray,
    num_levels: int,
    path: str | os.PathLike[str],
    columns: int = 8,
    scale: int | None = None,
) -> None:
    """Draws images (N, H, W, C), each above its map (N, H, W) of bits per pixel, and a legend below.

    All maps share one scale from 0 to a round number; the few pixels beyond it take its brightest colour. A
    pixel is drawn `scale` pixels wide; left out, images are about 96 pixels wide.

    Raises:
        ValueError: for anything but integer grids, maps of other sizes or not of finite bits, or no columns.
    """
    check_grids(images)
    if bits.shape != images.shape[:3] or not np.isfinite(bits).all():
        raise ValueError(
            f"Got images {images.shape} and maps {bits.shape}; expected (N, H, W, C) and (N, H, W), the bits "
            "finite."
        )
    ticks = nice_ticks(0, float(np.percentile(bits, PERCENTILE)), about=8)
    scale = max(1, round(SIDE / max(images.shape[1:3]))) if scale is None else scale
    above, below = to_rgb(images, num_levels), colors_of(bits / ticks[-1])
    sheet = lay_out_pairs(enlarge(above, scale), enlarge(below, scale), columns)
    bar = legend(ticks, exceeded=bool(bits.max() > ticks[-1]))
    canvas = Image.new("RGB", (max(sheet.width, bar.width), sheet.height + bar.height), BACKDROP)
    canvas.paste(sheet, ((canvas.width - sheet.width) // 2, 0))
    canvas.paste(bar, ((canvas.width - bar.width) // 2, sheet.height))
    save_png(canvas, path)


def colors_of(shares: np.ndarray) -> np.ndarray:
    """Shares of the scale (…) as colours (…, 3) uint8: darkest up to 0, brightest from 1 on."""
    anchors = np.asarray(COLORS)
    places = np.linspace(0, 1, len(anchors))
    channels = [np.interp(shares, places, anchors[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype("uint8")


def legend(ticks: list[float], exceeded: bool) -> Image.Image:
    """The scale as a bar with numbers; the last one says if there are values beyond it."""
    font = ImageFont.load_default(size=FONT_SIZE)
    top = GAP + 2 * FONT_SIZE
    bottom = top + BAR_HEIGHT
    canvas = Image.new("RGB", (BAR_WIDTH + 2 * MARGIN, bottom + TICK + 2 * FONT_SIZE), BACKDROP)
    draw = ImageDraw.Draw(canvas)
    draw.text((canvas.width / 2, top - FONT_SIZE), UNIT, INK, font, anchor="mm")
    ramp = colors_of(np.linspace(0, 1, BAR_WIDTH))
    canvas.paste(Image.fromarray(np.broadcast_to(ramp, (BAR_HEIGHT, BAR_WIDTH, 3)).copy()), (MARGIN, top))
    for tick in ticks:
        x = MARGIN + round(tick / ticks[-1] * (BAR_WIDTH - 1))
        draw.line([(x, bottom), (x, bottom + TICK)], INK)
        words = f"{tick:g}{'+' if exceeded and tick == ticks[-1] else ''}"
        draw.text((x, bottom + TICK + FONT_SIZE), words, INK, font, anchor="mm")
    return canvas
