"""The masked Transformer: what it sees, its bound and its likelihoods along orders, and how it is drawn from.

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
from catalogue import COLOUR, GREY, condition_of, integers, prior_like, values_of
from drawing import assert_same_integers
from enumeration import chi_square, every_grid
from test_transformer_oracles import of_case, weight_of

from tfprior.compilation import compiled
from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.orders import halton
from tfprior.priors import MaskedTransformer
from tfprior.priors.masking import OBJECTIVES, declared_masks, every_mask
from tfprior.sampling import Drawn, Halton, MaskGIT, sample, sample_parallel, sample_rows, sequential
from tfprior.sampling.decoding import halton as halton_by
from tfprior.sampling.decoding import maskgit
from tfprior.sampling.request import Request

made = functools.partial(prior_like, MaskedTransformer)


def masks_of(prior: Any, count: int, seed: int = 0, rate: float = 0.5) -> np.ndarray:
    """(B, H, W, G)."""
    shape = (count, *prior.grid_shape[:2], prior.channel_groups)
    return np.random.default_rng(seed).random(shape) < rate


def params(prior: Any, values: Any, hidden: Any, condition: Any = None) -> np.ndarray:
    """Of each token: (B, T, P / G)."""
    found = compiled(network, prior, jit_compile=False)(values, hidden, condition)
    return np.asarray(found).reshape(len(values), prior.num_tokens, -1)


def network(prior: Any, values: Any, hidden: Any, condition: Any) -> Any:
    return prior.params(values, hidden, prior.encode_condition(condition))


def drawn_by(
    sampler: Any, prior: Any, uniforms: np.ndarray, condition: Any = None, order: Any = None
) -> Drawn:
    """What a sampler draws by a graph that XLA does not compile."""
    size = sampler.num_uniforms(prior)
    request = Request.of(prior, len(uniforms), condition, uniforms, order=order, num_uniforms=size)
    drawn = compiled(sampler.draw, prior, jit_compile=False)(request)
    return Drawn(*(None if part is None else np.asarray(part) for part in drawn))


# What it sees


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

TINY = [
    ((2, 2, 1), Categorical(3)),
    ((1, 2, 2), Categorical(3)),
    ((1, 2, 2), DiscretizedLogisticMixture(2, 3)),
]
each_tiny = pytest.mark.parametrize(("shape", "distribution"), TINY, ids=["grey", "apart", "together"])


def tiny(shape: Any, distribution: Any) -> Any:
    return prior_like(MaskedTransformer, shape, distribution=distribution)


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


# Drawing


def refined(
    prior: Any, values: Any, hidden: Any, uniforms: Any, condition: Any
) -> tuple[np.ndarray, np.ndarray]:
    """One iteration in NumPy, by inverse CDF: values (B, T), and log p of each."""
    logits = params(prior, values, hidden, condition).astype("float64")
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    cdf = np.exp(logits).cumsum(-1)
    drawn = (cdf <= uniforms.reshape(len(values), -1, 1) * cdf[..., -1:]).sum(-1)
    flat = hidden.reshape(len(values), -1)
    return np.where(flat, drawn, values.reshape(len(values), -1)), np.take_along_axis(
        logits, drawn[..., None], -1
    )[..., 0]


def by_definition(prior: Any, uniforms: np.ndarray, condition: Any, order: Any) -> np.ndarray:
    """One value after the other along an order of tokens, in NumPy."""
    values, hidden = (
        np.zeros((len(uniforms), *prior.grid_shape), "int32"),
        masks_of(prior, len(uniforms), rate=1.0),
    )
    for token in order:
        drawn, _ = refined(prior, values, hidden, uniforms, condition)
        values.reshape(len(values), -1)[:, token] = drawn[:, token]
        hidden.reshape(len(values), -1)[:, token] = False
    return values


def noise(prior: Any, count: int, size: int | None = None, seed: int = 0) -> np.ndarray:
    size = prior.grid_shape[-1] if size is None else size
    return np.random.default_rng(seed).random((count, *prior.grid_shape[:2], size), "float32")


@pytest.mark.parametrize(("grid", "condition"), [(GREY, "maps"), (COLOUR, "labels")])
def test_values_drawn_one_by_one_are_those_of_the_definition(grid: Any, condition: str) -> None:
    prior = made(grid, condition)
    given, uniforms, groups = condition_of(prior, 3), noise(prior, 3), prior.channel_groups
    for name, order in (("raster", np.arange(prior.num_steps)), ("halton", halton(*grid[:2]))):
        tokens = (order[:, None] * groups + np.arange(groups)).ravel()
        expected = by_definition(prior, uniforms, given, tokens)
        drawn = drawn_by(sequential, prior, uniforms, given, order=name)
        assert_same_integers(drawn.values, expected)
        np.testing.assert_allclose(drawn.log_prob, prior.log_prob(expected, given, order=name), rtol=1e-4)


def test_samples_follow_the_enumerated_probabilities() -> None:
    prior = tiny(*TINY[0])
    every, count = every_grid((2, 2, 1), 3), 8000
    kinds = {grid.tobytes(): index for index, grid in enumerate(every)}
    for order in ("raster", np.array([3, 0, 2, 1])):
        drawn = sample(prior, count, seed=0, order=order)
        found = np.bincount([kinds[grid.tobytes()] for grid in drawn], minlength=81)
        assert chi_square(found, count * np.exp(prior.log_prob(every, order=order).astype("float64"))) < 4
    mask = np.array([[True, False], [False, True]])  # what is hidden comes last: given all that is visible
    observed = np.tile(every[20], (count, 1, 1, 1))
    drawn = prior.complete(observed, mask, seed=0)
    alike = (every == every[20])[:, ~mask].all((1, 2))
    nats = prior.log_prob(every[alike], order=np.array([1, 2, 0, 3])).astype("float64")
    found = np.bincount([kinds[grid.tobytes()] for grid in drawn], minlength=81)
    assert found[~alike].sum() == 0
    assert chi_square(found[alike], count * np.exp(nats - np.logaddexp.reduce(nats))) < 4


def maskgit_in_numpy(
    prior: Any, uniforms: np.ndarray, condition: Any, steps: int, values: Any, hidden: Any
) -> np.ndarray:
    """The paper's loop: draw all, keep the most confident, hide the rest; the last draw is the result."""
    count = hidden.sum((1, 2, 3))
    noise = uniforms.reshape(*uniforms.shape[:3], steps, -1).astype("float64")
    groups = prior.channel_groups
    for step in range(1, steps + 1):
        its_own, for_choice = noise[..., step - 1, :-groups], noise[..., step - 1, -groups:]
        drawn, nats = refined(prior, values, hidden, its_own, condition)
        values = drawn.reshape(values.shape).astype("int32")
        gumbel = -np.log(-np.log(for_choice.reshape(nats.shape)))
        confidence = np.where(hidden.reshape(nats.shape), nats + 4.5 * (1 - step / steps) * gumbel, np.inf)
        hidden = hidden.copy()
        for row, order in enumerate(confidence.argsort(-1)):
            unknown = hidden[row].sum()
            left = max(1, min(unknown - 1, math.floor(count[row] * math.cos(math.pi / 2 * step / steps))))
            again = np.zeros(prior.num_tokens, bool)
            again[order[: left if unknown else 0]] = True
            hidden[row] &= again.reshape(hidden[row].shape)
    return values


@pytest.mark.parametrize(
    ("grid", "condition", "steps"), [(GREY, "maps", 5), (COLOUR, "labels", 8), (GREY, "none", 1)]
)
def test_maskgit_decodes_as_in_the_paper(grid: Any, condition: str, steps: int) -> None:
    prior = made(grid, condition)
    given, uniforms = condition_of(prior, 4), noise(prior, 4, steps * 2 * grid[-1])
    options: Any = {"uniforms": uniforms, "method": "maskgit", "iterations": steps}
    nothing, everything = np.zeros((4, *grid), "int32"), masks_of(prior, 4, rate=1.0)
    expected = maskgit_in_numpy(prior, uniforms, given, steps, nothing, everything)
    assert_same_integers(sample(prior, 4, given, **options), expected)
    mask = masks_of(prior, 4)[..., 0]
    mask[0], mask[1] = True, False
    known, hidden = values_of(prior, 4, 7), np.broadcast_to(mask[..., None], everything.shape)
    completed = prior.complete(known, mask, given, **options)
    assert_same_integers(completed, maskgit_in_numpy(prior, uniforms, given, steps, known, hidden))
    np.testing.assert_array_equal(completed[~mask], known[~mask])


@pytest.mark.parametrize(
    ("count", "iterations", "expected"),
    [
        (256, 8, [251, 236, 212, 181, 142, 97, 49, 1]),
        (256, 12, [253, 247, 236, 221, 203, 181, 155, 128, 97, 66, 33, 1]),
        (49, 8, [48, 45, 40, 34, 27, 18, 9, 1]),
        (0, 3, [0, 0, 0]),
        (1, 3, [1, 1, 1]),
    ],
)
def test_how_many_values_maskgit_hides_again(count: int, iterations: int, expected: list[int]) -> None:
    assert MaskGIT(iterations).hidden_after(np.array([count]))[:, 0].tolist() == expected


def test_how_many_values_halton_leaves_hidden() -> None:
    left = Halton(8).hidden_after(np.array([0, 3, 49, 256]))
    assert left[:, -1].tolist() == [
        256 - math.floor(256 * (1 - 2 / math.pi * math.acos(i / 8))) for i in range(1, 9)
    ]
    assert left[:, 0].tolist() == [0] * 8
    assert left[:, 1].tolist() == [2, 1, 0, 0, 0, 0, 0, 0]
    assert (left[-1] == 0).all()
    assert (np.diff(left[:, 2]) < 0).all()


@pytest.mark.parametrize("grid", [GREY, COLOUR], ids=str)
def test_halton_decoding_draws_the_first_of_the_order_first(grid: Any) -> None:
    prior = made(grid, "labels")
    given, uniforms, groups = condition_of(prior, 3), noise(prior, 3), prior.channel_groups
    tokens = (halton(*grid[:2])[:, None] * groups + np.arange(groups)).ravel()
    values, hidden = np.zeros((3, *grid), "int32"), masks_of(prior, 3, rate=1.0)
    placed = 0
    for left in Halton(6).hidden_after(np.array([prior.num_tokens]))[:, 0]:
        drawn, _ = refined(prior, values, hidden, uniforms, given)
        now = tokens[placed : prior.num_tokens - left]
        values.reshape(3, -1)[:, now] = drawn[:, now]
        hidden.reshape(3, -1)[:, now] = False
        placed = prior.num_tokens - left
    assert_same_integers(drawn_by(Halton(6), prior, uniforms, given, order="halton").values, values)


@pytest.mark.xla
def test_compiled_samplers_draw_the_same_and_for_the_same_seed_again() -> None:
    prior = tiny(*TINY[1])
    for method, sampler in (("sequential", sequential), ("maskgit", maskgit(3)), ("halton", halton_by(3))):
        uniforms = noise(prior, 4, sampler.num_uniforms(prior))
        options: Any = {"method": method} if method == "sequential" else {"method": method, "iterations": 3}
        drawn = sample(prior, 4, uniforms=uniforms, **options)
        order = None if method == "maskgit" else "halton" if method == "halton" else "raster"
        assert_same_integers(drawn, drawn_by(sampler, prior, uniforms, order=order).values)
        first, again, other = (prior.sample(4, seed=seed, **options) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"method": "cached"},
            "Unknown sampling method 'cached' of MaskedTransformer; expected 'sequential', 'mask",
        ),
        ({"method": "auto"}, "Unknown sampling method 'auto' of MaskedTransformer"),
        ({"iterations": 4}, "method='sequential' draws one by one and got iterations=4; leave it out"),
        ({"method": "maskgit", "iterations": 0}, "MaskGIT got iterations=0; expected a positive integer"),
        (
            {"method": "halton", "order": "raster"},
            "Halton decoding chooses itself what is drawn first and got order=",
        ),
        ({"order": "spiral"}, "Unknown order 'spiral'; expected raster, halton, or an array"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(made(GREY), 2, **options)


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
        (lambda: prior.log_prob_bound(values, seed=-1), "seed=-1; expected an integer, 0 or more"),
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
