"""What is drawn, as it is sent: JSON, a PNG, or server-sent events."""

import json
import math
from typing import Any

import numpy as np
from PIL import Image

from tfprior.image_files import saved
from tfprior.pictures.sheets import GAP, lay_out, to_rgb
from tfprior.serving.engine import News

JSON, PNG, EVENTS = "application/json", "image/png", "text/event-stream"


def wanted(accept: str, offered: tuple[str, ...]) -> str | None:
    """Which of the types offered a client accepts, the first one if any; None for none of them."""
    kinds = []
    for part in accept.split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        weights = [word.removeprefix("q=") for word in parameters if word.startswith("q=")]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            weight = 0.0
        kinds.append((-weight, kind))
    for weight, kind in sorted(kinds, key=lambda each: each[0]):
        for offer in offered:
            if weight < 0 and kind in (offer, "*/*", f"{offer.partition('/')[0]}/*"):
                return offer
    return None


def png(images: np.ndarray, num_levels: int) -> bytes:
    """Images (N, H, W, C) as one picture, pixel for pixel, about as many below as beside each other."""
    tiles = to_rgb(images, num_levels)
    if len(tiles) == 1:
        return saved(Image.fromarray(tiles[0]), "PNG")
    return saved(lay_out(tiles, math.isqrt(len(tiles) - 1) + 1, GAP), "PNG")


def event(name: str, data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def event_of(news: News, rows_told: int) -> bytes:
    """Rows that are new, or an image that is done."""
    if news.log_prob is None:
        values = news.values[rows_told:].tolist()
        return event("rows", {"index": news.example, "first": rows_told, "values": values})
    done = {"index": news.example, "values": news.values.tolist(), "log_prob": news.log_prob}
    return event("image", done)
