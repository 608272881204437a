"""Integer grids as PNG pictures.

Shapes: N grids · K completions of each · H W C grid.
"""

import os

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfprior.atomic import atomic_path

BACKDROP = (236, 237, 240)
INK = (58, 62, 70)
HIDDEN = (74, 120, 196)
GAP = 3


def save_grid(
    images: np.ndarray,
    num_levels: int,
    path: str | os.PathLike[str],
    columns: int = 8,
    scale: int | None = None,
) -> None:
    """Draws grids (N, H, W, C) row by row, `columns` a row, each pixel `scale` pixels wide.

    Left out, `scale` makes small grids well visible.

    Raises:
        ValueError: for anything but integer grids, no grids, or no columns.
    """
    check_grids(images)
    save_png(lay_out(enlarge(to_rgb(images, num_levels), scale), columns, GAP), path)


def save_reconstructions(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    num_levels: int,
    path: str | os.PathLike[str],
    columns: int = 8,
    scale: int | None = None,
) -> None:
    """Draws originals (N, H, W, C), each above its reconstruction, `columns` a row.

    Raises:
        ValueError: for anything but integer grids, as many of both, or no columns.
    """
    check_grids(originals)
    check_grids(reconstructions)
    if originals.shape != reconstructions.shape:
        raise ValueError(
            f"Got originals {originals.shape} and reconstructions {reconstructions.shape}; expected one "
            "shape (N, H, W, C)."
        )
    above, below = (enlarge(to_rgb(part, num_levels), scale) for part in (originals, reconstructions))
    save_png(lay_out_stacks([above, below], columns), path)


def save_masked(
    images: np.ndarray,
    masked: np.ndarray,
    reconstructions: np.ndarray,
    path: str | os.PathLike[str],
    columns: int = 8,
    scale: int | None = None,
) -> None:
    """Draws images (N, H, W, C), each above what was visible of it and its reconstruction, `columns` a row.

    All are floats in [0, 1]; reconstructions beyond are cut off.

    Raises:
        ValueError: for images of different shapes, or no columns.
    """
    if not images.shape == masked.shape == reconstructions.shape:
        raise ValueError(
            f"Got images {images.shape}, masked ones {masked.shape} and reconstructions "
            f"{reconstructions.shape}; expected one shape (N, H, W, C)."
        )
    parts = (np.rint(np.clip(part, 0, 1) * 255).astype("uint8") for part in (images, masked, reconstructions))
    save_png(lay_out_stacks([enlarge(to_rgb(part, 256), scale) for part in parts], columns), path)


def save_completions(
    originals: np.ndarray,
    mask: np.ndarray,
    completions: np.ndarray,
    num_levels: int,
    path: str | os.PathLike[str],
    scale: int | None = None,
) -> None:
    """Draws a row for each original (N, H, W, C): what was known, completions (N, K, H, W, C), the original.

    `mask` (H, W) is True where a pixel was hidden; there what was known is tinted.

    Raises:
        ValueError: for anything but integer grids, or shapes that do not belong together.
    """
    check_grids(originals)
    if (
        completions.ndim != 5
        or completions[:, 0].shape != originals.shape
        or mask.shape != originals.shape[1:3]
    ):
        raise ValueError(
            f"Got originals {originals.shape}, completions {completions.shape} and a mask {mask.shape}; "
            "expected (N, H, W, C), (N, K, H, W, C) and (H, W)."
        )
    complete = to_rgb(originals, num_levels)
    known = np.where(mask[..., None], np.asarray(HIDDEN, "uint8"), complete)
    groups = [
        ("known", enlarge(known, scale)[:, None]),
        ("completions", np.stack([enlarge(to_rgb(one, num_levels), scale) for one in completions], 0)),
        ("original", enlarge(complete, scale)[:, None]),
    ]
    height, width = groups[0][1].shape[2:4]
    header, between = 26, 5 * GAP
    font = ImageFont.load_default(size=14)
    total = sum(tiles.shape[1] for _, tiles in groups) * (width + GAP) + 2 * between + GAP
    canvas = Image.new("RGB", (total, header + len(originals) * (height + GAP)), BACKDROP)
    draw = ImageDraw.Draw(canvas)
    left = GAP
    for title, tiles in groups:
        span = tiles.shape[1] * (width + GAP) - GAP
        draw.text((left + span / 2, header / 2), title, fill=INK, font=font, anchor="mm")
        for y, row in enumerate(tiles):
            for x, tile in enumerate(row):
                canvas.paste(Image.fromarray(tile), (left + x * (width + GAP), header + y * (height + GAP)))
        left += span + GAP + between
    save_png(canvas, path)


def lay_out(tiles: np.ndarray, columns: int, row_gap: int) -> Image.Image:
    """Tiles (N, H, W, 3) uint8 row by row on one sheet.

    Raises:
        ValueError: for no columns.
    """
    if columns < 1:
        raise ValueError(f"columns={columns}; expected at least 1.")
    columns = min(columns, len(tiles))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    height, width = tiles.shape[1:3]
    size = columns * (width + GAP) + GAP, len(rows) * (height + row_gap) - row_gap + 2 * GAP
    canvas = Image.new("RGB", size, BACKDROP)
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            canvas.paste(Image.fromarray(tile), (GAP + x * (width + GAP), GAP + y * (height + row_gap)))
    return canvas


def lay_out_stacks(parts: list[np.ndarray], columns: int) -> Image.Image:
    """Tiles (N, H, W, 3) uint8, each above those of the other parts, stack by stack on one sheet.

    Raises:
        ValueError: for no columns.
    """
    between = np.broadcast_to(np.asarray(BACKDROP, "uint8"), (*parts[0][:, :GAP].shape[:3], 3))
    stacked = [tiles for part in parts for tiles in (between, part)][1:]
    return lay_out(np.concatenate(stacked, axis=1), columns, 6 * GAP)


def to_rgb(images: np.ndarray, num_levels: int) -> np.ndarray:
    """Grids (…, C) of levels as (…, 3) uint8; other than three channels show their first one in grey."""
    shades = np.rint(images.astype("float64") * (255 / (num_levels - 1))).astype("uint8")
    return shades if images.shape[-1] == 3 else np.repeat(shades[..., :1], 3, axis=-1)


def enlarge(images: np.ndarray, scale: int | None = None) -> np.ndarray:
    """(N, H, W, 3) with every pixel repeated `scale` times; about 64 pixels a side when left out."""
    if scale is None:
        scale = max(1, round(64 / max(images.shape[1:3])))
    if scale < 1:
        raise ValueError(f"scale={scale}; expected at least 1.")
    return images.repeat(scale, axis=1).repeat(scale, axis=2)


def check_grids(images: np.ndarray) -> None:
    """Raises ValueError unless `images` are integers (N, H, W, C) with N ≥ 1."""
    if images.ndim != 4 or not len(images) or not np.issubdtype(images.dtype, np.integer):
        raise ValueError(
            f"Got {images.dtype} of shape {images.shape} to draw; expected at least one grid of integers "
            "(N, H, W, C)."
        )


def save_png(picture: Image.Image, path: str | os.PathLike[str]) -> None:
    """Writes the picture at once."""
    with atomic_path(path) as temporary:
        picture.save(temporary, "PNG", optimize=True)
