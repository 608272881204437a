"""The JavaScript client by itself: damaged bundles and wrong arguments refused, files from anywhere.

That it draws what Keras draws is tested where bundles of each kind are exported.
"""

import base64
import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_files import edit_manifest, replace_file
from node import ask
from small_bundles import GRID, LEVELS
from test_bundle_graphs import replace_graph
from test_philox import PUBLISHED

from tfprior.export.client import open_bundle
from tfprior.unmasking import hidden_by_halton, hidden_by_maskgit

CLIENT = Path(__file__).parent.parent / "clients" / "javascript"
DRAWS = {"count": 3, "condition": [0, 1, 1], "seed": 2**53 - 1}


@pytest.fixture
def bundle(prior_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prior_bundle, tmp_path / "prior"))


@pytest.fixture
def address(prior_bundle: Path) -> Iterator[str]:
    """Where a server on this machine has the bundle."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    serve = functools.partial(Quiet, directory=str(prior_bundle))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def held(bundle: Path) -> dict[str, str]:
    files = (file for file in bundle.rglob("*") if file.is_file())
    return {
        file.relative_to(bundle).as_posix(): base64.b64encode(file.read_bytes()).decode() for file in files
    }


def test_its_schedules_are_those_of_python() -> None:
    ask_for = (
        f"import {{ decodingOf }} from {str(CLIENT / 'decoding.js')!r};"
        "const made = {};"
        "for (const method of ['maskgit', 'halton'])"
        "  for (let iterations = 1; iterations <= 40; iterations++) {"
        "    const { hiddenAfter } = decodingOf({ hidden_apart: 1 }, { method, iterations });"
        "    const all = Array.from({ length: 300 }, (_, count) => hiddenAfter(count, iterations));"
        "    made[`${method} ${iterations}`] = all;"
        "  }"
        "console.log(JSON.stringify(made));"
    )
    command = ["node", "--input-type=module", "-e", ask_for]
    made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert len(made) == 80
    for name, found in made.items():
        method, iterations = name.split()
        expected = {"maskgit": hidden_by_maskgit, "halton": hidden_by_halton}[method](
            np.arange(300), int(iterations)
        )
        np.testing.assert_array_equal(found, expected.T, err_msg=name)


def test_its_generator_has_the_published_words(prior_bundle: Path) -> None:
    answers = ask(prior_bundle, *(("philox", [counter, key]) for counter, key, _ in PUBLISHED))
    for answer, (*_, words) in zip(answers, PUBLISHED, strict=True):
        assert " ".join(f"{word:08x}" for word in answer["values"]) == words


def test_the_golden_rollout_is_drawn_from_a_folder_an_address_and_files(
    prior_bundle: Path, address: str
) -> None:
    (prior,) = open_bundle(prior_bundle).manifest.priors
    golden = prior.golden
    asked = {"count": len(golden.values), "condition": golden.condition, "uniforms": golden.uniforms}
    for source in (prior_bundle, address, held(prior_bundle)):
        (drawn,) = ask(source, ("sample", asked))
        assert "message" not in drawn, drawn["message"]
        np.testing.assert_array_equal(drawn["values"], golden.values.ravel())
        np.testing.assert_allclose(drawn["logProb"], golden.log_prob, rtol=1e-5)


def test_an_example_is_the_same_in_any_batch_and_by_any_loop(bundle: Path) -> None:
    expected = open_bundle(bundle).sample(3, DRAWS["condition"], seed=DRAWS["seed"])
    edit_manifest(bundle, lambda fields: [fields["functions"].pop(name) for name in ("row", "pixel")])
    one, by_step = ask(bundle, ("sample", {**DRAWS, "count": 1, "condition": 0}), ("draw", DRAWS))
    np.testing.assert_array_equal(by_step["values"], expected.ravel())
    np.testing.assert_array_equal(one["values"], expected[0].ravel())


def test_labels_have_names(prior_bundle: Path) -> None:
    by_number, by_name, mixed = ask(
        prior_bundle,
        *(("sample", {"count": 2, "condition": given, "seed": 0}) for given in ([1, 1], "odd", ["odd", 1])),
    )
    np.testing.assert_array_equal(by_number["values"], by_name["values"])
    np.testing.assert_array_equal(by_number["values"], mixed["values"])


def test_only_what_is_hidden_is_drawn(prior_bundle: Path) -> None:
    values, hidden = np.zeros(GRID, "int32"), np.zeros(GRID[:2], bool)
    hidden[1, 1:3] = True
    known = {"values": values, "condition": 1, "seed": 0, "mask": hidden}
    drawn, nothing = ask(
        prior_bundle, ("draw", known), ("complete", {**known, "mask": np.zeros(GRID[:2], bool)})
    )
    assert drawn["positions"] == [[5], [6]]
    np.testing.assert_array_equal(nothing["values"], values.ravel())
    assert nothing["logProb"] == [0]


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda bundle: (bundle / "manifest.json").unlink(), r"manifest.json is missing \(ENOENT"),
    "no JSON": (lambda bundle: (bundle / "manifest.json").write_text("{"), "manifest.json is unreadable"),
    "an edited manifest": (
        lambda bundle: (bundle / "manifest.json").write_text(
            (bundle / "manifest.json").read_text().replace('"num_levels": 4', '"num_levels": 5', 1)
        ),
        "manifest.json does not have its own SHA-256: it was changed",
    ),
    "another generator": (
        lambda bundle: edit_manifest(
            bundle, lambda fields: fields["priors"][0]["noise"].update(generator="threefry2x32-20")
        ),
        "seeds are those of threefry2x32-20 and this client knows philox4x32-10: upgrade it",
    ),
    "a truncated graph": (
        lambda bundle: (bundle / "onnx/sample.onnx").write_bytes(
            (bundle / "onnx/sample.onnx").read_bytes()[:-1]
        ),
        "onnx/sample.onnx has .* bytes and the manifest says .*: it is truncated or changed",
    ),
    "a changed graph": (
        lambda bundle: (bundle / "onnx/sample.onnx").write_bytes(
            (bundle / "onnx/sample.onnx").read_bytes()[:-1] + b"\0"
        ),
        "onnx/sample.onnx does not have the SHA-256 of the manifest",
    ),
    "no graph": (
        lambda bundle: replace_file(bundle, "onnx/sample.onnx", b"no graph"),
        "ONNX Runtime does not load onnx/sample.onnx",
    ),
    "another graph": (
        lambda bundle: replace_file(bundle, "onnx/sample.onnx", (bundle / "onnx/log_prob.onnx").read_bytes()),
        "onnx/sample.onnx has the inputs .*values.*; expected .*uniforms",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_bundle_is_refused(bundle: Path, damage: str) -> None:
    change, message = DAMAGE[damage]
    change(bundle)
    (answer,) = ask(bundle, ("sample", DRAWS))
    assert answer["error"] == "BundleError"
    assert re.search(message, answer["message"]), answer["message"]
    assert "\n" not in answer["message"]


def test_a_newer_bundle_and_an_encoders_are_refused(bundle: Path) -> None:
    file = bundle / "manifest.json"
    file.write_text(file.read_text().replace('"schema_version": 6', '"schema_version": 99'))
    (answer,) = ask(bundle, ("sample", {}))
    assert "schema version 99 and this client reads 2 to 6: upgrade the client" in answer["message"]


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("sample", {"count": 0}, "count is 0; expected an integer from 1"),
    ("sample", {}, "takes a label as its condition; got none"),
    ("sample", {"condition": 2}, "condition is 2; expected a label from 0 to 1"),
    ("sample", {"condition": "none"}, "No class is called 'none'; .* from 0 to 1, or one of even, odd"),
    (
        "sample",
        {"condition": [0, 1]},
        r"condition is \[0,1\]; expected a label .* one for each of 1 examples",
    ),
    ("sample", {"condition": 0, "seed": -1}, "seed is -1; expected an integer from 0"),
    ("sample", {"condition": 0, "seed": 0.5}, "seed is 0.5; expected an integer"),
    ("sample", {"condition": 0, "temperature": 0}, "temperature is 0; expected a positive number"),
    ("sample", {"condition": 0, "guidance": 1}, "guidance is 1 and the prior was not trained with"),
    ("sample", {"condition": 0, "order": "halton"}, "in raster order alone and got order halton"),
    ("sample", {"condition": 0, "uniforms": [0.5]}, "Got 1 uniforms; expected 12 numbers"),
    ("sample", {"condition": 0, "uniforms": [1] * 12}, "expected 12 numbers from 0 to below 1"),
    ("draw", {"condition": 0, "values": [0] * 12}, "takes both values and a mask"),
    ("complete", {"condition": 0, "values": [4] * 12, "mask": [1] * 12}, "12 integers from 0 to 3"),
    ("complete", {"condition": 0, "values": [0] * 12, "mask": [1] * 5}, "The mask has 5 places; expected 12"),
]


def test_wrong_arguments_are_named(prior_bundle: Path) -> None:
    answers = ask(prior_bundle, *((method, options) for method, options, _ in WRONG))
    for answer, (_, _, message) in zip(answers, WRONG, strict=True):
        assert answer["error"] == "RangeError"
        assert re.search(message, answer["message"]), answer["message"]


RESULTS = {
    "values": np.full(GRID, LEVELS),
    "log_prob": np.array(np.nan),
    "shape": np.zeros((1, *GRID)),
}


@pytest.mark.parametrize("what", RESULTS)
def test_graphs_that_do_not_compute_what_the_manifest_says_are_refused(bundle: Path, what: str) -> None:
    result = {"values" if what == "shape" else what: RESULTS[what]}
    replace_graph(bundle, "sample", result)
    (answer,) = ask(bundle, ("sample", DRAWS))
    assert answer["error"] == "BundleError"
    assert re.search("'sample' gives .*: do not use the bundle", answer["message"]), answer["message"]
