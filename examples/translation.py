"""The Transformer: English verses into Spanish; where these are not installed, sequences backwards.

    python examples/translation.py --task reversal
    apt-get install sword-text-web sword-text-sparv
    pip install "tfprior[text]"
    python examples/translation.py --hidden-dim 128 --length 32 --warmup-steps 300 --epochs 5 --shown 8

The recipe of Vaswani et al. 2017 (arXiv:1706.03762) in plain Keras: warm-up and inverse square root, label
smoothing, dropout, beams of four. Verses are paired chapter by chapter, where both translations count the
same number of them; every twentieth chapter is held out. It is measured in nats a token, teacher-forced and
without smoothing.
"""

import functools
import importlib.util
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import keras
import numpy as np
import typer
from rich.console import Console

from tfprior.distributions import Categorical
from tfprior.priors import EncoderDecoderTransformer
from tfprior.sampling import beam_search, sample
from tfprior.training import InverseSquareRoot

END = 0
"""Ends targets, and fills sources up."""
SWORD = Path("/usr/share/sword")
ENGLISH, SPANISH = "engWEB2015eb", "spaRV1909eb"


class Pairs(NamedTuple):
    """Sources (N, S) and targets (N, 1, T, 1), those held out, and how they are read."""

    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    source_levels: int
    target_levels: int
    source_text: Callable[[Any], str]
    target_text: Callable[[Any], str]


def main(
    task: Annotated[str, typer.Option(help="verses or reversal; verses where they are installed.")] = "",
    hidden_dim: int = 64,
    num_layers: int = 2,
    num_heads: int = 4,
    dropout: float = 0.1,
    epochs: int = 6,
    batch_size: int = 64,
    warmup_steps: int = 400,
    vocabulary: int = 4000,
    length: int = 48,
    examples: int = 20_000,
    shown: int = 4,
    seed: int = 0,
) -> dict[str, float]:
    """Trains on pairs and measures those held out: nats a token, and how many come out to the last token.

    Raises:
        ValueError: for an unknown task.
    """
    console = Console(highlight=False, soft_wrap=True)
    keras.utils.set_random_seed(seed)
    task = task or ("verses" if verses_are_there() else "reversal")
    if task not in ("verses", "reversal"):
        raise ValueError(f"task={task!r}; expected verses or reversal.")
    pairs = verses(vocabulary, length) if task == "verses" else reversal(examples)
    prior = EncoderDecoderTransformer(
        pairs.train["values"].shape[1:],
        Categorical(pairs.target_levels),
        pairs.source_levels,
        pairs.train["condition"].shape[1],
        num_layers,
        num_heads,
        hidden_dim,
        dropout=dropout,
        end_value=END,
        source_padding=END,
    )
    counts = len(pairs.train["values"]), len(pairs.test["values"])
    console.print(
        f"[bold]{task}[/]: {counts[0]:,} pairs, {counts[1]:,} held out; {prior.count_params():,} weights"
    )

    rate = InverseSquareRoot(hidden_dim, warmup_steps)
    prior.compile(keras.optimizers.Adam(rate, beta_2=0.98, epsilon=1e-9))
    start = time.perf_counter()
    prior.fit(pairs.train, epochs=epochs, batch_size=batch_size, verbose=2)
    seconds = time.perf_counter() - start

    targets, sources = pairs.test["values"], pairs.test["condition"]
    tokens = num_tokens(targets)
    greedy = sample(prior, len(sources), sources, top_k=1, seed=seed)
    scores = {
        "nats_per_token": float(-prior.log_prob(targets, sources).sum() / tokens),
        "of_single_tokens": entropy(pairs.train["values"]),
        "exact": float((greedy == targets).all((1, 2, 3)).mean()),
    }
    console.print(
        f"{seconds:.0f} s of training; held out: [bold]{scores['nats_per_token']:.3f} nats a token[/] "
        f"(their frequencies alone: {scores['of_single_tokens']:.3f}), {scores['exact']:.1%} exact by greedy "
        "search"
    )
    chosen = np.linspace(0, len(sources) - 1, shown).astype(int)
    beams = beam_search(prior, sources[chosen])
    for row, index in enumerate(chosen):
        console.print(f"\n  source  {pairs.source_text(sources[index])}")
        console.print(f"  target  {pairs.target_text(targets[index])}")
        console.print(f"  greedy  {pairs.target_text(greedy[index])}")
        console.print(
            f"  beam    {pairs.target_text(beams.values[row, 0])}  ({beams.log_prob[row, 0]:.1f} nats)"
        )
    return scores


def num_tokens(targets: np.ndarray) -> int:
    """With their ends."""
    lengths = (targets != END).sum((1, 2, 3))
    return int(np.minimum(lengths + 1, targets.shape[2]).sum())


def entropy(targets: np.ndarray) -> float:
    """Nats a token, of a model that knows their frequencies alone."""
    counts = np.bincount(targets.ravel())
    counts[END] = len(targets)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def filled(rows: list[list[int]], length: int) -> np.ndarray:
    """Rows of tokens, the end behind them: (N, length) int32."""
    return np.asarray([row + [END] * (length - len(row)) for row in rows], "int32")


def as_pairs(sources: np.ndarray, targets: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {"values": targets[rows][:, None, :, None], "condition": sources[rows]}


# Sequences backwards


def reversal(count: int, symbols: int = 10, length: int = 12) -> Pairs:
    """Random sequences of up to `length` symbols and their reversals; none held out is trained on."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, length + 1, count)
    rows = {tuple(rng.integers(1, symbols + 1, size).tolist()): None for size in lengths}  # each once
    sources = filled([list(row) for row in rows], length)
    targets = filled([list(row[::-1]) for row in rows], length + 1)

    def text(tokens: Any) -> str:
        return " ".join(str(token) for token in np.ravel(tokens) if token != END)

    order, held_out = np.arange(len(rows)), len(rows) // 20
    train, test = (as_pairs(sources, targets, part) for part in (order[held_out:], order[:held_out]))
    return Pairs(train, test, symbols + 1, symbols + 1, text, text)


# Verses


def verses_are_there() -> bool:
    """Whether both translations, and what reads them, are installed."""
    read = all(importlib.util.find_spec(name) for name in ("pysword", "tokenizers"))
    return read and all((SWORD / "mods.d" / f"{name}.conf").is_file() for name in (ENGLISH, SPANISH))


def verses(vocabulary: int, length: int) -> Pairs:
    """English and Spanish verses of up to `length` tokens of byte-pair encodings."""
    train, test = [], []
    for index, chapter in enumerate(chapters()):
        (train if index % 20 else test).extend(chapter)
    english, spanish = (byte_pairs([pair[side] for pair in train], vocabulary) for side in (0, 1))

    def encoded(pairs: list[tuple[str, str]]) -> dict[str, np.ndarray]:
        tokens = [(english.encode(one).ids, spanish.encode(other).ids) for one, other in pairs]
        short = [pair for pair in tokens if max(map(len, pair)) < length]
        sources, targets = (filled([pair[side] for pair in short], length) for side in (0, 1))
        return as_pairs(sources, targets, np.arange(len(short)))

    def text(tokenizer: Any) -> Callable[[Any], str]:
        return lambda tokens: tokenizer.decode(np.ravel(tokens).tolist()).strip()

    levels = english.get_vocab_size(), spanish.get_vocab_size()
    return Pairs(encoded(train), encoded(test), *levels, text(english), text(spanish))


def byte_pairs(texts: list[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer that has learned from the texts; token 0 is none of theirs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["<end>"], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def chapters() -> Iterator[list[tuple[str, str]]]:
    """The verses of each chapter in English and Spanish, where both have the same number of them."""
    from pysword.modules import SwordModules

    modules = SwordModules(str(SWORD))
    modules.parse_modules()
    english, spanish = map(modules.get_bible_from_module, (ENGLISH, SPANISH))
    for bible in (english, spanish):  # which unpacks a whole book for every verse of it
        bible._decompressed_text = functools.lru_cache(1)(bible._decompressed_text)
    in_english, in_spanish = (
        {book.name: book.num_chapters for part in bible.get_structure().get_books().values() for book in part}
        for bible in (english, spanish)
    )
    for name, count in in_spanish.items():
        for chapter in range(1, min(count, in_english.get(name, 0)) + 1):
            pair = [
                [plain(verse) for verse in bible.get_iter(books=[name], chapters=[chapter], clean=False)]
                for bible in (english, spanish)
            ]
            if len(pair[0]) == len(pair[1]):
                yield [(one, other) for one, other in zip(*pair, strict=True) if one and other]


def plain(verse: str) -> str:
    """A verse without its notes and marks."""
    words = re.sub("<[^>]*>", "", re.sub("<note.*?</note>", " ", verse, flags=re.DOTALL))
    return re.sub(r"\s+([,.;:!?’”)])", r"\1", " ".join(words.split()))


if __name__ == "__main__":
    typer.run(main)
