"""Who works: this process, or the workers of a Dask cluster; retries and lost workers are Dask's."""

import contextlib
import functools
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from distributed import Client

Known = TypeVar("Known")
Made = TypeVar("Made")

RETRIES = 2
"""Of a shard that the system hinders: a file system may be away for a moment."""
SECONDS = 10
"""To wait for a scheduler."""
LOOPBACK = "127.0.0.1"


def each(
    work: Callable[[int, Known], Made], known: Sequence[Known], client: "Client | None"
) -> Iterator[tuple[int, Made]]:
    """What `work` makes of each number and what is known of it, with the number, as they are ready.

    Raises:
        RuntimeError: where the cluster is lost, or its workers again and again.
    """
    if client is None:
        return enumerate(map(work, range(len(known)), known))
    return _on_cluster(work, known, client)


def _on_cluster(
    work: Callable[[int, Known], Made], known: Sequence[Known], client: "Client"
) -> Iterator[tuple[int, Made]]:
    from distributed import CancelledError, KilledWorker, as_completed

    futures = client.map(
        functools.partial(attempt, work),
        range(len(known)),
        known,
        pure=False,
        retries=RETRIES,
        key="tfprior-shard",
    )
    numbers = {future.key: index for index, future in enumerate(futures)}
    try:
        for future in as_completed(futures):
            index = numbers[future.key]
            try:
                made = future.result()
            except KilledWorker as error:
                raise RuntimeError(
                    f"Workers were lost again and again, shard {index} with them; most likely they have too "
                    "little memory: take a smaller shard_size, or larger workers."
                ) from error
            if isinstance(made, Exception):
                raise made
            yield index, made
    except CancelledError as error:
        raise RuntimeError(
            "The scheduler is gone; what is done stands, and the same job goes on with another one."
        ) from error
    finally:
        client.cancel(futures)


def attempt(work: Callable[[int, Known], Made], index: int, known: Known) -> "Made | Exception":
    """What `work` makes, or what it says is wrong; only a fault of the system is raised, and tried again."""
    try:
        return work(index, known)
    except OSError:
        raise
    except Exception as error:
        return error


@contextlib.contextmanager
def connected(scheduler: str | None = None, workers: int | None = None) -> "Iterator[Client | None]":
    """A client of the scheduler at an address, or of so many processes of this machine; None of neither.

    Raises:
        ConnectionError: where no scheduler answers.
        ValueError: for both, an address that is none, and fewer than one worker.
        ModuleNotFoundError: without the package distributed.
    """
    if scheduler is not None and workers is not None:
        raise ValueError(
            f"workers={workers} are of this machine, and a scheduler has its own; leave one out."
        )
    if scheduler is None and workers is None:
        yield None
        return
    distributed = _distributed()
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            yield stack.enter_context(distributed.Client(stack.enter_context(_local(distributed, workers))))
        else:
            check_answers(scheduler)
            try:
                client = distributed.Client(scheduler, timeout=SECONDS)
            except OSError as error:
                raise _unanswered(scheduler, error) from error
            yield stack.enter_context(client)


def _local(distributed: Any, workers: int | None) -> Any:
    """Processes of one thread each, which nobody hears but this machine."""
    if workers is None or workers < 1:
        raise ValueError(f"workers={workers}; expected 1 or more.")
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host=LOOPBACK,
        dashboard_address=f"{LOOPBACK}:0",
        silence_logs=logging.ERROR,  # a shard that fails is told once, by what it raises here
    )


def _distributed() -> Any:
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "A cluster needs the package distributed: pip install 'tfprior[bulk]'.", name=error.name
        ) from error
    return distributed


def check_answers(address: str) -> None:
    """Raises an error unless somebody listens at the address: Dask's own client takes half a minute."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise ValueError(f"scheduler={address!r} is no address; expected one like tcp://10.0.0.1:8786.")
    try:
        socket.create_connection((host, port), SECONDS).close()
    except OSError as error:
        raise _unanswered(address, error) from error


def _unanswered(address: str, error: Exception) -> ConnectionError:
    reason = " ".join(str(error).split()).rstrip(".")
    return ConnectionError(
        f"No scheduler answers at {address} ({reason}); start one by `dask scheduler`, or check the address."
    )
