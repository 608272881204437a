"""Writes transformers.npz: random weights, inputs and outputs of the Transformers that others publish.

    pip install torch==2.13.0 transformers==5.24.0
    python tests/oracles/make_transformers.py

Weights stand under the names that `tfprior.layers.TransformerBlock` has for them, those of whole models under
those of `tfprior.priors.EncoderDecoderTransformer`. `versions` tells which packages computed the outputs.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

FILE = Path(__file__).parent / "transformers.npz"
HEADS, FEATURES, INNER, LAYERS, WORDS, LENGTH, BATCH = 2, 8, 20, 2, 13, 7, 3
LEVELS = 11
"""The words of targets, where they have some of their own."""

Arrays = dict[str, np.ndarray]


def array(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy().astype("float32")


def linear(weight: Any, bias: Any) -> Arrays:
    """Of torch.nn.Linear, whose kernels are transposed."""
    return {"kernel": array(weight).T, "bias": array(bias)}


def norm(layer: Any) -> Arrays:
    return {"gamma": array(layer.weight), "beta": array(layer.bias)}


def attention(query: Arrays, key: Arrays, value: Arrays, result: Arrays) -> Arrays:
    together = {name: np.concatenate([key[name], value[name]], -1) for name in key}
    return under(query=query, key_value=together, result=result)


def packed_attention(layer: Any) -> Arrays:
    """Of torch.nn.MultiheadAttention."""
    parts = zip(layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3), strict=True)
    return attention(*(linear(*part) for part in parts), linear(layer.out_proj.weight, layer.out_proj.bias))


def feed_forward(first: Arrays, second: Arrays) -> Arrays:
    return under(expand=first, contract=second)


def under(**parts: Arrays) -> Arrays:
    return {f"{part}/{name}": each for part, arrays in parts.items() for name, each in arrays.items()}


def random_weights(model: Any) -> Any:
    """Norms and biases too: zeros and ones hide what is left out."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def gpt2() -> Arrays:
    config = transformers.GPT2Config(
        vocab_size=WORDS,
        n_positions=LENGTH,
        n_embd=FEATURES,
        n_layer=LAYERS,
        n_head=HEADS,
        n_inner=INNER,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = random_weights(transformers.GPT2LMHeadModel(config))
    words = torch.randint(0, WORDS, (BATCH, LENGTH), generator=torch.Generator().manual_seed(1))
    blocks = {}
    for index, block in enumerate(model.transformer.h):

        def dense(layer: Any) -> Arrays:
            return {"kernel": array(layer.weight), "bias": array(layer.bias)}

        packed = dense(block.attn.c_attn)
        parts = [dict(zip(packed, third, strict=True)) for third in thirds(packed)]
        blocks[f"block_{index}"] = under(
            attention=attention(*parts, dense(block.attn.c_proj)),
            attention_norm=norm(block.ln_1),
            feed_forward=feed_forward(dense(block.mlp.c_fc), dense(block.mlp.c_proj)),
            feed_forward_norm=norm(block.ln_2),
        )
    return {
        **under(**blocks, last_norm=norm(model.transformer.ln_f)),
        "words": words.numpy(),
        "word_table": array(model.transformer.wte.weight),
        "place_table": array(model.transformer.wpe.weight),
        "logits": array(model(words).logits),
    }


def thirds(packed: Arrays) -> list[tuple[np.ndarray, ...]]:
    split = [np.split(each, 3, axis=-1) for each in packed.values()]
    return list(zip(*split, strict=True))


def bert() -> Arrays:
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=FEATURES,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=LENGTH,
    )
    model = random_weights(transformers.BertForMaskedLM(config))
    words = torch.randint(0, WORDS, (BATCH, LENGTH), generator=torch.Generator().manual_seed(2))
    blocks = {}
    for index, block in enumerate(model.bert.encoder.layer):
        its, result = block.attention.self, block.attention.output.dense
        blocks[f"block_{index}"] = under(
            attention=attention(*map(of_linear, (its.query, its.key, its.value, result))),
            attention_norm=norm(block.attention.output.LayerNorm),
            feed_forward=feed_forward(of_linear(block.intermediate.dense), of_linear(block.output.dense)),
            feed_forward_norm=norm(block.output.LayerNorm),
        )
    embeddings, head = model.bert.embeddings, model.cls.predictions
    of_first_sentence = embeddings.token_type_embeddings.weight[:1]
    return {
        **under(
            **blocks,
            first_norm=norm(embeddings.LayerNorm),
            head=of_linear(head.transform.dense),
            head_norm=norm(head.transform.LayerNorm),
        ),
        "words": words.numpy(),
        "word_table": array(embeddings.word_embeddings.weight),
        "place_table": array(embeddings.position_embeddings.weight + of_first_sentence),
        "word_bias": array(head.bias),
        "logits": array(model(words).logits),
    }


def of_linear(layer: Any) -> Arrays:
    return linear(layer.weight, layer.bias)


def torch_layer(kind: Any, activation: str, norm_first: bool) -> Arrays:
    options = {"dropout": 0.0, "activation": activation, "norm_first": norm_first, "batch_first": True}
    layer = random_weights(kind(FEATURES, HEADS, INNER, **options))
    generator = torch.Generator().manual_seed(3)
    x = torch.randn((BATCH, LENGTH, FEATURES), generator=generator)
    if kind is torch.nn.TransformerEncoderLayer:
        return {**of_layer(layer), "x": array(x), "y": array(layer(x))}
    memory = torch.randn((BATCH, LENGTH - 2, FEATURES), generator=generator)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(LENGTH)
    outputs = {"memory": array(memory), "y": array(layer(x, memory, tgt_mask=mask))}
    return {**of_layer(layer), "x": array(x), **outputs}


def of_layer(layer: Any) -> Arrays:
    """Of PyTorch's layers, encoders and decoders."""
    parts = {
        "attention": packed_attention(layer.self_attn),
        "attention_norm": norm(layer.norm1),
        "feed_forward": feed_forward(of_linear(layer.linear1), of_linear(layer.linear2)),
    }
    if isinstance(layer, torch.nn.TransformerEncoderLayer):
        return under(**parts, feed_forward_norm=norm(layer.norm2))
    memory = {"memory_attention": packed_attention(layer.multihead_attn), "memory_norm": norm(layer.norm2)}
    return under(**parts, **memory, feed_forward_norm=norm(layer.norm3))


def whole_transformer(activation: str, norm_first: bool) -> Arrays:
    """From two vocabularies to logits, by torch.nn.Transformer; with norms first one more comes last."""
    options = {"dropout": 0.0, "activation": activation, "norm_first": norm_first, "batch_first": True}
    encoder, decoder = torch.nn.TransformerEncoder, torch.nn.TransformerDecoder
    sides = {
        "custom_encoder": encoder(
            torch.nn.TransformerEncoderLayer(FEATURES, HEADS, INNER, **options),
            LAYERS,
            torch.nn.LayerNorm(FEATURES) if norm_first else None,
            enable_nested_tensor=False,
        ),
        "custom_decoder": decoder(
            torch.nn.TransformerDecoderLayer(FEATURES, HEADS, INNER, **options),
            LAYERS,
            torch.nn.LayerNorm(FEATURES) if norm_first else None,
        ),
    }
    parts = torch.nn.ModuleDict(
        {
            "source": torch.nn.Embedding(WORDS, FEATURES),
            "target": torch.nn.Embedding(LEVELS, FEATURES),
            "transformer": torch.nn.Transformer(FEATURES, HEADS, batch_first=True, **sides),
            "head": torch.nn.Linear(FEATURES, LEVELS),
        }
    )
    random_weights(parts)
    generator = torch.Generator().manual_seed(4)
    source = torch.randint(1, WORDS, (BATCH, LENGTH), generator=generator)
    source[0, 4:], source[1, 6:] = 0, 0  # padding
    target = torch.randint(0, LEVELS, (BATCH, LENGTH - 2), generator=generator)
    hidden = source == 0
    before = torch.cat([torch.zeros((BATCH, 1, FEATURES)), parts["target"](target)[:, :-1]], dim=1)
    seen = parts["transformer"](
        parts["source"](source) * FEATURES**0.5 + places(LENGTH),
        before * FEATURES**0.5 + places(LENGTH - 2),
        tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(LENGTH - 2),
        src_key_padding_mask=hidden,
        memory_key_padding_mask=hidden,
    )
    first, second = parts["transformer"].encoder, parts["transformer"].decoder
    norms = {"memory_norm": norm(first.norm), "last_norm": norm(second.norm)} if norm_first else {}
    return {
        **under(
            **{f"encoder_blocks/{index}": of_layer(each) for index, each in enumerate(first.layers)},
            **{f"blocks/{index}": of_layer(each) for index, each in enumerate(second.layers)},
            **norms,
            head=of_linear(parts["head"]),
            read_source={"table": array(parts["source"].weight)},
            encode={"table": array(parts["target"].weight)},
        ),
        "source": source.numpy(),
        "target": target.numpy(),
        "logits": array(parts["head"](seen)),
    }


def places(length: int) -> Any:
    """Section 3.5 of the paper."""
    position, pair = torch.arange(length)[:, None], torch.arange(0, FEATURES, 2)
    angle = position.double() / 10000 ** (pair.double() / FEATURES)
    return torch.stack([angle.sin(), angle.cos()], -1).reshape(length, FEATURES).float()


def main() -> None:
    encoder, decoder = torch.nn.TransformerEncoderLayer, torch.nn.TransformerDecoderLayer
    cases = {
        "gpt2": gpt2(),
        "bert": bert(),
        "encoder, post-LN, relu": torch_layer(encoder, "relu", norm_first=False),
        "encoder, pre-LN, gelu": torch_layer(encoder, "gelu", norm_first=True),
        "decoder, post-LN, relu": torch_layer(decoder, "relu", norm_first=False),
        "decoder, pre-LN, gelu": torch_layer(decoder, "gelu", norm_first=True),
        "whole, post-LN, relu": whole_transformer("relu", norm_first=False),
        "whole, pre-LN, gelu": whole_transformer("gelu", norm_first=True),
    }
    versions = f"torch {torch.__version__.partition('+')[0]}, transformers {transformers.__version__}"
    arrays = {f"{case}/{name}": each for case, of_case in cases.items() for name, each in of_case.items()}
    np.savez_compressed(FILE, versions=np.array(versions), **arrays)
    print(f"{FILE.name}: {len(cases)} models by {versions}, {FILE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
