"""The lock of a run's folder, here and as Windows has it."""

import errno
import fcntl
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from small_runs import MODEL, QUIET, made, options

from tfprior.runs import lock
from tfprior.runs.lock import locked
from tfprior.training import train


def test_one_process_at_a_time(tmp_path: Path) -> None:
    hold = "import sys, pathlib, time; from tfprior.runs.lock import locked\n"
    hold += "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    out = tmp_path / "run"
    holder = subprocess.Popen([sys.executable, "-c", hold, str(out)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        words = rf"run is being trained into by another process \({holder.pid}\); wait until it ends, stop it"
        with pytest.raises(BlockingIOError, match=words):
            train(made(), MODEL, out, options(), console=QUIET)
        assert [path.name for path in out.iterdir()] == ["run.lock"]
    finally:
        holder.kill()
        holder.communicate()
    with locked(out), pytest.raises(BlockingIOError, match=str(os.getpid())), locked(out):
        pass
    assert not list(out.iterdir())


def is_open(file: Path) -> bool:
    """Whether this process has the file open."""
    for descriptor in map(int, os.listdir("/dev/fd")):
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                return True
        except OSError:  # the one that listed them
            continue
    return False


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module without `fcntl`: a byte is locked, and files that are open are not deleted."""

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) >= len(str(2**32))  # a process number stays readable
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    def unlink(file: Path, missing_ok: bool = False) -> None:
        if is_open(file):
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        os.unlink(file)

    msvcrt: Any = ModuleType("msvcrt")
    msvcrt.LK_NBLCK, msvcrt.locking = 2, locking
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    monkeypatch.setattr(Path, "unlink", unlink)
    assert lock.__file__ is not None
    spec = importlib.util.spec_from_file_location("lock_on_windows", lock.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as windows:
        windows.setitem(sys.modules, "fcntl", None)
        windows.setattr(sys, "platform", "win32")
        spec.loader.exec_module(module)
    return module


def test_the_lock_without_fcntl(tmp_path: Path, on_windows: ModuleType) -> None:
    out, words = tmp_path / "run", rf"another process \({os.getpid()}\); wait until it ends"
    with on_windows.locked(out):
        for _ in range(2):  # who was refused leaves the lock as it is
            with pytest.raises(BlockingIOError, match=words), on_windows.locked(out):
                pass
        assert [path.name for path in out.iterdir()] == ["run.lock"]
    assert not list(out.iterdir())
    (out / "run.lock").write_text("123456789 of one that was killed")
    with on_windows.locked(out), pytest.raises(BlockingIOError, match=words), on_windows.locked(out):
        pass
    assert not list(out.iterdir())


def test_a_lock_that_another_has_opened_stays_as_a_file(tmp_path: Path, on_windows: ModuleType) -> None:
    with on_windows.locked(tmp_path):
        other = os.open(tmp_path / "run.lock", os.O_RDWR)
    assert [path.name for path in tmp_path.iterdir()] == ["run.lock"]
    os.close(other)
    with on_windows.locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_file_systems_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> Any:
        def flock(*_: Any) -> None:
            raise OSError(number, os.strerror(number))

        return flock

    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
    with locked(tmp_path), locked(tmp_path):
        pass
    monkeypatch.setattr(fcntl, "flock", refuse(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), locked(tmp_path):
        pass
    assert not is_open(tmp_path / "run.lock")
