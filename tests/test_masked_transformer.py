"""The masked Transformer: what it sees, its bound and likelihoods along orders, and how it learns.

Shapes: B batch · H W C grid, H ≠ W · G values of a position that are hidden apart · T tokens · P positions.
Weights are random, biases too.
"""

import functools
import itertools
import math
from typing import Any

import catalogue
import keras
import numpy as np
import pytest
from catalogue import COLOUR, GREY, condition_of, integers, values_of
from enumeration import every_grid
from masked_examples import TINY, made, masks_of, params, tiny
from test_transformer_oracles import of_case, weight_of

from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.priors import MaskedTransformer
from tfprior.priors.masking import OBJECTIVES, declared_masks, every_mask
from tfprior.sampling import sample_parallel, sample_rows

# What it sees


@pytest.mark.each_once
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
@pytest.mark.parametrize(
    ("grid", "condition", "changes"),
    [
        (GREY, "maps", {}),
        (COLOUR, "labels", {"value_embedding_dim": 3}),
        (COLOUR, "none", {"distribution": DiscretizedLogisticMixture(2, 4)}),  # all channels together
    ],
    ids=["grey", "colour", "together"],
)
def test_what_is_hidden_moves_nothing_and_what_is_visible_everything(
    grid: Any, condition: str, changes: Any, positions: Any
) -> None:
    prior = catalogue.prior(MaskedTransformer, grid, condition, positions=positions, **changes)
    values, hidden, given = values_of(prior, 1), masks_of(prior, 1), condition_of(prior, 1)
    before = params(prior, values, hidden, given)
    others = (values + 1) % 4
    np.testing.assert_array_equal(params(prior, np.where(hidden, others, values), hidden, given), before)
    visible = np.argwhere(np.broadcast_to(~hidden, values.shape))
    for place in map(tuple, visible[::5]):
        changed = values.copy()
        changed[place] = others[place]
        assert (params(prior, changed, hidden, given) != before).any(-1).all()


def test_a_hidden_value_is_none_of_the_values() -> None:
    prior, values = made(GREY), values_of(made(GREY), 1)
    nothing, first = np.zeros((1, *GREY), bool), np.zeros((1, *GREY), bool)
    first[:, 0, 0] = True
    hidden = params(prior, values, first)
    for value in range(4):
        values[:, 0, 0] = value
        assert np.abs(params(prior, values, nothing) - hidden).max() > 1e-2


def test_called_with_what_is_hidden_it_gives_the_parameters() -> None:
    prior = made(COLOUR, "labels")
    values, hidden, labels = values_of(prior, 2), masks_of(prior, 2), condition_of(prior, 2)
    called = prior({"values": values, "condition": labels}, hidden=hidden)
    np.testing.assert_array_equal(called.asked, hidden)
    np.testing.assert_allclose(
        np.reshape(called.params, (2, prior.num_tokens, -1)), params(prior, values, hidden, labels), atol=1e-6
    )
    for wrong in (hidden[..., :1], hidden.astype("int32")):
        with pytest.raises(
            ValueError, match=r"expected bool of shape \(batch, 3, 4, 3\), True where a value"
        ):
            prior({"values": values, "condition": labels}, hidden=wrong)


# The bound and likelihoods along orders

each_tiny = pytest.mark.parametrize(("shape", "distribution"), TINY, ids=["grey", "apart", "together"])


@functools.cache
def table(shape: Any, distribution: Any) -> tuple[np.ndarray, np.ndarray]:
    """Every grid, and log p of its tokens whatever is hidden: (N, …), (2 ** T, N, T)."""
    prior, every = tiny(shape, distribution), every_grid(shape, 3)
    nats = []
    for mask in itertools.product([False, True], repeat=prior.num_tokens):
        hidden = np.broadcast_to(
            np.reshape(mask, (*shape[:2], -1)), (len(every), *shape[:2], prior.channel_groups)
        )
        nats.append(np.asarray(prior.token_log_prob(prior.params(every, hidden, None), every)))
    return every, np.stack(nats)


def chain(nats: np.ndarray, order: Any) -> np.ndarray:
    """log p of the tokens in an order, each given those before it, from the table."""
    bits = 2 ** np.arange(nats.shape[-1])[::-1]  # the first token stands in the highest one
    return sum(nats[bits[list(order[place:])].sum(), :, token] for place, token in enumerate(order))


@each_tiny
def test_the_mass_along_every_order_is_one(shape: Any, distribution: Any) -> None:
    prior, (every, table_of_nats) = tiny(shape, distribution), table(shape, distribution)
    reverse, groups = np.arange(prior.num_steps)[::-1], prior.channel_groups
    for order in ("raster", "halton", reverse):
        nats = prior.log_prob(every, order=order)
        assert np.exp(nats).sum() == pytest.approx(1, abs=1e-4)
    tokens = (reverse[:, None] * groups + np.arange(groups)).ravel()
    np.testing.assert_allclose(nats, chain(table_of_nats, tokens), atol=1e-4)
    np.testing.assert_allclose(prior.bits_per_dim(every, order=reverse), nats / -math.log(2) / prior.num_dims)


@each_tiny
def test_the_bound_is_the_mean_over_all_orders_which_is_below_their_mixture(
    shape: Any, distribution: Any
) -> None:
    prior, (every, table_of_nats) = tiny(shape, distribution), table(shape, distribution)
    orders = list(itertools.permutations(range(prior.num_tokens)))
    nats = np.stack([chain(table_of_nats, order) for order in orders])
    bound = prior.log_prob_bound(every, draws="all")
    np.testing.assert_allclose(bound, nats.mean(0), atol=1e-4)
    mixture = np.logaddexp.reduce(nats) - math.log(len(orders))
    assert (bound <= mixture + 1e-5).all()
    assert (bound < mixture - 1e-3).any()
    assert np.exp(mixture).sum() == pytest.approx(1, abs=1e-4)


def test_the_bound_is_estimated_from_masks_of_a_declared_list() -> None:
    prior = tiny(*TINY[0])
    every = every_grid((2, 2, 1), 3)
    exact = prior.log_prob_bound(every, draws="all")
    few = np.stack([prior.log_prob_bound(every, draws=4, seed=seed) for seed in range(40)])
    assert np.abs(few - exact).max() > 0.05
    error = few.std(0) / math.sqrt(len(few))
    assert (np.abs(few.mean(0) - exact) < 5 * error + 1e-3).all()  # without bias
    np.testing.assert_allclose(few[0], prior.log_prob_bound(every, draws=4, batch_size=7), rtol=1e-6)
    np.testing.assert_allclose(prior.log_prob(every), prior.log_prob_bound(every))
    bits = prior.log_prob_bound(every) / -math.log(2) / 4
    np.testing.assert_allclose(prior.bits_per_dim_bound(every), bits, rtol=1e-6)
    np.testing.assert_allclose(prior.log_prob_batch(every), prior.log_prob_bound(every), rtol=1e-4)
    counts = np.bincount(declared_masks(64, 4).sum(1), minlength=5)
    np.testing.assert_array_equal(counts, [0, 16, 16, 16, 16])


@each_tiny
def test_the_loss_is_the_enumerated_bound(shape: Any, distribution: Any) -> None:
    """Its mean over all that may be hidden, each mask as often as it is drawn."""
    prior, values = tiny(shape, distribution), values_of(tiny(shape, distribution), 5)
    losses = []
    masks, chances = every_mask(prior.num_tokens)
    for mask in masks:
        hidden = np.broadcast_to(mask.reshape(*prior.grid_shape[:2], -1), (5, *masks_of(prior, 1).shape[1:]))
        losses.append(float(prior.compute_loss(values, values, prior(values, hidden=hidden))))
    bound = prior.log_prob_bound(values, draws="all").mean() / prior.num_dims
    assert chances.sum() == pytest.approx(1)
    assert chances @ losses == pytest.approx(-bound, rel=1e-5)


# What is hidden in training


def hidden_by(objective: str, count: int, size: int = 20, channels: int = 2, levels: int = 5) -> Any:
    uniforms = np.random.default_rng(0).random(
        (count, OBJECTIVES[objective].num_uniforms(size, channels)), "float32"
    )
    values = np.random.default_rng(1).integers(levels, size=(count, size, channels)).astype("int32")
    masking = OBJECTIVES[objective].hide(values, uniforms, levels)
    return values, *(np.asarray(part) for part in masking)


@pytest.mark.parametrize("objective", ["order_agnostic", "maskgit"])
def test_how_many_values_are_hidden(objective: str) -> None:
    values, seen, hidden, asked = hidden_by(objective, 20_000)
    np.testing.assert_array_equal(values, seen)
    np.testing.assert_array_equal(hidden, asked)
    found = np.bincount(hidden.sum(1), minlength=21)[1:] / len(hidden)
    edges = np.arange(21) / 20
    chances = (
        np.full(20, 1 / 20) if objective == "order_agnostic" else np.diff(-np.arccos(edges)) * 2 / math.pi
    )
    np.testing.assert_allclose(found, chances, atol=0.008)
    np.testing.assert_allclose(hidden.mean(0), hidden.mean(), atol=0.02)  # everywhere alike
    if objective == "maskgit":
        assert OBJECTIVES[objective].mean_dims(20, 2) == pytest.approx(2 * hidden.sum(1).mean(), rel=0.01)


def test_bert_asks_three_in_twenty_and_hides_four_fifths_of_them() -> None:
    values, seen, hidden, asked = hidden_by("bert", 20_000)
    assert (asked.sum(1) == 3).all()
    assert not (hidden & ~asked).any()
    assert hidden.sum() / asked.sum() == pytest.approx(0.8, abs=0.01)
    moved = (values != seen).any(-1)
    assert not (moved & ~(asked & ~hidden)).any()
    # One in ten is replaced, by both of two channels' own values in one case of 25.
    assert moved.sum() / asked.sum() == pytest.approx(0.1 * 24 / 25, abs=0.01)
    drawn = np.bincount(seen[moved].ravel(), minlength=5) / seen[moved].size
    np.testing.assert_allclose(drawn, 0.2, atol=0.02)
    assert OBJECTIVES["bert"].mean_dims(20, 2) == 6


@pytest.mark.parametrize("objective", ["bert", "maskgit"])
def test_the_loss_is_of_what_is_asked_alone(objective: str) -> None:
    prior = catalogue.prior(MaskedTransformer, COLOUR, objective=objective)
    values = values_of(prior, 4)
    outputs = prior(values)
    nats = -np.asarray(prior.token_log_prob(outputs.params, values))
    asked = np.asarray(outputs.asked).reshape(4, -1)
    loss = float(prior.compute_loss(values, values, outputs))
    assert loss == pytest.approx((nats * asked).sum() / 4 / OBJECTIVES[objective].mean_dims(36, 1), rel=1e-5)
    prior.compile(run_eagerly=True)
    scores = prior.evaluate(values, verbose=0, return_dict=True)
    bits = (nats * asked).sum() / asked.sum() / math.log(2)
    assert scores["asked_bits_per_dim"] == pytest.approx(bits, rel=1e-5)


@pytest.mark.xla
def test_it_learns_without_a_loss_and_reports_the_bound() -> None:
    prior = catalogue.prior(MaskedTransformer, GREY, hidden_dim=16, value_embedding_dim=4)
    images = np.broadcast_to(integers(64, 1, 1, 1), (64, *GREY)).astype("uint8")
    prior.compile(optimizer=keras.optimizers.Adam(0.02))
    bound = prior.bits_per_dim_bound(images, draws=64).mean()
    assert prior.evaluate(images, batch_size=64, verbose=0)[1] == pytest.approx(bound, rel=0.05)
    history = prior.fit(images, batch_size=8, epochs=8, validation_data=images[:9], verbose=0).history
    assert set(history) == {"loss", "bits_per_dim_bound", "val_loss", "val_bits_per_dim_bound"}
    np.testing.assert_allclose(
        history["loss"], np.multiply(history["bits_per_dim_bound"], np.log(2)), rtol=1e-5
    )
    assert history["val_bits_per_dim_bound"][-1] < 0.6 * history["val_bits_per_dim_bound"][0]
    again = prior.evaluate(images[:9], batch_size=8, verbose=0, return_dict=True)
    assert again["bits_per_dim_bound"] == pytest.approx(history["val_bits_per_dim_bound"][-1], rel=1e-5)


def test_training_hides_anew_for_each_example_and_each_step() -> None:
    prior = catalogue.prior(MaskedTransformer, GREY)
    values = values_of(prior, 1).repeat(4, axis=0)
    first, second = (np.asarray(prior(values, training=True).asked) for _ in range(2))
    assert (first != second).any()
    assert (first[0] != first[1]).any()
    np.testing.assert_array_equal(prior(values).asked, prior(values).asked)
    counts = np.asarray(prior(values.repeat(6, axis=0), training=True).asked).sum((1, 2, 3))
    assert sorted(counts) == list(range(1, 25))  # evenly over the batch


# Oracles


def test_bert_for_masked_lm() -> None:
    """The whole network beside Hugging Face's, one word of which stands for the mask."""
    arrays = of_case("bert")
    words, mask_word = arrays["words"], int(arrays["words"][0, 2])
    prior = MaskedTransformer(
        (1, words.shape[1], 1),
        Categorical(len(arrays["word_table"])),
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        mlp_dim=20,
        activation="gelu",
        pre_norm=False,
        value_embedding_dim=8,
        embedding_norm=True,
        tied_head=True,
        epsilon=1e-12,
    )
    names = {name: name for name in arrays if name.startswith("block_")}
    for name in names:
        block, _, rest = name.partition("/")
        weight_of(prior.blocks[int(block.removeprefix("block_"))], rest).assign(arrays[name])
    for name, weight in {
        "first_norm/gamma": prior.first_norm.gamma,
        "first_norm/beta": prior.first_norm.beta,
        "head/kernel": prior.head.dense.kernel,
        "head/bias": prior.head.dense.bias,
        "head_norm/gamma": prior.head.norm.gamma,
        "head_norm/beta": prior.head.norm.beta,
        "word_bias": prior.head.bias,
        "word_table": prior.encode.table,
        "place_table": prior.embed.table,
    }.items():
        weight.assign(arrays[name])
    prior.embed.value.set_weights([np.eye(8), np.zeros(8)])
    prior.mask_token.assign(arrays["word_table"][mask_word])
    values = words[:, None, :, None].astype("int32")
    hidden = values == mask_word
    assert hidden.any()
    found = np.asarray(prior.params(np.where(hidden, 0, values), hidden))
    np.testing.assert_allclose(found[:, 0], arrays["logits"], atol=1e-5)


# Bad input


def test_other_refusals() -> None:
    prior, values = made(GREY), values_of(made(GREY))
    for refused, message in (
        (
            lambda: prior.bits_per_dim(values),
            "has bits per dimension along an order alone, and got none; expected",
        ),
        (
            lambda: prior.log_prob_bound(values, draws="all"),
            "goes through 2\\^24 − 1 masks; expected a number of draws",
        ),
        (
            lambda: prior.log_prob_bound(values, draws=0),
            'draws=0; expected a positive number of masks, or "all"',
        ),
        (lambda: prior.log_prob_bound(values, seed=-1), "seed=-1; expected an integer from 0 to"),
        (lambda: prior.log_prob(values, order=np.zeros(24, int)), "The order is no permutation of 0 … 23"),
        (lambda: sample_rows(prior, 2), "draws no row before the others; expected a prior in raster order"),
        (lambda: sample_parallel(prior, 2), "has no order in which positions know those before them"),
        (
            lambda: catalogue.prior(MaskedTransformer, objective="mlm"),
            "Unknown objective 'mlm'; expected one of 'order_",
        ),
        (
            lambda: catalogue.prior(MaskedTransformer, tied_head=True),
            "tied_head=True with value_embedding_dim=None",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            refused()
