"""Jobs on Dask's workers: the same shards as in this process, whoever dies; nobody else hears them."""

import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from bulk_workers import die_at, die_at_two, fail_once, modules, refuse_two
from small_jobs import SIZE, check_folder, save_images

from tfprior.bulk import Index, Job, connected, encode_job, run, sample_job
from tfprior.bulk.engine import each
from tfprior.bulk.shards import make_shard

# Dask's event loops and processes end a moment after those who used them.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(scope="module")
def in_process(bulk_jobs: dict[str, Job], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Index]:
    folder = tmp_path_factory.mktemp("in_process")
    return {name: run(job, folder / name, progress=False) for name, job in bulk_jobs.items()}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with connected(workers=2) as opened:
        yield opened


def check_all(client: Any, bulk_jobs: dict[str, Job], in_process: dict[str, Index], folder: Path) -> None:
    for name, job in bulk_jobs.items():
        index = run(job, folder / name, client, progress=False)
        assert index == in_process[name]
        check_folder(folder / name, index)
        assert run(job, folder / name, client, progress=False) == index


def test_two_workers_make_what_this_process_does(
    client: Any, bulk_jobs: dict[str, Job], in_process: dict[str, Index], tmp_path: Path
) -> None:
    check_all(client, bulk_jobs, in_process, tmp_path)
    for imported in client.run(modules).values():
        assert "onnxruntime" in imported
        assert not imported & {"tensorflow", "keras", "jax", "sklearn", "matplotlib", "typer"}


def test_one_worker_does_too(bulk_jobs: dict[str, Job], in_process: dict[str, Index], tmp_path: Path) -> None:
    with connected(workers=1) as client:
        assert client is not None
        assert len(client.run(os.getpid)) == 1
        check_all(client, bulk_jobs, in_process, tmp_path)


def test_the_snippet_of_the_docs_runs(
    generator_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "bulk.md").read_text("utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.S)
    monkeypatch.chdir(tmp_path)
    save_images(tmp_path / "images.npy")
    (tmp_path / "tokenizer_bundle").symlink_to(generator_bundle)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(snippet, names)
    check_folder(tmp_path / "codes", names["index"])


def test_nobody_else_hears_the_cluster(client: Any) -> None:
    workers = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
    listening = [
        connection.laddr.ip
        for process in (psutil.Process(), *workers)
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 4
    assert set(listening) == {"127.0.0.1"}


@pytest.mark.parametrize(("name", "moment"), [("encode", "atomic_path"), ("sample", "write_record")])
def test_a_killed_worker_loses_nothing_and_doubles_nothing(
    name: str, moment: str, bulk_jobs: dict[str, Job], in_process: dict[str, Index], tmp_path: Path
) -> None:
    with connected(workers=2) as client:
        assert client is not None
        victim, pid = next(iter(client.run(os.getpid).items()))
        client.run(die_at, moment, workers=[victim])
        index = run(bulk_jobs[name], tmp_path, client, progress=False)
        assert pid not in client.run(os.getpid).values()
    assert index == in_process[name]
    check_folder(tmp_path, index)


def test_a_killed_driver_goes_on(prior_bundle: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from tfprior.bulk import *\n"
        "if __name__ == '__main__':\n"
        "    with connected(workers=2) as client:\n"
        "        run(sample_job(sys.argv[1], 120, shard_size=1), sys.argv[2], client)\n"
    )
    script, folder = tmp_path / "driver.py", tmp_path / "out"
    script.write_text(program)
    driver = subprocess.Popen([sys.executable, str(script), str(prior_bundle), str(folder)])
    while len(list(folder.glob("samples-*"))) < 3:
        assert driver.poll() is None
        time.sleep(0.005)
    children = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert not (folder / "index.json").exists()
    standing = {file: file.stat().st_mtime_ns for file in folder.glob("samples-*") if is_recorded(file)}
    assert 2 <= len(standing) < 120
    job = sample_job(prior_bundle, 120, shard_size=1)
    index = run(job, folder, progress=False)
    check_folder(folder, index)
    assert all(file.stat().st_mtime_ns == time for file, time in standing.items())
    assert index == run(job, tmp_path / "whole", progress=False)


def is_recorded(shard: Path) -> bool:
    return (shard.parent / ".shards" / f"{shard.stem.removeprefix('samples-')}.json").exists()


def test_what_is_wrong_is_said_as_in_this_process(
    client: Any, generator_bundle: Path, tmp_path: Path
) -> None:
    values = np.zeros((20, 8, 4, 1), "uint8")
    values[9] = 99
    np.save(tmp_path / "images.npy", values)
    job = encode_job(generator_bundle, tmp_path / "images.npy", shard_size=SIZE)
    said = []
    for folder, engine in (("here", None), ("there", client)):
        with pytest.raises(ValueError, match=r"images\.npy reaches up to 99; expected levels in") as caught:
            run(job, tmp_path / folder, engine, progress=False)
        said.append(str(caught.value))
        assert not (tmp_path / folder / "index.json").exists()
    assert said[0] == said[1]
    with pytest.raises(ValueError, match="2 is not to be had"):
        list(each(refuse_two, [None] * 4, client))


def test_what_the_system_hinders_is_tried_again(client: Any, tmp_path: Path) -> None:
    work = functools.partial(fail_once, str(tmp_path / "failed"))
    assert sorted(each(work, [None] * 4, client)) == [(number, number) for number in range(4)]
    assert (tmp_path / "failed").exists()


def test_a_shard_that_takes_its_workers_with_it(client: Any) -> None:
    client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    with pytest.raises(RuntimeError, match=r"lost again and again, shard [0-3] with them"):
        list(each(die_at_two, [None] * 4, client))


def test_a_folder_that_a_worker_does_not_see(bulk_jobs: dict[str, Job], tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"gone is not there on .*; expected a folder that all workers"
    ):
        make_shard(bulk_jobs["sample"], str(tmp_path / "gone"), 0, None)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            {"scheduler": "tcp://127.0.0.1:1"},
            ConnectionError,
            r"No scheduler answers at tcp://127\.0\.0\.1:1 ",
        ),
        ({"scheduler": "here"}, ValueError, r"^scheduler='here' is no address; expected one like tcp://"),
        ({"scheduler": "tcp://x"}, ValueError, r"^scheduler='tcp://x' is no address"),
        ({"scheduler": "tcp://x:y"}, ValueError, r"^scheduler='tcp://x:y' is no address"),
        ({"workers": 0}, ValueError, r"^workers=0; expected 1 or more"),
        ({"workers": 1, "scheduler": "tcp://127.0.0.1:1"}, ValueError, r"leave one out"),
    ],
)
def test_schedulers_that_are_not_there(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message), connected(**arguments):
        pass


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with connected() as client:
        assert client is None
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tfprior\[bulk\]'"), connected(workers=1):
        pass
