"""The examples at tiny size; the demo is in test_readme.py."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from catalogue import integers

from examples import any_order_completion, train_multi_worker, train_pixelcnn_pp, translation, vq_vae_pipeline


def test_the_papers_recipe_trains_on_an_npz_file(tmp_path: Path) -> None:
    images = 8 * integers(40, 4, 8, 3, top=32).astype("uint8")
    np.savez(tmp_path / "mine.npz", x_train=images[:32], x_test=images[32:])
    scores = train_pixelcnn_pp.main(
        str(tmp_path / "mine.npz"),
        str(tmp_path / "run"),
        epochs=2,
        batch_size=8,
        filters=4,
        num_stages=2,
        samples=4,
    )
    assert np.isfinite(list(scores.values())).all()
    prior = keras.saving.load_model(tmp_path / "run" / "best.keras")
    assert not prior.needs_initialization
    bits = np.mean(prior.bits_per_dim(images[32:]))
    np.testing.assert_allclose(scores["PixelCNN++"], bits, rtol=1e-5)  # of the averaged weights, kept
    assert (tmp_path / "run" / "samples.png").stat().st_size > 100
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 3


def test_the_pipeline_of_codes_goes_the_whole_way(tmp_path: Path) -> None:
    images = 8 * integers(60, 4, 8, 1, top=32).astype("uint8")
    labels = np.arange(60) % 3
    np.savez(
        tmp_path / "mine.npz",
        x_train=images[:48],
        y_train=labels[:48],
        x_test=images[48:],
        y_test=labels[48:],
    )
    given = {"codes": 8, "code_dim": 4, "filters": 8, "epochs": 1, "batch_size": 16}
    scores = vq_vae_pipeline.main(str(tmp_path / "mine.npz"), str(tmp_path / "run"), **given)
    assert np.isfinite(list(scores.values())).all()
    drawn = ("pictures/reconstructions-epoch-0001.png", "pictures/samples-epoch-0001.png")
    for name in ("reconstructions.png", "samples.png", "bundle/manifest.json", *drawn):
        assert (tmp_path / "run" / name).is_file()


def test_holes_are_filled_by_both_priors(tmp_path: Path) -> None:
    images = 8 * integers(60, 4, 8, 1, top=32).astype("uint8")
    np.savez(tmp_path / "mine.npz", x_train=images[:48], x_test=images[48:])
    given = {"codes": 6, "code_dim": 4, "epochs": 1, "images_shown": 2}
    bits = any_order_completion.main(str(tmp_path / "mine.npz"), str(tmp_path / "run"), **given)
    for by_hole in bits.values():
        assert list(by_hole) == ["all", "left", "right", "top", "bottom", "centre", "random"]
        assert np.isfinite(list(by_hole.values())).all()
    assert bits["gated_pixel_cnn"]["all"] != bits["any_order_transformer"]["all"]
    assert len(list((tmp_path / "run").glob("*_any_order_transformer.png"))) == 6


def test_sequences_are_learned_backwards(capsys: pytest.CaptureFixture[str]) -> None:
    small = {"hidden_dim": 8, "num_layers": 1, "num_heads": 2, "examples": 200, "epochs": 1}
    scores = translation.main("reversal", **small, warmup_steps=10, shown=1)
    assert 0 < scores["nats_per_token"] < np.inf
    assert 0 <= scores["exact"] <= 1
    printed = capsys.readouterr().out
    source, target = (re.search(f"{name}  (.*)", printed)[1].split() for name in ("source", "target"))
    assert source == target[::-1]


def test_notes_and_marks_of_a_verse_are_left_out() -> None:
    marked = '<w n="1">For</w> <w>God</w><note>or Elohim</note><w>loved</w> <q/>the <note>x</note>, world'
    assert translation.plain(marked) == "For God loved the, world"


def test_one_worker_trains_alone_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = integers(40, 4, 3, 1, top=4).astype("uint8")
    np.savez(tmp_path / "mine.npz", x_train=images[:32], x_test=images[32:], num_levels=4)
    arguments = {"data_set": str(tmp_path / "mine.npz"), "batch_size": 8, "filters": 4, "num_layers": 1}
    train_multi_worker.main(**arguments, out=str(tmp_path / "parts"), epochs=1)
    parts = train_multi_worker.main(**arguments, out=str(tmp_path / "parts"), epochs=2)
    whole = train_multi_worker.main(**arguments, out=str(tmp_path / "whole"), epochs=2)
    assert parts == whole
    assert f"{parts['bits_per_dim']:.4f} bits/dim on the test images" in capsys.readouterr().out
    prior = keras.saving.load_model(tmp_path / "parts" / "prior.keras")
    bits = np.mean(prior.bits_per_dim(images[32:]))
    np.testing.assert_allclose(parts["bits_per_dim"], bits, rtol=1e-5)
