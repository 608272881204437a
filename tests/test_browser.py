"""The page of `clients/browser/` in headless Chromium: what is on its canvas is what Keras draws."""

import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catalogue
import numpy as np
import pytest
from node import modules
from served import serving
from small_bundles import CLASSES, GRID, LEVELS

import tfprior.export
from tfprior.export.client import open_bundle
from tfprior.priors import MaskedTransformer

ROOT = Path(__file__).parent.parent
PACKAGES = ("onnxruntime-web@1.30.0", "playwright-core@1.65.1")
BROWSE = Path(__file__).parent / "clients" / "browse.mjs"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed; the page is tested in one"
)


@pytest.fixture
def address(prior_bundle: Path, generator_bundle: Path, tmp_path: Path) -> Iterator[str]:
    """Where a server on this machine has the page, the packages it takes, and bundles."""
    folders = {
        "/browser/node_modules": modules(*PACKAGES) / "node_modules",
        "/prior": prior_bundle,
        "/images": generator_bundle,
        "/damaged": Path(shutil.copytree(prior_bundle, tmp_path / "damaged")),
        "": ROOT / "clients",
    }
    graph = tmp_path / "damaged" / "onnx" / "pixel.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            prefix = next(prefix for prefix in folders if path.startswith(prefix))
            return f"{folders[prefix]}{path.removeprefix(prefix)}"

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/browser/index.html"
        server.shutdown()


def browse(address: str, *actions: tuple[Any, ...]) -> list[Any]:
    """What each action finds on the page, which has nothing to complain of."""
    command = ["node", str(BROWSE), str(modules(*PACKAGES)), str(CHROMIUM), address]
    run = subprocess.run(command, input=json.dumps(actions), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert answer["complaints"] == []
    return answer["found"]


def shown(values: np.ndarray, levels: int) -> list[int]:
    """Greys as the canvas has them: (…, 4) bytes of red, green, blue and opacity."""
    grey = np.rint(values.reshape(-1, 1) * (255 / (levels - 1))).astype(int)
    return np.concatenate([grey, grey, grey, np.full_like(grey, 255)], axis=1).ravel().tolist()


DRAW = [("set", "#slowly", False), ("set", "#seed", 7), ("click", "#draw"), ("until", "Drawn from seed 7")]


def test_the_canvas_has_the_integers_of_the_seed(address: str, prior_bundle: Path) -> None:
    sampler = open_bundle(prior_bundle)
    drawn = sampler.sample(1, [1], seed=7)
    hidden = np.arange(12).reshape(GRID[:2]) >= 6  # what lies behind the pixel painted over
    by_mouse = sampler.complete(drawn, hidden, [1], seed=8)
    by_keys = sampler.complete(by_mouse, hidden, [1], seed=9)
    about, names, first, second, third = browse(
        address,
        ("choose", str(prior_bundle)),
        ("set", "#class", "1"),
        *DRAW,
        ("text", "#about"),
        ("text", "#class"),
        ("pixels",),
        ("set", "#seed", 8),
        ("set", "#size", 1),
        ("drag", [0.6, 0.5]),
        ("click", "#complete"),
        ("until", "Drawn from seed 8"),
        ("pixels",),
        ("set", "#seed", 9),
        ("press", "ArrowDown", "ArrowRight", "ArrowRight", " ", "Enter"),
        ("until", "Drawn from seed 9"),
        ("pixels",),
    )
    assert about == "GatedPixelCNN: 3 × 4, 4 levels, 2 classes"
    assert names == "".join(CLASSES)
    assert first == shown(drawn, LEVELS)
    assert second == shown(by_mouse, LEVELS)
    assert third == shown(by_keys, LEVELS)


@pytest.mark.slow
def test_a_masked_prior_draws_in_a_few_passes(address: str, tmp_path: Path) -> None:
    prior = catalogue.prior(MaskedTransformer, GRID, "none", num_layers=1)
    bundle = tfprior.export.save(prior, tmp_path / "masked", formats=("onnx",))
    expected = [
        open_bundle(bundle).sample(1, seed=7, **way)
        for way in ({"method": "halton"}, {"method": "maskgit"}, {"order": "raster"})
    ]
    ways = ("halton-passes", "maskgit-passes", "raster")
    drawn = [action for way in ways for action in (("set", "#order", way), *DRAW, ("pixels",))]
    for pixels, values in zip(browse(address, ("choose", str(bundle)), *drawn), expected, strict=True):
        assert pixels == shown(values, prior.num_levels)


def test_codes_become_images_while_they_are_drawn(address: str, generator_bundle: Path) -> None:
    drawn = open_bundle(generator_bundle).sample(1, seed=7)
    (pixels,) = browse(address, ("open", "/images"), *DRAW, ("pixels",))
    assert pixels == shown(drawn, 16)


def test_a_server_hosts_the_page_and_opens_its_bundle_there(prior_bundle: Path, tmp_path: Path) -> None:
    left_out = shutil.ignore_patterns("node_modules")
    page = Path(shutil.copytree(ROOT / "clients", tmp_path / "clients", ignore=left_out))
    shutil.copytree(modules(*PACKAGES) / "node_modules", page / "browser" / "node_modules")
    drawn = open_bundle(prior_bundle).sample(1, [1], seed=7)
    with serving(prior_bundle, page=page) as running:
        (pixels,) = browse(running.address, ("opened",), ("set", "#class", "1"), *DRAW, ("pixels",))
    assert pixels == shown(drawn, LEVELS)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([("open", "/nothing")], "manifest.json is missing (status 404)"),
        ([("open", "/damaged"), ("click", "#draw")], "onnx/pixel.onnx does not have the SHA-256"),
        ([("choose", str(ROOT / "docs"))], "There is no manifest.json among these"),
    ],
)
def test_what_is_wrong_is_told(address: str, actions: list[Any], message: str) -> None:
    (fault,) = browse(address, *actions, ("fault",))
    assert message in fault


def test_nothing_is_wider_than_a_phone(address: str, tmp_path: Path) -> None:
    picture = ("picture", str(tmp_path / "phone.png"), 360, 740, "dark")
    assert browse(address, ("open", "/prior"), picture, ("overflow",)) == [0]
