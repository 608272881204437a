"""Images above maps of how many bits each of their pixels takes.

Shapes: N images · H W C.
"""

import os

import numpy as np
from PIL import Image

from tfprior.pictures.sheets import BACKDROP, check_grids, enlarge, lay_out_stacks, save_png, to_rgb
from tfprior.pictures.style import ROUND_STEPS, picture_of, quiet, styled

with quiet():
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

# Dark is likely, bright surprises, in even steps of lightness; without the black of many images' backgrounds.
COLORS = ListedColormap(matplotlib.colormaps["magma"](np.arange(16, 256)))
UNIT = "bits per pixel"
PERCENTILE = 99.5
SIDE = 96
LEGEND, LEGEND_DPI = (3.2, 0.74), 100  # inches, pixels per inch
BAR = (0.08, 0.42, 0.84, 0.17)  # left, bottom, width and height of the bar as shares of the legend


def save_heat_maps(
    images: np.ndarray,
    bits: np.ndarray,
    num_levels: int,
    path: str | os.PathLike[str],
    columns: int = 8,
    scale: int | None = None,
) -> None:
    """Draws images (N, H, W, C), each above its map (N, H, W) of bits per pixel, and a legend below.

    All maps share one scale between round numbers, from 0 or, as densities have them, from negative bits. The
    few pixels beyond it take the colour of its end, and the legend is pointed there. A pixel is drawn `scale`
    pixels wide; left out, images are about 96 pixels wide.

    Raises:
        ValueError: for anything but integer grids, maps of other sizes or not of finite bits, or no columns.
    """
    check_grids(images)
    if bits.shape != images.shape[:3] or not np.isfinite(bits).all():
        raise ValueError(
            f"Got images {images.shape} and maps {bits.shape}; expected (N, H, W, C) and (N, H, W), the bits "
            "finite."
        )
    ticks = scale_of(bits)
    colors = ScalarMappable(Normalize(ticks[0], ticks[-1], clip=True), COLORS)
    scale = max(1, round(SIDE / max(images.shape[1:3]))) if scale is None else scale
    above = enlarge(to_rgb(images, num_levels), scale)
    below = enlarge(np.stack([colors.to_rgba(one, bytes=True)[..., :3] for one in bits]), scale)
    sheet = lay_out_stacks([above, below], columns)
    bar = picture_of(legend(colors, ticks, bits.min(), bits.max()))
    canvas = Image.new("RGB", (max(sheet.width, bar.width), sheet.height + bar.height), BACKDROP)
    canvas.paste(sheet, ((canvas.width - sheet.width) // 2, 0))
    canvas.paste(bar, ((canvas.width - bar.width) // 2, sheet.height))
    save_png(canvas, path)


def scale_of(bits: np.ndarray) -> np.ndarray:
    """Round numbers, the outer ones around nearly all of the bits."""
    low, high = np.percentile(bits, [100 - PERCENTILE, PERCENTILE])
    low = min(0.0, low)
    return np.asarray(MaxNLocator(6, steps=ROUND_STEPS).tick_values(low, max(high, low + 1e-3)))


@styled()
def legend(colors: ScalarMappable, ticks: np.ndarray, least: float, most: float) -> Figure:
    """The scale as a bar with numbers, pointed where the least or the most bits lie beyond it."""
    figure = Figure(LEGEND, LEGEND_DPI, facecolor=f"#{bytes(BACKDROP).hex()}")
    ends = ["neither", "min", "max", "both"][(least < ticks[0]) + 2 * (most > ticks[-1])]
    axes = figure.add_axes(BAR)
    bar = figure.colorbar(colors, axes, orientation="horizontal", extend=ends, ticks=ticks)
    bar.outline.set_visible(False)
    axes.set_title(UNIT, loc="center", pad=6, fontsize="medium")
    return figure
