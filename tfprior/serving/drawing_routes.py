"""`:sample` and `:complete`: images that all requests' examples are drawn for together."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Self, TypeVar

import anyio.to_thread
import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from tfprior.serving import schemas
from tfprior.serving.answers import EVENTS, JSON, PNG, event, event_of, png
from tfprior.serving.drawing import Asked, Drawing
from tfprior.serving.engine import Engine, Job, News
from tfprior.serving.faults import LATE
from tfprior.serving.request_values import (
    accepted,
    asked_of,
    check_count,
    condition_of,
    integers,
    limit_of,
    mask_of,
)
from tfprior.serving.served import Served, Shelf
from tfprior.serving.settings import Settings

CLOSED_BY_CLIENT = 499
"""As other servers log it; nobody is there to read it."""
T = TypeVar("T")


def add_drawing(app: FastAPI, shelf: Shelf, settings: Settings) -> None:
    """Adds the routes that draw."""
    content: dict[str, Any] = {PNG: {}, EVENTS: {}}
    described: dict[int | str, dict[str, Any]] = {200: {"model": schemas.Drawn, "content": content}}
    described |= {status: {"model": schemas.Fault} for status in (406, 422, 429, 504)}

    @app.post("/v1/models/{name}:sample", tags=["drawing"], responses=described)
    async def sample(name: str, asked: schemas.SampleRequest, request: Request) -> Response:
        """Draws images: as JSON, one PNG, or rows as they come by server-sent events, as `Accept` says."""
        served = asked_of(shelf, name, "sample", request)
        return await _draw(request, name, served, asked, asked.num_samples, settings)

    @app.post("/v1/models/{name}:complete", tags=["drawing"], responses=described)
    async def complete(name: str, asked: schemas.CompleteRequest, request: Request) -> Response:
        """Draws what is hidden of images, given all that is known."""
        served = asked_of(shelf, name, "complete", request)
        images, mask = integers("images", asked.images), mask_of(asked.mask)
        return await _draw(request, name, served, asked, len(images), settings, images, mask)


async def _draw(
    request: Request,
    name: str,
    served: Served,
    asked: schemas.Drawing,
    count: int,
    settings: Settings,
    images: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> Response:
    """Draws what is asked for, and answers in the form that the client accepts."""
    kind = accepted(request, (JSON, PNG, EVENTS))
    check_count(count, settings)
    seed = secrets.randbelow(2**53) if asked.seed is None else asked.seed  # exact in every language
    what = Asked(
        count,
        seed,
        condition_of(asked.condition),
        asked.temperature,
        asked.guidance,
        asked.order,
        asked.method,
        asked.iterations,
        images,
        mask,
    )
    about = {"model": name, "version": served.version, "seed": seed}
    deadline = asyncio.get_running_loop().time() + limit_of(asked, settings)
    async with asyncio.timeout_at(deadline):
        drawing = await anyio.to_thread.run_sync(served.drawing, what, abandon_on_cancel=True)
    started = _Started(served.engine_of_images, drawing, by_row=kind == EVENTS)
    if kind == EVENTS:
        stream = _events(started, count, deadline, about)
        return StreamingResponse(stream, media_type=EVENTS, headers={"Cache-Control": "no-store"})
    with started:
        async with asyncio.timeout_at(deadline):
            drawn = await _unless_gone(request, started.all(count))
    if drawn is None:
        return Response(status_code=CLOSED_BY_CLIENT)
    values = np.stack([news.values for news in drawn])
    if kind == PNG:
        headers = {"X-Seed": str(seed), "X-Version": served.version}
        return Response(png(values, served.num_levels), media_type=PNG, headers=headers)
    return JSONResponse({**about, "values": values.tolist(), "log_prob": [news.log_prob for news in drawn]})


class _Started:
    """A request that an engine draws, until the context is left.

    Args:
        engine: that draws.
        drawing: the request's images.
        by_row: whether rows are news.
    """

    def __init__(self, engine: Engine, drawing: Drawing, by_row: bool) -> None:
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[News | BaseException]()

        def told(news: News | BaseException) -> None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(queue.put_nowait, news)

        self._engine, self._news, self._job = engine, queue, Job(drawing, told, by_row)
        engine.submit(self._job)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._engine.cancel(self._job)

    async def next(self) -> News:
        """What is told next; raises what went wrong."""
        news = await self._news.get()
        if isinstance(news, BaseException):
            raise news
        return news

    async def all(self, count: int) -> list[News]:
        """The news of each image, in order."""
        images: dict[int, News] = {}
        while len(images) < count:
            news = await self.next()
            images[news.example] = news
        return [images[index] for index in range(count)]


async def _events(
    started: _Started, count: int, deadline: float, about: dict[str, Any]
) -> AsyncIterator[bytes]:
    rows, left = [0] * count, count
    with started:
        yield event("begin", about)
        try:
            async with asyncio.timeout_at(deadline):
                while left:
                    news = await started.next()
                    yield event_of(news, rows[news.example])
                    rows[news.example] = news.rows
                    left -= news.log_prob is not None
        except Exception as error:  # too late for another status
            yield event("error", {"error": LATE if isinstance(error, TimeoutError) else str(error)})
        else:
            yield event("end", {})


async def _unless_gone(request: Request, work: Awaitable[T]) -> T | None:
    """What comes of the work; None where the client went away before."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
