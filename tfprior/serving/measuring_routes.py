"""`:score`, `:encode`, `:features` and `:classify`: functions of images, computed for each request alone."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from tfprior.export.client import OnnxGenerator
from tfprior.serving import schemas
from tfprior.serving.answers import JSON
from tfprior.serving.request_values import (
    accepted,
    asked_of,
    check_count,
    condition_of,
    integers,
    limit_of,
    pixels_of,
)
from tfprior.serving.served import Served, Shelf
from tfprior.serving.settings import Settings

AT_ONCE = 2
"""Requests; what is drawn is not to wait for what is measured."""


def add_measuring(app: FastAPI, shelf: Shelf, settings: Settings) -> None:
    """Adds the routes that measure."""
    pool = ThreadPoolExecutor(AT_ONCE, "measuring")

    async def answer(
        name: str, verb: str, request: Request, asked: Any, measure: Callable[[Served], dict[str, Any]]
    ) -> Response:
        served = asked_of(shelf, name, verb, request)
        accepted(request, (JSON,))
        check_count(len(asked.images), settings)
        async with asyncio.timeout(limit_of(asked, settings)):
            made = await asyncio.get_running_loop().run_in_executor(pool, measure, served)
        return JSONResponse({"model": name, "version": served.version, **made})

    def described(model: Any) -> dict[str, Any]:
        faults = {status: {"model": schemas.Fault} for status in (406, 422, 504)}
        return {"tags": ["measuring"], "response_model": model, "responses": faults}

    @app.post("/v1/models/{name}:score", **described(schemas.Scored))
    async def score(name: str, asked: schemas.ScoreRequest, request: Request) -> Response:
        """The log-likelihood of images in nats, of a bundle with a tokenizer a lower bound of it."""

        def measure(served: Served) -> dict[str, Any]:
            sampler, images = served.image_sampler, integers("images", asked.images)
            is_bound = isinstance(sampler, OnnxGenerator)
            if is_bound and asked.order is not None:
                raise ValueError(f"{name} draws codes and got order={asked.order!r}; leave it out.")
            order = {} if is_bound else {"order": asked.order}
            nats = sampler.log_prob(images, condition_of(asked.condition), **order)
            bits = -nats / (images[0].size * np.log(2))
            return {"log_prob": nats.tolist(), "bits_per_dim": bits.tolist(), "is_bound": is_bound}

        return await answer(name, "score", request, asked, measure)

    @app.post("/v1/models/{name}:encode", **described(schemas.Encoded))
    async def encode(name: str, asked: schemas.ImagesRequest, request: Request) -> Response:
        """The codes of images."""

        def measure(served: Served) -> dict[str, Any]:
            assert isinstance(served.sampler, OnnxGenerator)
            codes = served.sampler.encode(integers("images", asked.images))
            return {"codes": [grid.tolist() for grid in (codes if isinstance(codes, list) else [codes])]}

        return await answer(name, "encode", request, asked, measure)

    @app.post("/v1/models/{name}:features", **described(schemas.Features))
    async def features(name: str, asked: schemas.ImagesRequest, request: Request) -> Response:
        """What an encoder makes of images: whole numbers are levels up to 255, others what it takes."""

        def measure(served: Served) -> dict[str, Any]:
            encoder = served.image_encoder
            return {"features": encoder.features(pixels_of(asked.images, encoder.encoder)).tolist()}

        return await answer(name, "features", request, asked, measure)

    @app.post("/v1/models/{name}:classify", **described(schemas.Classified))
    async def classify(name: str, asked: schemas.ImagesRequest, request: Request) -> Response:
        """Logits of the classes of images, which are those of `features`."""

        def measure(served: Served) -> dict[str, Any]:
            encoder = served.image_encoder
            return {"logits": encoder.classify(pixels_of(asked.images, encoder.encoder)).tolist()}

        return await answer(name, "classify", request, asked, measure)
