"""Blocks of Transformers beside GPT-2, BERT and PyTorch's layers, with their weights.

tests/oracles/make_transformers.py has written what these compute.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from tfprior.distributions import Categorical
from tfprior.layers import TransformerBlock
from tfprior.priors import EncoderDecoderTransformer

ALL = dict(np.load(Path(__file__).parent / "oracles" / "transformers.npz"))
HEADS, INNER = 2, 20
WHOLE_CASES = sorted({name.split("/")[0] for name in ALL if name.startswith("whole")})
LAYER_CASES = sorted({name.split("/")[0] for name in ALL if name.startswith(("encoder", "decoder"))})


def of_case(case: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{case}/"): each for name, each in ALL.items() if name.startswith(f"{case}/")}


def block(arrays: dict[str, np.ndarray], prefix: str, inputs: Any, **options: Any) -> TransformerBlock:
    """A block that has the weights under `prefix`, every one of them."""
    built = TransformerBlock(HEADS, INNER, **options)
    built(inputs)
    names = [name.removeprefix(prefix) for name in arrays if name.startswith(prefix)]
    weights = {name: weight_of(built, name) for name in names if "/" in name}
    assert {id(weight) for weight in weights.values()} == {id(weight) for weight in built.weights}
    for name, weight in weights.items():
        weight.assign(arrays[prefix + name])
    return built


def weight_of(layer: Any, name: str) -> Any:
    for part in name.split("/"):
        layer = layer[int(part)] if part.isdecimal() else getattr(layer, part)
    return layer


def normalized(x: Any, arrays: dict[str, np.ndarray], prefix: str, epsilon: float) -> Any:
    layer = keras.layers.LayerNormalization(epsilon=epsilon)
    layer.build(x.shape)
    layer.set_weights([arrays[f"{prefix}/gamma"], arrays[f"{prefix}/beta"]])
    return layer(x)


def words_and_places(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return arrays["word_table"][arrays["words"]] + arrays["place_table"]


def test_gpt2() -> None:
    arrays = of_case("gpt2")
    x: Any = words_and_places(arrays)
    for index in range(2):
        x = block(arrays, f"block_{index}/", x)(x)
    x = normalized(x, arrays, "last_norm", 1e-5)
    np.testing.assert_allclose(ops.matmul(x, arrays["word_table"].T), arrays["logits"], atol=1e-5)


def test_bert() -> None:
    arrays = of_case("bert")
    x = normalized(words_and_places(arrays), arrays, "first_norm", 1e-12)
    options = {"pre_norm": False, "causal": False, "activation": "gelu", "epsilon": 1e-12}
    for index in range(2):
        x = block(arrays, f"block_{index}/", x, **options)(x)
    x = ops.matmul(x, arrays["head/kernel"]) + arrays["head/bias"]
    x = normalized(ops.gelu(x, approximate=False), arrays, "head_norm", 1e-12)
    logits = ops.matmul(x, arrays["word_table"].T) + arrays["word_bias"]
    np.testing.assert_allclose(logits, arrays["logits"], atol=1e-5)


@pytest.mark.parametrize("case", LAYER_CASES)
def test_layers_of_pytorch(case: str) -> None:
    arrays = of_case(case)
    kind, norms, activation = case.split(", ")
    is_decoder = kind == "decoder"
    inputs = [arrays["x"], arrays["memory"]] if is_decoder else arrays["x"]
    options = {"pre_norm": norms == "pre-LN", "causal": is_decoder, "takes_memory": is_decoder}
    built = block(arrays, "", inputs, activation=activation, **options)
    np.testing.assert_allclose(built(inputs), arrays["y"], atol=1e-5)


@pytest.mark.parametrize("case", WHOLE_CASES)
def test_the_whole_transformer_of_pytorch(case: str) -> None:
    """From words to logits: embeddings, places, padding of the source, memory, the shift of the target."""
    arrays = of_case(case)
    _, norms, activation = case.split(", ")
    values, source = arrays["target"].astype("int32")[:, None, :, None], arrays["source"].astype("int32")
    prior = EncoderDecoderTransformer(
        values.shape[1:],
        Categorical(arrays["logits"].shape[-1]),
        source_levels=len(arrays["read_source/table"]),
        source_length=source.shape[1],
        num_layers=2,
        num_heads=HEADS,
        hidden_dim=8,
        mlp_dim=INNER,
        activation=activation,
        pre_norm=norms == "pre-LN",
    )
    weights = {name: weight_of(prior, name) for name in arrays if "/" in name}
    assert {id(weight) for weight in weights.values()} == {id(weight) for weight in prior.trainable_weights}
    for name, weight in weights.items():
        weight.assign(arrays[name])
    logits = prior({"values": values, "condition": source})
    np.testing.assert_allclose(logits[:, 0], arrays["logits"], rtol=0, atol=1e-5)


def test_attention_is_keras_s() -> None:
    """With a bias of its own for each head, beside Keras's fused operation."""
    from tfprior.layers import MultiHeadAttention

    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, 5, 8), "float32")
    bias = generator.standard_normal((1, HEADS, 5, 5), "float32")
    layer = MultiHeadAttention(HEADS)
    found = layer(x, bias=bias)
    queries, (keys, values) = (
        layer.queries(x) * 2.0,
        layer.keys_and_values(x),
    )  # √d, which ours have divided by
    each = (ops.swapaxes(part, 1, 2) for part in (queries, keys, values))
    seen = ops.dot_product_attention(*each, bias=bias)
    np.testing.assert_allclose(found, layer.result(ops.reshape(seen, (2, 5, 8))), atol=1e-6)
