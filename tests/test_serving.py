"""Bundles over HTTP: what is drawn is what samplers draw, whoever else asks at the same time."""

import io
import json
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from served import Server, serving
from small_bundles import GRID, LEVELS, save_generator, save_prior

from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxGenerator, OnnxSampler
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


@pytest.fixture(scope="module")
def generator(bundles: dict[str, Path]) -> OnnxGenerator:
    return OnnxGenerator(bundles["generator"], threads=1)


def images_of(shape: tuple[int, ...], count: int = 3, levels: int = LEVELS) -> np.ndarray:
    return np.random.default_rng(0).integers(levels, size=(count, *shape), dtype="int32")


def test_images_are_those_of_the_seed(server: Server, sampler: OnnxSampler) -> None:
    options: dict[str, Any] = {"num_samples": 3, "condition": [0, 1, 1], "seed": 2**64 - 1}
    told = server.ask("prior", "sample", temperature=[0.5, 1, 2], **options)
    expected = sampler.sample(**options, temperature=np.array([0.5, 1, 2]))
    np.testing.assert_array_equal(told["values"], expected)
    nats = sampler.log_prob(expected, options["condition"])
    np.testing.assert_allclose(told["log_prob"], nats, rtol=1e-5)
    scored = server.ask("prior", "score", images=told["values"], condition=options["condition"])
    np.testing.assert_allclose(scored["log_prob"], nats, rtol=1e-5)
    np.testing.assert_allclose(scored["bits_per_dim"], -nats / (12 * np.log(2)), rtol=1e-5)
    assert (told["seed"], scored["is_bound"]) == (2**64 - 1, False)


def test_a_seed_that_was_left_out_is_told(server: Server, sampler: OnnxSampler) -> None:
    first, second = (server.ask("prior", "sample", condition=[1]) for _ in range(2))
    assert first["seed"] != second["seed"]
    for told in (first, second):
        np.testing.assert_array_equal(told["values"], sampler.sample(1, [1], seed=told["seed"]))


def test_what_is_known_stays(server: Server, sampler: OnnxSampler) -> None:
    images, mask = images_of(GRID), np.random.default_rng(1).random((3, *GRID[:2])) < 0.5
    mask[0] = False
    told = server.ask(
        "prior",
        "complete",
        images=images.tolist(),
        mask=mask.astype(int).tolist(),
        condition=[0, 1, 0],
        seed=4,
    )
    np.testing.assert_array_equal(told["values"], sampler.complete(images, mask, [0, 1, 0], seed=4))


def test_codes_become_images(server: Server, generator: OnnxGenerator) -> None:
    told = server.ask("generator", "sample", num_samples=3, seed=5, temperature=[1, 2, 1])
    drawn = generator.sample(3, seed=5, temperature=np.array([1, 2, 1]))
    np.testing.assert_array_equal(told["values"], drawn)
    images = images_of(generator.grid_shape, levels=generator.num_levels)
    mask = np.zeros(generator.grid_shape[:2], int)
    mask[4:] = 1
    told = server.ask("generator", "complete", images=images.tolist(), mask=mask.tolist(), seed=6)
    expected = generator.complete(images, mask.astype(bool), seed=6)
    np.testing.assert_array_equal(told["values"], expected)
    codes = server.ask("generator", "encode", images=images.tolist())["codes"]
    np.testing.assert_array_equal(codes, [generator.encode(images)])
    scored = server.ask("generator", "score", images=images.tolist())
    np.testing.assert_allclose(scored["log_prob"], generator.log_prob(images), rtol=1e-5)
    assert scored["is_bound"]


def test_a_picture_is_a_png(server: Server, sampler: OnnxSampler) -> None:
    ask = {"condition": [1], "seed": 7}
    accept = {"Accept": "text/html, image/png;q=0.9, application/json;q=0.5"}
    answer = server.client.post("/v1/models/prior:sample", json=ask, headers=accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["x-seed"] == "7"
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    shades = np.rint(sampler.sample(1, [1], seed=7)[0] * 255 / (LEVELS - 1))
    np.testing.assert_array_equal(picture, shades.repeat(3, axis=-1))
    several = {"condition": [1] * 5, "seed": 7, "num_samples": 5}
    answer = server.client.post("/v1/models/prior:sample", json=several, headers=accept)
    assert Image.open(io.BytesIO(answer.content)).size == (3 * 7 + 3, 2 * 6 - 3 + 6)


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def test_rows_come_as_they_are_drawn(server: Server, sampler: OnnxSampler) -> None:
    ask = {"condition": [0, 1], "seed": 8, "num_samples": 2}
    accept = {"Accept": "text/event-stream"}
    with server.client.stream("POST", "/v1/models/prior:sample", json=ask, headers=accept) as answer:
        events = list(events_of(answer.iter_lines()))
    expected, drawn = sampler.sample(2, [0, 1], seed=8), np.full((2, *GRID), -1)
    assert events[0] == ("begin", {"model": "prior", "version": events[0][1]["version"], "seed": 8})
    assert events[-1] == ("end", {})
    for name, told in events[1:-1]:
        if name == "rows":
            first, rows = told["first"], np.array(told["values"])
            drawn[told["index"], first : first + len(rows)] = rows
        else:
            assert name == "image"
            np.testing.assert_array_equal(told["values"], expected[told["index"]])
    np.testing.assert_array_equal(drawn[:, :-1], expected[:, :-1])


def test_requests_share_steps_and_do_not_matter_to_each_other(bundles: dict[str, Path], sampler: Any) -> None:
    random = np.random.default_rng(0)
    asks = [
        {
            "num_samples": int(count),
            "condition": random.integers(2, size=count).tolist(),
            "seed": seed,
            "temperature": float(random.uniform(0.5, 2)),
        }
        for seed, count in enumerate(random.integers(1, 6, size=40))
    ]
    with serving(bundles["prior"], slots=8, threads=2) as running, ThreadPoolExecutor(12) as pool:
        batch = running.served("prior").engine_of_images
        most = 0

        def ask(body: dict[str, Any]) -> Any:
            nonlocal most
            most = max(most, batch.in_slots)
            return running.ask("prior", "sample", **body)["values"]

        for body, values in zip(asks, pool.map(ask, asks), strict=True):
            np.testing.assert_array_equal(values, sampler.sample(**body))
        assert 1 < most <= 16
        assert (batch.in_slots, batch.waiting, batch.drawn) == (0, 0, sum(ask["num_samples"] for ask in asks))


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


@pytest.mark.parametrize(
    ("verb", "body", "status", "message"),
    [
        ("sample", {"condition": [0], "num_sample": 2}, 422, "num_sample: Extra inputs are not permitted."),
        ("sample", {"condition": [0], "temperature": 0}, 422, "greater than 0"),
        ("sample", {"condition": [0], "num_samples": 257}, 400, "Got 257 images; expected at most 256"),
        ("sample", {"condition": [2]}, 400, "Labels lie in [2, 2]; expected [0, 1]"),
        ("sample", {"condition": ["a"]}, 400, "condition is no array of numbers"),
        ("sample", {"condition": [[0], [1, 2]]}, 400, "condition is no array of numbers"),
        ("sample", {"num_samples": 2, "condition": [0]}, 400, "The condition has 1 rows for 2 examples"),
        ("sample", {}, 400, "The prior is conditional and got condition=None"),
        (
            "sample",
            {"condition": [0], "order": "halton"},
            400,
            "in raster order alone and got order=",
        ),
        (
            "sample",
            {"condition": [0], "method": "loop"},
            400,
            "method 'loop' here; expected one of pair",
        ),
        ("sample", {"condition": [0], "guidance": 1}, 400, "the bundle's prior takes none"),
        ("sample", {"condition": [0], "temperature": [1, 1]}, 400, "one for each of 1 samples"),
        ("complete", {"condition": [0], "images": [[[[0]]]], "mask": [[1]]}, 400, "have shape (1, 1, 1, 1)"),
        (
            "complete",
            {"condition": [0], "images": [], "mask": []},
            422,
            "images: List should have at",
        ),
        (
            "score",
            {"condition": [0], "images": [[[[9]] * 4] * 3]},
            400,
            "lie in [9, 9]; expected",
        ),
        ("score", {"condition": [0], "images": [[[[2**40]] * 4] * 3]}, 400, "numbers beyond 2^31"),
        ("encode", {"images": [[[[1]]]]}, 404, "cannot be asked to encode; expected one of sample, complete"),
        ("features", {"images": [[[[1]]]]}, 404, "cannot be asked to features"),
        ("paint", {}, 405, "Method Not Allowed"),
    ],
)
def test_bad_requests_are_told_why(
    server: Server, verb: str, body: dict[str, Any], status: int, message: str
) -> None:
    assert message in server.ask("prior", verb, status, **body)["error"]


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


def test_who_goes_away_makes_room(server: Server) -> None:
    engine = server.served("prior").engine_of_images
    before = engine.drawn
    ask = {"condition": [0] * 256, "num_samples": 256}
    accept = {"Accept": "text/event-stream"}
    with server.client.stream("POST", "/v1/models/prior:sample", json=ask, headers=accept) as answer:
        next(answer.iter_lines())
    with pytest.raises(httpx.ReadTimeout):
        server.client.post("/v1/models/prior:sample", json=ask, timeout=0.02)
    server.wait_until(lambda: (engine.in_slots, engine.waiting) == (0, 0))
    assert engine.drawn - before < 512


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


def test_models_are_described_and_their_files_handed_out(server: Server, bundles: dict[str, Path]) -> None:
    models = {model["name"]: model for model in server.client.get("/v1/models").json()["models"]}
    assert set(models) == {"prior", "generator"}
    assert models["prior"] == server.client.get("/v1/models/prior").json()
    assert models["prior"]["image_shape"] == list(GRID)
    assert (models["prior"]["condition"], models["prior"]["num_classes"]) == ("label", 2)
    assert models["generator"]["verbs"] == ["sample", "complete", "score", "encode"]
    assert server.client.get("/v1/models/none").json() == {
        "error": "No model is called none; expected one of prior, generator."
    }
    files = server.client.get("/v1/models/prior/bundle/manifest.json")
    assert files.content == (bundles["prior"] / "manifest.json").read_bytes()
    for path in ("../generator/manifest.json", "..%2fgenerator%2fmanifest.json", "onnx/none.onnx", ""):
        assert server.client.get(f"/v1/models/prior/bundle/{path}").status_code == 404


def test_numbers_for_prometheus_and_an_access_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="tfprior.serving.access"):
        server.ask("prior", "sample", condition=[0])
        server.ask("prior", "sample", 400, condition=[5])
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


def test_the_page_is_hosted_beside_the_bundles(bundles: dict[str, Path], tmp_path: Path) -> None:
    clients = Path(__file__).parent.parent / "clients"
    with serving(bundles["prior"], page=clients) as running:
        answer = running.client.get("/", follow_redirects=True)
        assert answer.url.path == "/page/browser/"
        assert answer.url.params["bundle"] == "/v1/models/prior/bundle"
        assert answer.content == (clients / "browser" / "index.html").read_bytes()
        assert running.client.get("/page/javascript/index.js").status_code == 200
    with pytest.raises(ValueError, match=r"no browser/index\.html; expected the folder clients"):
        create_app([str(bundles["prior"])], page=tmp_path)


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
