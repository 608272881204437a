"""A server of bundles in a thread of this process, and clients of it."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from tfprior.serving import Settings, create_app
from tfprior.serving.served import Served


class Server:
    """What clients and tests want of a server that runs."""

    def __init__(self, app: Any, address: str, token: str | None) -> None:
        self.app, self.address = app, address
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=address, headers=headers, timeout=60)

    def served(self, name: str) -> Served:
        served: Served = self.app.state.shelf[name]
        return served

    def ask(self, name: str, verb: str, status: int = 200, **body: Any) -> dict[str, Any]:
        answer = self.client.post(f"/v1/models/{name}:{verb}", json=body)
        assert answer.status_code == status, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def wait_until(self, holds: Any, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came so far"
            time.sleep(0.01)


@contextlib.contextmanager
def serving(*bundles: str | Path, page: Path | None = None, **limits: Any) -> Iterator[Server]:
    """A server on a port of its own."""
    app = create_app(map(str, bundles), Settings(**limits), page)
    config = uvicorn.Config(app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        running = Server(app, f"http://127.0.0.1:{port}", limits.get("token"))
        with running.client:
            yield running
    finally:
        server.should_exit = True
        thread.join()


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
