"""One process at a time writes into a folder."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tfprior.atomic import TEMPORARY

LOCK = "run.lock"
OWNER_BYTES = 20  # of the process number, which the file begins with
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of some network file systems


@contextlib.contextmanager
def locked(folder: Path, work: str = "trained") -> Iterator[None]:
    """Keeps other processes from writing into `folder`, which is made where it is missing.

    The system gives the lock back when the process ends, however it ends; the file goes with the block. What
    is being done there, `work`, is what others are told.

    Raises:
        BlockingIOError: while another process, or another call of this one, has the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / LOCK
    descriptor = taken(file, work)
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, str(os.getpid()).encode().ljust(OWNER_BYTES))
        yield
    finally:
        give_back(descriptor, file)


def is_empty(path: Path) -> bool:
    """Whether a folder holds nothing but what a start that was killed left."""
    return all(entry.name.startswith(TEMPORARY) or entry.name == LOCK for entry in path.iterdir())


def taken(file: Path, work: str) -> int:
    """The file, opened and locked."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            lock(descriptor)
        except BlockingIOError:
            owner = os.read(descriptor, OWNER_BYTES).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise BlockingIOError(
                f"{file.parent} is being {work} into by another process ({owner}); wait until it ends, stop "
                "it, or choose another --out."
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(descriptor)
                raise
        if is_still_there(descriptor, file):
            return descriptor
        os.close(descriptor)  # its owner ended, and took the file away, between the two calls


# Windows deletes no file that is open, and nobody reads what another process has locked; elsewhere the file
# may go while others have it open, and the lock is of all of it.

if sys.platform == "win32":
    import msvcrt

    def lock(descriptor: int) -> None:
        """Locks a byte behind the owner's number, or raises BlockingIOError."""
        os.lseek(descriptor, OWNER_BYTES, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from None
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

    def is_still_there(descriptor: int, file: Path) -> bool:
        return True

    def give_back(descriptor: int, file: Path) -> None:
        os.close(descriptor)
        with contextlib.suppress(PermissionError):  # another process has opened it meanwhile
            file.unlink(missing_ok=True)

else:
    import fcntl

    def lock(descriptor: int) -> None:
        """Locks the file, or raises BlockingIOError."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_still_there(descriptor: int, file: Path) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(file))
        except FileNotFoundError:
            return False

    def give_back(descriptor: int, file: Path) -> None:
        # Before the lock is given back: whoever opened the file meanwhile sees that it is gone.
        file.unlink(missing_ok=True)
        os.close(descriptor)
