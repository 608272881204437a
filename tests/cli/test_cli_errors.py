"""Errors of the command line: one sentence each, in its own words."""

import errno
from pathlib import Path
from typing import Any

import pytest
from command_line import run
from typer.testing import CliRunner

from tfprior.atomic import TEMPORARY, write_text
from tfprior.cli import app, sentence
from tfprior.cli.opening import resolved_path


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("train", 2, "Missing option '--out'"),
        (
            "train vae --out {tmp}/new",
            2,
            "train vae: no such model; expected one of gated_pixel_cnn, pixel_cnn",
        ),
        ("train --out {tmp}/new --model vae", 2, "the model is a word after train: tfprior train NAME"),
        ("train pixel_cnn --model=vae", 2, "the model is a word after train: tfprior train NAME"),
        ("train --out {tmp}/new --epochs 0", 2, "--epochs 0: expected a positive number"),
        ("train --out {tmp}/new --minutes -1", 2, "--minutes -1: expected a positive number"),
        ("train --out {tmp}/new --ema 2", 2, "--ema 2: expected a momentum between 0 and 1"),
        ("train --out {tmp}/new --data nonsense", 1, "'nonsense' is not a known data set"),
        ("train --out {tmp}/new --data {tmp}/missing.npz", 1, "does not exist"),
        (
            "train --out {tmp}/new --stages 2",
            2,
            "--stages belongs to pixelcnn_pp; gated_pixel_cnn has no such",
        ),
        ("train --out {tmp}/new --stage 2", 2, "No such option: --stage"),
        (
            "train --out {tmp}/new --components 5",
            2,
            "--components 5: a categorical output has none: leave it",
        ),
        ("train --out {tmp}/new --layers 0", 2, "--layers 0: expected a positive integer"),
        ("train --out {tmp}/new --kernel-size 4", 2, "--kernel-size 4: expected an odd number, 3 or more"),
        ("train --out {tmp}/new --value-embedding-dim many", 2, "'--value-embedding-dim'"),
        ("train --out {tmp}/new --output normal", 2, "--output"),
        ("train --out {tmp}/new --image-size 32", 2, "--image-size 32 was given for digits"),
        (
            "train pixelcnn_pp --out {tmp}/new --data {data} --levels 4",
            1,
            "for --stages 3; expected height and",
        ),
        ("train --out {run} --data {data}", 1, "holds a finished run (12 epochs"),
        (
            "train vq_vae --layers 2",
            2,
            "--layers belongs to gated_pixel_cnn, pixel_cnn, pixelcnn_pp, causal_transformer, any_order_",
        ),
        (
            "train vq_vae --out {tmp}/new --conditional",
            2,
            "--conditional belongs to gated_pixel_cnn, pixel_cnn",
        ),
        ("train vq_vae --out {tmp}/new --decay 2", 2, "--decay 2: expected a number between 0 and 1"),
        ("train vq_vae --out {tmp}/new --downsampling 3", 2, "--downsampling 3: expected a power of 2"),
        (
            "train vq_vae --out {tmp}/new --entropy-weight -1",
            2,
            "--entropy-weight -1: expected a finite number of 0 or more",
        ),
        (
            "train --out {tmp}/new --codes 6",
            2,
            "--codes belongs to vq_vae, vq_vae_2; gated_pixel_cnn has no such option",
        ),
        (
            "train --out {tmp}/new --codes=6",
            2,
            "--codes belongs to vq_vae, vq_vae_2; gated_pixel_cnn has no such option",
        ),
        ("train vq_vae --out {tmp}/new --data {data}", 1, "height and width divisible"),
        ("train --out {tmp}/new --data {codes} --flip", 1, "mirrored codes are not those of mirrored images"),
        ("train --out {tmp}/new --data {codes} --output logistic", 1, "expected a categorical output"),
        (
            "train --out {tmp}/new --data {codes} --levels 7",
            1,
            "holds codes of 6 kinds; leave --levels 7 out",
        ),
        ("train vq_vae --out {tmp}/new --data {codes}", 1, "holds codes; expected images"),
        ("encode {tokenizer}", 2, "Missing option '--out'"),
        ("encode {tokenizer} --out {tmp}/codes", 2, "--out {tmp}/codes: expected a name that ends in .npz"),
        ("encode {run} --out {tmp}/c.npz", 1, "is a prior; expected a tokenizer"),
        ("encode {tokenizer} --out {tmp}/c.npz --data {data}", 1, "expected (8, 4, 1) of 4"),
        ("encode {tokenizer} --out {tmp}/c.npz --data {codes}", 1, "of 6 codes; expected (8, 4, 1) of 4"),
        ("reconstruct {of_codes} --out {tmp}/r.png", 1, "is a prior; expected a tokenizer"),
        ("reconstruct {tokenizer} --data digits --out {tmp}/r.png", 1, "expected (8, 4, 1) of 4"),
        ("sample {tokenizer} --out {tmp}/s.png", 1, "is a tokenizer; train a prior on its codes: `tfprior"),
        ("complete {tokenizer} --out {tmp}/c.png", 1, "is a tokenizer; train a prior on its codes: `tfprior"),
        ("sample {run} --tokenizer {tokenizer} --out {tmp}/s.png", 1, "needs no tokenizer; leave it out"),
        ("evaluate {run} --tokenizer {tokenizer}", 2, "is not of codes; leave it out"),
        ("evaluate {of_codes} --tokenizer {run}", 1, "is a prior; expected a tokenizer"),
        ("evaluate {of_codes} --data {data}", 1, "encode the images first, with `tfprior encode`"),
        ("complete {of_codes} --data {codes} --out {tmp}/c.png", 1, "of 6 codes; expected (8, 4, 1) of 4"),
        ("sample {bundle} --tokenizer {tokenizer}", 2, "a bundle has its tokenizer inside"),
        ("evaluate {tmp}/missing", 1, "is no folder; expected the --out"),
        ("evaluate {tmp}", 1, "holds no config.json"),
        ("evaluate {run} --split all", 2, "--split"),
        ("evaluate {run} --data digits", 1, "has grids (8, 8, 1) of 17 levels; expected (4, 5, 1) of 4"),
        ("score {run} --data digits", 1, "has grids (8, 8, 1) of 17 levels; expected (4, 5, 1) of 4"),
        ("score {run} --data {codes}", 1, "of 6 codes; expected (4, 5, 1) of 4"),
        ("score {run} --out {tmp}/scores.txt", 2, "scores.txt: expected a name that ends in .csv"),
        ("score {tokenizer}", 1, "is a tokenizer; train a prior on its codes"),
        ("score {run}/best.keras", 2, "best.keras does not tell its data; name them: --data"),
        ("evaluate {run}/best.keras", 2, "best.keras does not tell its data; name them: --data"),
        (
            "evaluate {run}/best.keras --split train --data {data} --levels 4",
            2,
            "--split train: {run}/best.keras",
        ),
        ("complete {run}/best.keras", 2, "best.keras does not tell its data; name them: --data"),
        (
            "compress {run}/best.keras --out {tmp}/c.tfp",
            2,
            "best.keras does not tell its data; name them: --data",
        ),
        ("evaluate {bundle}", 1, "is a bundle; expected a run or a .keras file"),
        ("score {tmp}/missing", 1, "is no folder; expected the --out"),
        ("evaluate {run} --num 0", 2, "--num"),
        ("sample {run} --class 2", 2, "--class 2: expected a class in [0, 1]"),
        ("sample {run} --class bright", 2, "--class bright: expected a class in [0, 1]"),
        ("sample {run} --temperature 0", 2, "--temperature 0: expected a positive number (--top-k 1 draws"),
        ("sample {run} --top-k 9", 2, "--top-k 9: expected an integer in [1, 4]"),
        ("sample {run} --top-p 2", 2, "--top-p 2: expected a probability in (0, 1]"),
        ("complete {run} --temperature 0", 2, "--temperature 0: expected a positive number"),
        ("sample {bundle} --temperature 0", 2, "--temperature 0: expected a positive number"),
        ("sample {bundle} --top-k 2", 2, "--top-k 2: a bundle draws by temperature alone"),
        ("sample {bundle} --top-k 0", 2, "--top-k 0: a bundle draws by temperature alone"),
        (
            "sample {run} --npz {tmp}/out.txt --out {tmp}/s.png",
            2,
            "out.txt: expected a name that ends in .npz",
        ),
        ("sample {data}", 1, "does not end in .keras"),
        (
            "complete {run} --mask middle",
            2,
            "--mask middle: expected one of left, right, top, bottom, centre, random, or",
        ),
        ("complete {run} --mask {tmp}/mask.png", 1, "mask.png: No such file"),
        ("train --out {tmp}/new --image-size 0", 2, "'--image-size'"),
        ("train --out {tmp}/new --image-size 3x4x5", 2, "'--image-size'"),
        ("complete {run} --num 0", 2, "--num"),
        ("export {run} {bundle}", 2, "pass --overwrite to replace it"),
        ("export {run} {tmp}/new --format pdf", 2, "saved_model"),
        ("verify {run}", 1, "is no bundle"),
        ("info {tmp}/missing", 1, "is no folder"),
        ("teach", 2, "No such command 'teach'"),
    ],
)
def test_errors_are_one_sentence(
    trained: Path,
    bundle: Path,
    data: Path,
    tokenizer: Path,
    codes: Path,
    of_codes: Path,
    tmp_path: Path,
    args: str,
    code: int,
    words: str,
) -> None:
    places = {"tmp": tmp_path, "run": trained, "bundle": bundle, "data": data}
    places |= {"tokenizer": tokenizer, "codes": codes, "of_codes": of_codes}
    assert words.format(**places) in run(*(word.format(**places) for word in args.split()), code=code)
    assert not any(tmp_path.iterdir())


def test_debug_shows_the_error_itself(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--debug", "evaluate", str(tmp_path)])
    assert isinstance(result.exception, FileNotFoundError)


def test_a_damaged_run_is_told(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert "config.json is damaged" in run("info", tmp_path, code=1)
    (tmp_path / "config.json").write_bytes((trained / "config.json").read_bytes())
    (tmp_path / "checkpoint.json").write_bytes((trained / "checkpoint.json").read_bytes())
    (tmp_path / "best.keras").write_bytes((trained / "best.keras").read_bytes()[:1000])
    assert "best.keras is damaged: it is not what was written" in run("evaluate", tmp_path, code=1)


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("PIL", "pillow"),
        ("sklearn", "tfprior"),
        ("tf_keras", "tfprior"),
        ("constriction", "tfprior[compress]"),
    ],
)
def test_the_remedy_for_a_missing_module_is_its_package(module: str, package: str) -> None:
    printed = sentence(ModuleNotFoundError(f"No module named '{module}.x'", name=f"{module}.x"))
    assert printed == f"{module} is not installed; get it with: pip install '{package}'"


@pytest.mark.parametrize(
    ("command", "place", "words"),
    [
        ("train --out {tmp}/new", "tfprior.data.load", "Stopped; the same `tfprior train` command goes on"),
        ("evaluate {tmp}", "tfprior.runs.load_run", "Stopped.\n"),
    ],
)
def test_what_is_stopped_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, place: str, words: str
) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    assert words in run(*command.format(tmp=tmp_path).split(), code=1)


def test_what_exists_is_kept_as_a_resolved_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine", "digits"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    mine = str((tmp_path / "mine").resolve())
    assert [resolved_path(given) for given in ("mine", "./mine", "~/mine", mine)] == [mine] * 4
    assert [resolved_path(given) for given in ("digits", "", "missing")] == ["digits", "", "missing"]
    assert resolved_path("./digits") == str((tmp_path / "digits").resolve())


def test_a_file_that_cannot_be_written_is_called_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *args: Any, **named: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(OSError, match=TEMPORARY) as caught:
        write_text(tmp_path / "card.md", "words")
    assert sentence(caught.value) == f"{tmp_path / 'card.md'}: Read-only file system."


def test_unexpected_errors_say_what_they_are() -> None:
    assert sentence(KeyError("a\nb")) == "KeyError: 'a\\nb' (run again with --debug for the whole story)"
    missing = FileNotFoundError(2, "No such file or directory", "a.png")
    assert sentence(missing) == "a.png: No such file or directory."
