"""One process at a time writes into a run's folder."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

LOCK = "run.lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of some network file systems


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other processes from training into `folder`, which is made where it is missing.

    The system gives the lock back when the process ends, however it ends; the file goes with the block.

    Raises:
        BlockingIOError: while another process, or another call of this one, has the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / LOCK
    descriptor = taken(file)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        # Before the lock is given back: whoever opened the file meanwhile sees that it is gone.
        file.unlink(missing_ok=True)
        os.close(descriptor)


def taken(file: Path) -> int:
    """The file, opened and locked."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace") or "unknown"
            os.close(descriptor)
            raise BlockingIOError(
                f"{file.parent} is being trained into by another process ({owner}); wait until it ends, stop "
                "it, or choose another --out."
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(descriptor)
                raise
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                return descriptor
        os.close(descriptor)  # its owner ended, and took the file away, between the two calls
