"""Bundles over HTTP: what is drawn is what samplers draw, whoever else asks at the same time."""

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from served import Server, events_of, serving
from small_bundles import CLASSES, GRID, LEVELS, save_generator, save_prior

import tfprior.export
from tfprior.encoders import Classifier, ViT
from tfprior.export.client import OnnxEncoder, OnnxGenerator, OnnxSampler
from tfprior.export.encoder_description import PIXELS
from tfprior.serving import create_app


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


IMAGE = [[[1]] * 4] * 3


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


def test_labels_have_names(server: Server, sampler: OnnxSampler) -> None:
    drawn = server.ask("prior", "sample", num_samples=2, condition=["odd", 0], seed=1)
    np.testing.assert_array_equal(drawn["values"], sampler.sample(2, [1, 0], seed=1))
    scored = server.ask("prior", "score", images=drawn["values"], condition=["odd", "even"])
    np.testing.assert_allclose(scored["log_prob"], sampler.log_prob(drawn["values"], ["odd", "even"]))


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
    asked = {"images": images.tolist(), "condition": [0, 1, 0], "seed": 4}
    again = server.ask("prior", "complete", mask=mask.tolist(), **asked)  # true and false
    assert again["values"] == told["values"]


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
    accept = {"Accept": "text/event-stream"}
    with server.client.stream(
        "POST", "/v1/models/generator:sample", json={"seed": 5, "num_samples": 3}, headers=accept
    ) as answer:
        begun, *made, ended = events_of(answer.iter_lines())
    assert (begun[0], ended[0]) == ("begin", "end")
    assert sorted((name, told["index"]) for name, told in made) == [("image", 0), ("image", 1), ("image", 2)]
    for _, told in made:  # rows of codes are no rows of an image
        np.testing.assert_array_equal(told["values"], generator.sample(3, seed=5)[told["index"]])


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


@pytest.mark.parametrize(
    ("verb", "body", "status", "message"),
    [
        ("sample", {"condition": [0], "num_sample": 2}, 422, "num_sample: Extra inputs are not permitted."),
        ("sample", {"condition": [0], "temperature": 0}, 422, "greater than 0"),
        ("sample", {"condition": [0], "num_samples": 257}, 400, "Got 257 images; expected at most 256"),
        ("sample", {"condition": [2]}, 400, "Labels lie in [2, 2]; expected [0, 1]"),
        ("sample", {"condition": [None]}, 400, "condition is no array of numbers"),
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
        (
            "sample",
            {"condition": ["none"]},
            400,
            "No class is called 'none'; expected a label in [0, 1]",
        ),
        ("sample", {"condition": ["odd", [1]], "num_samples": 2}, 400, "No class is called [1]; expected"),
        ("sample", {"condition": [["odd"]]}, 400, "condition is no array of numbers"),
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
        ("complete", {"condition": [0], "images": [IMAGE], "mask": [[2] * 4] * 3}, 400, "than 0 and 1"),
        ("complete", {"condition": [0], "images": [IMAGE], "mask": [1, [2]]}, 400, "mask is no array"),
        ("encode", {"images": [[[[1]]]]}, 404, "cannot be asked to encode; expected one of sample, complete"),
        ("features", {"images": [[[[1]]]]}, 404, "cannot be asked to features"),
        ("paint", {}, 405, "Method Not Allowed"),
    ],
)
def test_bad_requests_are_told_why(
    server: Server, verb: str, body: dict[str, Any], status: int, message: str
) -> None:
    assert message in server.ask("prior", verb, status, **body)["error"]


def test_models_are_described_and_their_files_handed_out(server: Server, bundles: dict[str, Path]) -> None:
    models = {model["name"]: model for model in server.client.get("/v1/models").json()["models"]}
    assert set(models) == {"prior", "generator"}
    assert models["prior"] == server.client.get("/v1/models/prior").json()
    assert models["prior"]["image_shape"] == list(GRID)
    assert (models["prior"]["condition"], models["prior"]["num_classes"]) == ("label", 2)
    assert (models["prior"]["class_names"], models["prior"]["pixels"]) == (list(CLASSES), "grey")
    assert models["generator"]["verbs"] == ["sample", "complete", "score", "encode"]
    assert server.client.get("/v1/models/none").json() == {
        "error": "No model is called none; expected one of prior, generator."
    }
    files = server.client.get("/v1/models/prior/bundle/manifest.json")
    assert files.content == (bundles["prior"] / "manifest.json").read_bytes()
    for path in ("../generator/manifest.json", "..%2fgenerator%2fmanifest.json", "onnx/none.onnx", ""):
        assert server.client.get(f"/v1/models/prior/bundle/{path}").status_code == 404


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


def test_an_encoder_gives_features_and_classes(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    encoder = ViT((4, 6, 1), 2, num_layers=1, num_heads=1, hidden_dim=4)
    path = tfprior.export.save(Classifier(encoder, 3), tmp_path / "classifier", formats=("onnx",))
    client, levels = OnnxEncoder(path), images_of((4, 6, 1), levels=256).astype("uint8")
    pixels = np.random.default_rng(1).random((2, 4, 6, 1), "float32")
    takes = client.encoder.input
    with serving(path) as running:
        assert running.client.get("/v1/models/classifier").json()["verbs"] == ["features", "classify"]
        for images in (pixels, levels) if takes == PIXELS else (pixels,):
            made = running.ask("classifier", "features", images=images.tolist())["features"]
            np.testing.assert_allclose(made, client.features(images), rtol=1e-5, atol=1e-6)
            logits = running.ask("classifier", "classify", images=images.tolist())["logits"]
            np.testing.assert_allclose(logits, client.classify(images), rtol=1e-5, atol=1e-6)
        for images, message in (
            ((levels.astype(int) + 1000).tolist(), "expected whole numbers from 0 to 255"),
            (pixels[0].tolist(), "valid"),
            ([[[[0.5, "a"]]]], "valid"),
            ([[[[2.0**200]]]], "numbers that float32 does not"),
        ):
            answer = running.client.post("/v1/models/classifier:features", json={"images": images})
            assert (answer.status_code in (400, 422), message in answer.text) == (True, True), answer.text
        nan = running.client.post("/v1/models/classifier:features", content='{"images": [[[[NaN]]]]}')
        assert nan.status_code in (400, 422)
        assert running.ask("classifier", "sample", 404)["error"].startswith("classifier cannot be asked to")
