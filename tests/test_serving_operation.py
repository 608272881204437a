"""A server in operation: its limits, who goes away, what fails or is replaced, what it says of itself."""

import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from served import Server, events_of, serving
from small_bundles import save_generator, save_prior

from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxSampler
from tfprior.export.continuous_batching import Example
from tfprior.export.raster_batch import RasterBatch
from tfprior.serving import Settings, create_app
from tfprior.serving.served import named_paths


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {"prior": save_prior(folder / "prior"), "generator": save_generator(folder / "generator")}


@pytest.fixture(scope="module")
def server(bundles: dict[str, Path]) -> Iterator[Server]:
    with serving(*bundles.values()) as running:
        yield running


@pytest.fixture(scope="module")
def sampler(bundles: dict[str, Path]) -> OnnxSampler:
    return OnnxSampler(bundles["prior"], threads=1)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is drawn until it is set."""
    event, advance = threading.Event(), RasterBatch.advance

    def when_it_is_set(batch: RasterBatch) -> list[Example]:
        assert event.wait(60)
        return advance(batch)

    monkeypatch.setattr(RasterBatch, "advance", when_it_is_set)
    return event


def test_too_many_are_told_to_come_again(
    bundles: dict[str, Path], sampler: OnnxSampler, held: threading.Event
) -> None:
    limits = {"slots": 1, "threads": 1, "max_waiting": 2}
    with serving(bundles["prior"], **limits) as running, ThreadPoolExecutor(3) as pool:
        engine = running.served("prior").engine_of_images

        def ask(seed: int) -> Any:
            return pool.submit(running.ask, "prior", "sample", condition=[0], seed=seed)

        asked = [ask(0)]
        running.wait_until(lambda: engine.in_slots == 1)
        asked += [ask(1), ask(2)]
        running.wait_until(lambda: engine.waiting == 2)
        answer = running.client.post("/v1/models/prior:sample", json={"condition": [0]})
        assert answer.json() == {"error": "2 examples wait; expected at most 2. Try again."}
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        held.set()
        for seed, one in enumerate(asked):
            np.testing.assert_array_equal(one.result()["values"], sampler.sample(1, [0], seed=seed))


def test_what_was_begun_hears_of_the_end(bundles: dict[str, Path], held: threading.Event) -> None:
    with serving(bundles["prior"]) as running, ThreadPoolExecutor(1) as pool:
        engine = running.served("prior").engine_of_images
        begun = pool.submit(running.ask, "prior", "sample", 503, condition=[0])
        running.wait_until(lambda: engine.in_slots == 1)
        engine.close()
        assert running.ask("prior", "sample", 503, condition=[0]) == {"error": "The server is ending."}
        held.set()
        assert begun.result() == {"error": "The server ended before the image was done."}


def test_bodies_are_read_as_far_as_allowed(bundles: dict[str, Path]) -> None:
    with serving(bundles["prior"], max_body=1000) as running:
        large = {"condition": [0] * 2000}
        assert "larger than 1,000 bytes" in running.ask("prior", "sample", 413, **large)["error"]
        pieces = (json.dumps(large)[start : start + 300].encode() for start in range(0, 6000, 300))
        answer = running.client.post("/v1/models/prior:sample", content=pieces)
        assert answer.status_code == 413
        for content in (b"{", b"\xff", b"[" * 900, b"null"):
            answer = running.client.post("/v1/models/prior:sample", content=content)
            assert answer.status_code in (400, 422), answer.text
            assert set(answer.json()) == {"error"}


def test_bodies_have_to_come_in_time(bundles: dict[str, Path]) -> None:
    with serving(bundles["prior"], timeout=0.3) as running:
        host, port = running.address.removeprefix("http://").split(":")
        for sent in (b"", b'{"condition": '):
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                head = b"POST /v1/models/prior:sample HTTP/1.1\r\nHost: here\r\nContent-Length: 50\r\n\r\n"
                connection.sendall(head + sent)
                answer = b"".join(iter(lambda: connection.recv(2**16), b""))  # until the server closes it
            assert b"408" in answer.partition(b"\r\n")[0]
            assert b"The body has not come within 0.3 seconds." in answer
        assert running.ask("prior", "score", images=[[[[0]] * 4] * 3], condition=[0])["is_bound"] is False


def test_a_token_opens_all_but_health(bundles: dict[str, Path]) -> None:
    with serving(bundles["prior"], token="secret") as running:
        assert running.ask("prior", "sample", condition=[0])["seed"] >= 0
        for shown in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic secret"}):
            for path, status in (("/v1/models", 401), ("/metrics", 401), ("/healthz", 200), ("/readyz", 200)):
                answer = httpx.get(running.address + path, headers=shown)
                assert answer.status_code == status
        assert answer.json() == {"status": "ready"}


def test_what_takes_too_long_is_given_up(server: Server) -> None:
    told = server.ask("prior", "sample", 504, condition=[0] * 200, num_samples=200, timeout=1e-4)
    assert told == {"error": "The request took longer than its timeout."}
    server.wait_until(lambda: server.served("prior").engine_of_images.in_slots == 0)
    answer = server.client.post(
        "/v1/models/prior:sample", json={"condition": [0]}, headers={"Accept": "text/csv"}
    )
    assert (answer.status_code, set(answer.json())) == (406, {"error"})


def test_who_goes_away_makes_room(bundles: dict[str, Path], held: threading.Event) -> None:
    ask, url = {"condition": [0] * 256, "num_samples": 256}, "/v1/models/prior:sample"
    with serving(bundles["prior"]) as running:
        engine = running.served("prior").engine_of_images
        with running.client.stream("POST", url, json=ask, headers={"Accept": "text/event-stream"}) as answer:
            next(answer.iter_lines())
        with pytest.raises(httpx.ReadTimeout):
            running.client.post(url, json=ask, timeout=0.2)
        running.wait_until(lambda: engine.waiting == 0)
        assert engine.in_slots > 0
        held.set()
        running.wait_until(lambda: engine.in_slots == 0)
        assert engine.drawn == 0  # of three rows the first one alone


def test_a_bundle_that_fails_is_told_and_goes_on(
    server: Server, sampler: OnnxSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(batch: RasterBatch) -> list[Example]:
        raise BundleError("The function 'row' fails.")

    ask, accept = {"condition": [0], "seed": 1}, {"Accept": "text/event-stream"}
    with monkeypatch.context() as patch:
        patch.setattr(RasterBatch, "advance", fails)
        assert server.ask("prior", "sample", 500, **ask) == {"error": "The function 'row' fails."}
        with server.client.stream("POST", "/v1/models/prior:sample", json=ask, headers=accept) as answer:
            *_, last = events_of(answer.iter_lines())
        assert last == ("error", {"error": "The function 'row' fails."})
    told = server.ask("prior", "sample", **ask)
    np.testing.assert_array_equal(told["values"], sampler.sample(1, [0], seed=1))


def test_a_bundle_that_is_replaced_is_taken_up(bundles: dict[str, Path], tmp_path: Path) -> None:
    path = Path(shutil.copytree(bundles["prior"], tmp_path / "digits"))
    other = save_prior(tmp_path / "other", num_classes=None)
    with serving(path, reload_every=0.02) as running:
        before = running.ask("digits", "sample", condition=[0])
        broken = Path(shutil.copytree(bundles["prior"], tmp_path / "broken"))
        (broken / "manifest.json").write_bytes((broken / "manifest.json").read_bytes()[:-100])
        os.rename(path, tmp_path / "first")
        running.ask("digits", "sample", condition=[0])  # there is none for a moment
        os.rename(broken, path)
        metric = 'tfprior_reloads_total{model="digits",outcome="refused"}'
        running.wait_until(lambda: metric in running.client.get("/metrics").text)
        assert running.ask("digits", "sample", condition=[0])["version"] == before["version"]
        os.rename(path, tmp_path / "broken")
        os.rename(other, path)
        running.wait_until(lambda: running.served("digits").version != before["version"])
        told = running.ask("digits", "sample", seed=3)
        expected = OnnxSampler(path, threads=1).sample(1, seed=3)
        np.testing.assert_array_equal(told["values"], expected)


def test_numbers_for_prometheus_and_an_access_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="tfprior.serving.access"):
        server.ask("prior", "sample", condition=[0])
        server.ask("prior", "sample", 400, condition=[5])
        server.wait_until(lambda: len(caplog.records) == 2)  # which are written after the answers
    first, second = (json.loads(record.getMessage()) for record in caplog.records)
    assert (first["method"], first["path"], first["status"]) == ("POST", "/v1/models/prior:sample", 200)
    assert (second["status"], second["client"]) == (400, "127.0.0.1")
    assert 0 <= first["ms"] < 60_000
    told = server.client.get("/metrics").text
    for line in (
        'tfprior_requests_total{model="prior",status="200",verb="sample"}',
        'tfprior_requests_total{model="prior",status="400",verb="sample"}',
        'tfprior_request_seconds_count{model="prior",verb="sample"}',
        'tfprior_images_total{model="prior"}',
        'tfprior_examples_waiting{model="prior"} 0.0',
    ):
        assert line in told


def test_names_and_limits_are_checked(bundles: dict[str, Path], tmp_path: Path) -> None:
    path = str(bundles["prior"])
    assert named_paths([f"a={path}", path]) == {"a": bundles["prior"], "prior": bundles["prior"]}
    with pytest.raises(ValueError, match="Two bundles would be served as 'prior'; name one"):
        named_paths([path, path])
    with pytest.raises(ValueError, match="served as 'a b'; expected letters, digits"):
        named_paths([f"a b={path}"])
    with pytest.raises(BundleError, match="nothing"):
        create_app([str(tmp_path / "nothing")])
    for limits, message in (
        ({"slots": 0}, "slots=0; expected a positive integer"),
        ({"timeout": float("nan")}, "timeout=nan; expected a positive number of seconds"),
        ({"token": ""}, "token is empty"),
        ({"reload_every": -1}, "reload_every=-1; expected seconds, or 0 for never"),
    ):
        with pytest.raises(ValueError, match=message):
            Settings(**limits)
