"""What stands between clients and the application: a token, a limit on bodies, and the access log."""

import asyncio
import json
import logging
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tfprior.serving.metrics import Metrics
from tfprior.serving.settings import Settings

ACCESS = logging.getLogger("tfprior.serving.access")
ASKED = "tfprior.asked"
"""Under which a scope holds the model and the verb of a request."""
OPEN = {"/healthz", "/readyz"}
"""What whoever watches the server may ask without a token."""


class Guards:
    """Lets requests through that may come, and says what became of each.

    Args:
        app: the application.
        settings: of the server: the token, and how large bodies are and how soon they come.
        metrics: of the server.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, told = time.perf_counter(), {"status": 500, "bytes": 0}

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
            elif message["type"] == "http.response.body":
                told["bytes"] += len(message.get("body", b""))
            await send(message)

        received, is_whole = 0, False
        deadline = asyncio.get_running_loop().time() + self.settings.timeout

        async def receiving() -> Message:
            nonlocal received, is_whole
            try:
                async with asyncio.timeout_at(None if is_whole else deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, self._too_slow(), {"Connection": "close"}) from None
            is_whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > self.settings.max_body:
                raise HTTPException(413, self._too_large())
            return message

        try:
            refused = self._refusal(scope)
            if refused is None:
                await self.app(scope, receiving, sending)
            else:
                await refused(scope, receive, sending)
        finally:
            self._log(scope, told, time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        shown = headers.get(b"authorization", "")
        if self.settings.token is not None and scope["path"] not in OPEN:
            wanted = f"Bearer {self.settings.token}"
            if not secrets.compare_digest(shown.encode("latin-1"), wanted.encode("latin-1")):
                words = "Show the server's token: Authorization: Bearer TOKEN."
                return fault(401, words, {"WWW-Authenticate": "Bearer"})
        length = headers.get(b"content-length", "0")
        too_large = length.isdigit() and int(length) > self.settings.max_body
        return fault(413, self._too_large(), {"Connection": "close"}) if too_large else None

    def _too_large(self) -> str:
        return f"The body is larger than {self.settings.max_body:,} bytes."

    def _too_slow(self) -> str:
        return f"The body has not come within {self.settings.timeout:g} seconds."

    def _log(self, scope: Scope, told: dict[str, int], seconds: float) -> None:
        if ASKED in scope:  # not what the address says, which may be anything
            model, verb = scope[ASKED]
            self.metrics.requests.labels(model, verb, told["status"]).inc()
            self.metrics.seconds.labels(model, verb).observe(seconds)
        ACCESS.info(
            json.dumps(
                {
                    "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "client": (scope.get("client") or ("",))[0],
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": told["status"],
                    "ms": round(seconds * 1000, 1),
                    "bytes": told["bytes"],
                }
            )
        )


def fault(status: int, words: str, headers: dict[str, Any] | None = None) -> JSONResponse:
    """An answer that says why there is none."""
    return JSONResponse({"error": words}, status, headers)
