"""`tfprior serve`: bundles over HTTP."""

import gc
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer


def serve(
    bundles: Annotated[
        list[str], typer.Argument(metavar="BUNDLE…", help="Exported bundles, or NAME=BUNDLE.")
    ],
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 for everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(envvar="TFPRIOR_TOKEN", help="Clients show it: Authorization: Bearer TOKEN."),
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="Images of a bundle that are drawn together.")] = 32,
    threads: Annotated[int, typer.Option(min=1, help="That draw from a bundle, slots for each.")] = 2,
    max_samples: Annotated[int, typer.Option(min=1, help="Images of one request.")] = 256,
    max_waiting: Annotated[
        int, typer.Option(min=1, help="Images that may wait; more are answered 429.")
    ] = 1024,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of a request.")] = 8 * 2**20,
    timeout: Annotated[float, typer.Option(help="Seconds until a request is given up.")] = 60.0,
    grace: Annotated[int, typer.Option(min=0, help="Seconds that requests have at the end.")] = 30,
    reload_every: Annotated[
        float, typer.Option(help="Seconds between looks at whether a bundle was replaced; 0: never.")
    ] = 2.0,
    page: Annotated[
        Path | None, typer.Option(help="The project's folder `clients`: hosts its page too, at /.")
    ] = None,
) -> None:
    """Serve bundles over HTTP: requests of all clients share each step of a model.

    ```
    tfprior serve bundles/digits
    curl -d '{"seed": 1, "condition": [3]}' -H 'Content-Type: application/json' \\
         -H 'Accept: image/png' localhost:8000/v1/models/digits:sample > three.png
    ```

    It needs neither Keras nor TensorFlow. Interrupted, it finishes what was asked; a bundle that is replaced
    is taken up by the next requests.
    """
    import uvicorn

    from tfprior.serving import Settings, create_app

    settings = Settings(
        slots=slots,
        threads=threads,
        max_samples=max_samples,
        max_waiting=max_waiting,
        max_body=max_body,
        timeout=timeout,
        token=token,
        reload_every=reload_every,
    )
    app = create_app(bundles, settings, page)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    gc.freeze()
    gc.set_threshold(700, 10, 10)  # a server runs for months: what requests leave behind goes at once
    for ending in (signal.SIGINT, signal.SIGTERM):  # which uvicorn raises once more at its end
        signal.signal(ending, lambda number, frame: None)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,  # the application writes its own
        timeout_graceful_shutdown=grace,
    )
