"""Errors as answers: a status and one sentence."""

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tfprior.export.checks import BundleError
from tfprior.serving.engine import Busy, Closed
from tfprior.serving.guards import fault

LOG = logging.getLogger("tfprior.serving")
LATE = "The request took longer than its timeout."


def answer_faults(app: FastAPI) -> None:
    """Answers every error of the application in its own words."""

    @app.exception_handler(RequestValidationError)
    async def not_as_described(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return fault(422, f"{where or 'The body'}: {first['msg']}.")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return fault(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(BundleError)
    async def damaged(request: Request, error: BundleError) -> Response:
        LOG.error("%s", error)
        return fault(500, str(error))

    @app.exception_handler(ValueError)
    async def wrong(request: Request, error: ValueError) -> Response:
        return fault(400, " ".join(str(error).split()))

    @app.exception_handler(Busy)
    async def busy(request: Request, error: Busy) -> Response:
        return fault(429, f"{error} Try again.", {"Retry-After": "1"})

    @app.exception_handler(Closed)
    async def closed(request: Request, error: Closed) -> Response:
        return fault(503, str(error), {"Retry-After": "1"})

    @app.exception_handler(TimeoutError)
    async def late(request: Request, error: TimeoutError) -> Response:
        return fault(504, LATE)
