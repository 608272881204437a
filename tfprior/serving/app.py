"""The application: what can be asked of bundles over HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from tfprior import __version__
from tfprior.serving import schemas
from tfprior.serving.drawing_routes import add_drawing
from tfprior.serving.faults import LOG, answer_faults
from tfprior.serving.guards import Guards, fault
from tfprior.serving.measuring_routes import add_measuring
from tfprior.serving.metrics import Metrics
from tfprior.serving.request_values import served_as
from tfprior.serving.served import Served, Shelf, named_paths
from tfprior.serving.settings import Settings


def create_app(bundles: Iterable[str], settings: Settings | None = None, page: Path | None = None) -> FastAPI:
    """The ASGI application that serves bundles.

    Args:
        bundles: folders, or NAME=FOLDER; each is served under its own name.
        settings: what is allowed.
        page: the folder `clients` of the project with its packages installed, to host its page at `/`.

    Raises:
        BundleError: for a bundle that is missing, damaged or newer.
        ValueError: for two bundles of one name, and a folder without the page.
    """
    settings = settings or Settings()
    shelf = Shelf(named_paths(bundles), settings)
    metrics = Metrics(shelf)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.is_ready = True
        looking = asyncio.create_task(_look_for_new_bundles(shelf, settings, metrics))
        yield
        app.state.is_ready = False
        looking.cancel()
        shelf.close()

    app = FastAPI(
        title="tfprior",
        summary="Images of exact generative priors, drawn by seed.",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # these pages come from elsewhere
        redoc_url=None,
        responses={status: {"model": schemas.Fault} for status in (400, 401, 404, 413, 503)},
    )
    app.state.shelf, app.state.is_ready = shelf, False
    app.add_middleware(Guards, settings=settings, metrics=metrics)
    answer_faults(app)
    _add_health(app, metrics)
    _add_models(app, shelf)
    add_drawing(app, shelf, settings)
    add_measuring(app, shelf, settings)
    if page is not None:
        _add_page(app, page, shelf)
    return app


async def _look_for_new_bundles(shelf: Shelf, settings: Settings, metrics: Metrics) -> None:
    def told(name: str, error: Exception | None) -> None:
        metrics.reloads.labels(name, "refused" if error else "opened").inc()
        if error is None:
            LOG.info("%s: the bundle was replaced, and the new one serves.", name)
        else:
            LOG.error("%s: the new bundle is refused, and the old one serves on. %s", name, error)

    while settings.reload_every:
        await asyncio.sleep(settings.reload_every)
        await anyio.to_thread.run_sync(shelf.reload, told)


def _add_health(app: FastAPI, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["health"], response_model=schemas.Health)
    async def healthz() -> dict[str, str]:
        """Whether the server lives."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], response_model=schemas.Health)
    async def readyz() -> Any:
        """Whether it takes requests."""
        return {"status": "ready"} if app.state.is_ready else fault(503, "The server starts, or ends.")

    @app.get("/metrics", tags=["health"], response_class=Response)
    async def prometheus() -> Response:
        """Numbers for Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_models(app: FastAPI, shelf: Shelf) -> None:
    @app.get("/v1/models", tags=["models"], response_model=schemas.Models)
    async def models() -> dict[str, Any]:
        """The bundles that are served."""
        return {"models": [_described(name, served) for name, served in shelf.items()]}

    @app.get("/v1/models/{name}", tags=["models"], response_model=schemas.Model)
    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        return _described(name, served_as(name, shelf))

    @app.get("/v1/models/{name}/bundle/{path:path}", tags=["models"], response_class=FileResponse)
    async def file(name: str, path: str) -> Response:
        """A file of the bundle, for clients that run it themselves."""
        served = served_as(name, shelf)
        if path != "manifest.json" and path not in {entry.path for entry in served.manifest.files}:
            raise HTTPException(404, f"The bundle {name} has no file {path}.")
        return FileResponse(served.path / path)


def _add_page(app: FastAPI, page: Path, shelf: Shelf) -> None:
    if not (page / "browser" / "index.html").is_file():
        raise ValueError(f"{page} has no browser/index.html; expected the folder clients of the project.")
    first = next(iter(shelf.items()))[0]

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return RedirectResponse(f"/page/browser/?bundle=/v1/models/{first}/bundle")

    app.mount("/page", StaticFiles(directory=page, html=True))


def _described(name: str, served: Served) -> dict[str, Any]:
    return {"name": name, "version": served.version, **served.describe()}
