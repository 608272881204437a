"""Weights by the names of others: every spelling there and back, and what is wrong with a file, by name."""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from catalogue import features, randomise
from catalogue_examples import assert_equal
from keras import ops

from tfprior.encoders import Classifier, Swin, ViT, load_safetensors, save_safetensors
from tfprior.pretraining import MAE, SimMIM

safetensors = pytest.importorskip("safetensors.numpy", reason="the extra `weights` is not installed")

VIT = {"image_shape": (4, 6, 2), "patch_size": 2, "num_layers": 2, "num_heads": 2, "hidden_dim": 8}
SWIN = {
    "image_shape": (8, 8, 2),
    "patch_size": 2,
    "num_layers": (2, 1),
    "num_heads": (2, 2),
    "hidden_dim": 4,
    "window_size": 2,
}
SPELLINGS = {
    "hugging_face": "encoder.layer.1.attention.attention.query.weight",
    "hugging_face_5": "layers.1.attention.q_proj.weight",
    "dinov2": "encoder.layer.1.layer_scale1.lambda1",
    "dinov2_5": "encoder.layer.1.attention.q_proj.weight",
    "timm": "blocks.1.attn.qkv.weight",
}
SWIN_SPELLINGS = {
    "hugging_face": "encoder.layers.0.blocks.1.attention.self.relative_position_bias_table",
    "hugging_face_5": "encoder.layers.0.blocks.1.attention.q_proj.weight",
    "microsoft": "layers.0.downsample.reduction.weight",
    "timm": "layers.1.downsample.reduction.weight",
}


def vit(seed: int = 0, **options: Any) -> ViT:
    return randomise(ViT(**{**VIT, **options}), seed)


def swin(seed: int = 0) -> Swin:
    return randomise(Swin(**SWIN), seed)


def saved(model: Any, folder: Path, names: str) -> tuple[Path, dict[str, np.ndarray]]:
    path = folder / f"{names}.safetensors"
    save_safetensors(model, path, names)
    return path, safetensors.load_file(path)


def changed(path: Path, change: Any) -> Path:
    arrays = safetensors.load_file(path)
    change(arrays)
    safetensors.save_file(arrays, path)
    return path


@pytest.mark.parametrize("names", SPELLINGS)
def test_every_spelling_of_vit_comes_back(names: str, tmp_path: Path) -> None:
    options = {"layer_scale": 0.1} if "dinov2" in names else {}
    encoder, other = vit(**options), vit(1, **options)
    path, arrays = saved(encoder, tmp_path, names)
    assert SPELLINGS[names] in arrays
    assert load_safetensors(other, path) == []
    assert_equal(other.get_weights(), encoder.get_weights())


@pytest.mark.parametrize("names", SWIN_SPELLINGS)
def test_every_spelling_of_swin_comes_back(names: str, tmp_path: Path) -> None:
    encoder, other = swin(), swin(1)
    path, arrays = saved(encoder, tmp_path, names)
    assert SWIN_SPELLINGS[names] in arrays
    assert load_safetensors(other, path) == []
    assert_equal(other.get_weights(), encoder.get_weights())


@pytest.mark.parametrize(
    ("make", "names", "expected"),
    [
        (vit, "hugging_face", {"vit.layernorm.weight", "classifier.weight", "classifier.bias"}),
        (vit, "timm", {"norm.weight", "head.weight", "head.bias"}),
        (swin, "timm", {"norm.weight", "head.fc.weight", "head.fc.bias"}),
    ],
)
def test_a_classifier_has_a_head_and_an_encoder_leaves_it_out(
    make: Any, names: str, expected: set[str], tmp_path: Path
) -> None:
    model, other = Classifier(make(), 3), Classifier(make(1), 3)
    path, arrays = saved(model, tmp_path, names)
    assert expected <= set(arrays)
    assert load_safetensors(other, path) == []
    assert_equal(other.get_weights(), model.get_weights())
    encoder = make(1)
    assert set(load_safetensors(encoder, path)) == {name for name in expected if "norm" not in name}
    assert_equal(encoder.get_weights(), model.encoder.get_weights())


def test_fused_attention_is_query_key_value(tmp_path: Path) -> None:
    encoder = vit()
    fused = saved(encoder, tmp_path, "timm")[1]["blocks.0.attn.qkv.weight"]
    apart = saved(encoder, tmp_path, "hugging_face")[1]
    name = "encoder.layer.0.attention.attention.{}.weight"
    np.testing.assert_array_equal(
        fused, np.concatenate([apart[name.format(x)] for x in ("query", "key", "value")])
    )
    block = encoder.blocks[0].attention
    np.testing.assert_array_equal(apart[name.format("value")].T, block.key_value.kernel[:, 8:])


def test_patches_are_a_convolution_of_pytorch(tmp_path: Path) -> None:
    """Its kernel (D, C, p, p) over one patch of an image that has channels first."""
    encoder, images = vit(), features(1, 4, 6, 2)
    arrays = saved(encoder, tmp_path, "timm")[1]
    patch = images[0, 2:4, 4:6].transpose(2, 0, 1)
    expected = np.tensordot(arrays["patch_embed.proj.weight"], patch, 3) + arrays["patch_embed.proj.bias"]
    np.testing.assert_allclose(ops.convert_to_numpy(encoder.patches(images))[0, 5], expected, atol=1e-5)


def test_what_pretraining_has_besides_is_left_out(tmp_path: Path) -> None:
    """MAE with its decoder, under a prefix, in half precision; SimMIM with its buffers and head."""
    encoder = vit(positions="sin_cos")
    path, arrays = saved(encoder, tmp_path, "timm")
    assert arrays["pos_embed"].shape == (1, 7, 8)
    more = {
        "mask_token": np.zeros(1),
        "decoder_blocks.0.norm1.weight": np.zeros(8),
        "decoder_embed.bias": np.ones(8),
    }
    theirs = {f"model.{name}": array.astype("float16") for name, array in {**arrays, **more}.items()}
    safetensors.save_file(theirs, path)
    other = vit(1, positions="sin_cos")
    assert sorted(load_safetensors(other, path)) == [f"model.{name}" for name in sorted(more)]
    assert_equal(other.get_weights(), encoder.get_weights(), atol=2e-3)
    path, arrays = saved(swin(), tmp_path, "microsoft")
    theirs = {f"encoder.{name}": array for name, array in arrays.items()}
    besides = {"decoder.0.weight", "encoder.mask_token", "encoder.layers.0.blocks.1.attn_mask"}
    besides |= {"encoder.layers.0.blocks.0.attn.relative_position_index"}
    safetensors.save_file({**theirs, **{name: np.zeros(1) for name in besides}}, path)
    assert set(load_safetensors(swin(1), path)) == besides


def mae(seed: int = 0) -> MAE:
    return randomise(
        MAE(ViT(**{**VIT, "positions": "sin_cos"}), decoder_dim=4, decoder_layers=2, decoder_heads=1), seed
    )


def test_a_decoder_of_mae_by_its_authors(tmp_path: Path) -> None:
    model, other = mae(), mae(1)
    path, arrays = saved(model, tmp_path, "timm")
    assert {"mask_token", "decoder_blocks.1.attn.qkv.bias", "decoder_pred.weight", "norm.bias"} <= set(arrays)
    assert arrays["decoder_pos_embed"].shape == (1, 7, 4)
    safetensors.save_file({f"model.{name}": array for name, array in arrays.items()}, path)
    assert load_safetensors(other, path) == []
    assert_equal(other.get_weights(), model.get_weights())
    encoder_alone = saved(model.encoder, tmp_path, "hugging_face")[0]
    with pytest.raises(ValueError, match=r"it lacks decoder.* It holds the encoder alone: load it into"):
        load_safetensors(other, encoder_alone)


def test_the_head_of_simmim_by_its_authors(tmp_path: Path) -> None:
    """Who have the encoder under a name, and the head beside it."""
    model, other = (randomise(SimMIM(swin(), unit_size=4), seed) for seed in (0, 1))
    path, arrays = saved(model, tmp_path, "microsoft")
    assert arrays["decoder.0.weight"].shape == (32, 8, 1, 1)
    theirs = {name if "decoder" in name else f"encoder.{name}": array for name, array in arrays.items()}
    safetensors.save_file(theirs, path)
    assert load_safetensors(other, path) == []
    assert_equal(other.get_weights(), model.get_weights())


def test_a_norm_behind_the_mean(tmp_path: Path) -> None:
    """`fc_norm` of what timm and MAE's authors have fine-tuned."""
    model, other = (Classifier(vit(seed), 3, "mean_then_norm") for seed in (0, 1))
    path, arrays = saved(model, tmp_path, "timm")
    assert {"fc_norm.weight", "head.bias"} <= set(arrays)
    assert "norm.weight" not in arrays
    assert load_safetensors(other, path) == []
    images = features(2, 4, 6, 2)
    assert_equal(other(images), model(images))
    tokens = ops.convert_to_numpy(model.encoder(images, normalized=False))
    mean = tokens[:, 1:].mean(1)
    normal = (mean - mean.mean(-1, keepdims=True)) / np.sqrt(mean.var(-1, keepdims=True) + 1e-6)
    normal = normal * arrays["fc_norm.weight"] + arrays["fc_norm.bias"]
    expected = normal @ arrays["head.weight"].T + arrays["head.bias"]
    np.testing.assert_allclose(model(images), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"has besides fc_norm.* Load it into a Classifier with pooling="):
        load_safetensors(Classifier(vit(), 3), path)


def test_weights_in_several_files(tmp_path: Path) -> None:
    encoder, other = vit(), vit(1)
    _, arrays = saved(encoder, tmp_path, "timm")
    names, index = sorted(arrays), tmp_path / "model.safetensors.index.json"
    places = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(places.values()):
        safetensors.save_file({n: arrays[n] for n in names if places[n] == file}, tmp_path / file)
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    assert load_safetensors(other, index) == []
    assert_equal(other.get_weights(), encoder.get_weights())
    part = tmp_path / "model-00002-of-00002.safetensors"
    safetensors.save_file({"other": np.zeros(1)}, part)
    with pytest.raises(ValueError, match=r"00002.safetensors lacks .*, which model.safetensors.index.json p"):
        load_safetensors(other, index)
    part.write_bytes(b"")
    with pytest.raises(ValueError, match=r"model-00002-of-00002.safetensors is no whole file of safetensors"):
        load_safetensors(other, index)
    part.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*model-00002-of-00002.safetensors, in which mode"):
        load_safetensors(other, index)
    for text in ('{"weight_map": {"x": "../other.safetensors"}}', "[1]", '{"weight_map": [', "{}"):
        index.write_text(text)
        with pytest.raises(ValueError, match="is no index of safetensors"):
            load_safetensors(other, index)


def test_bfloat16_is_read(tmp_path: Path) -> None:
    encoder, other = vit(), vit(1)
    path, arrays = saved(encoder, tmp_path, "timm")
    bits = {name: (array.view("uint32") >> 16).astype("uint16") for name, array in arrays.items()}
    safetensors.save_file(bits, path)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header, data = path.read_bytes()[8 : 8 + size], path.read_bytes()[8 + size :]
    header = header.replace(b'"U16"', b'"BF16"')
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    load_safetensors(other, path)
    for weight, expected in zip(other.get_weights(), encoder.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=2**-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("norm.bias"), "is of another ViT: it lacks norm.bias. Build the encoder"),
        (lambda arrays: arrays.update(dist_token=np.zeros(2)), "it has besides dist_token. Build"),
        (
            lambda arrays: arrays.update(reg_token=np.zeros((1, 4, 8))),
            "it has besides reg_token. A ViT has no register tokens; choose weights without them",
        ),
        (
            lambda arrays: arrays.update({"norm.bias": np.zeros(9)}),
            r"it has of another shape norm.bias \(9,\), here \(8,\)",
        ),
        (
            lambda arrays: arrays.update({"pos_embed": np.zeros((1, 17, 8))}),
            r"pos_embed \(1, 17, 8\), here \(1, 7, 8\). Load it into one for images of its size, and call",
        ),
        (
            lambda arrays: arrays.update({"norm.bias": np.zeros(8, "int8")}),
            "has norm.bias as int8; expected floats",
        ),
        (
            lambda arrays: [arrays.pop(name) for name in list(arrays) if name.startswith("blocks.1")],
            "it lacks blocks.1.norm1.weight, .* and 8 more",
        ),
        (lambda arrays: arrays.clear(), "holds no ViT by any of the known names"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(change: Any, message: str, tmp_path: Path) -> None:
    encoder = vit(1)
    before = encoder.get_weights()
    path = changed(saved(vit(), tmp_path, "timm")[0], change)
    with pytest.raises(ValueError, match=message):
        load_safetensors(encoder, path)
    assert_equal(encoder.get_weights(), before)


def test_learned_positions_are_not_taken_for_fixed_ones(tmp_path: Path) -> None:
    path, _ = saved(vit(), tmp_path, "timm")
    with pytest.raises(
        ValueError, match="positions that are not sin and cos; load it into a ViT with positions="
    ):
        load_safetensors(vit(positions="sin_cos"), path)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    path, _ = saved(swin(), tmp_path, "timm")
    with pytest.raises(
        ValueError, match=r"is of another ViT: it lacks cls_token, pos_embed, .* has besides "
    ):
        load_safetensors(vit(), path)
    with pytest.raises(ValueError, match="Got a Dense; expected a ViT or Swin, or a Classifier, MAE or"):
        load_safetensors(keras.layers.Dense(2), path)


def test_damaged_files(tmp_path: Path) -> None:
    path, _ = saved(vit(), tmp_path, "timm")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"is no whole file of safetensors .*; fetch it again"):
        load_safetensors(vit(), path)
    with pytest.raises(FileNotFoundError, match="There is no file"):
        load_safetensors(vit(), tmp_path / "other.safetensors")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """The two lines that convert a pickled file are in the error; they are run where PyTorch is."""
    path = tmp_path / "mae.pth"
    path.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(ValueError, match="is pickled and could run programs: it is not opened") as refused:
        load_safetensors(vit(), path)
    lines = [line.strip() for line in str(refused.value).splitlines()[1:]]
    assert len(lines) == 2
    torch = pytest.importorskip("torch", reason="PyTorch is not installed here: the lines are not run")
    import safetensors.torch as of_torch

    weights = safetensors.load_file(saved(vit(), tmp_path, "timm")[0])
    torch.save({"model": {name: torch.tensor(array) for name, array in weights.items()}}, path)
    exec("\n".join(lines), {"torch": torch, "safetensors": type("", (), {"torch": of_torch})})
    assert_equal(safetensors.load_file(tmp_path / "mae.safetensors"), weights)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (load_safetensors, save_safetensors):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'tfprior\[weights\]'"):
            call(vit(), tmp_path / "x.safetensors")


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="Unknown names 'keras' for a Swin; expected hugging_face, hugging_face_5, "
    ):
        save_safetensors(swin(), tmp_path / "x.safetensors", "keras")
    with pytest.raises(
        ValueError, match="names='hugging_face' has none for attention_scale, which this ViT has"
    ):
        save_safetensors(vit(layer_scale=0.1), tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_file_is_what_transformers_reads(tmp_path: Path) -> None:
    path, _ = saved(vit(), tmp_path, "hugging_face")
    size = int.from_bytes(path.read_bytes()[:8], "little")
    assert json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"] == {"format": "pt"}
