"""How grids are drawn from a masked prior, beside loops in NumPy and enumerated probabilities.

Shapes: B batch · H W C grid, H ≠ W · G values of a position that are hidden apart · T tokens.
"""

import math
from typing import Any

import numpy as np
import pytest
from catalogue import COLOUR, GREY, condition_of, values_of
from drawing import assert_same_integers
from enumeration import chi_square, every_grid
from masked_examples import TINY, made, masks_of, params, tiny

from tfprior.compilation import compiled
from tfprior.orders import halton
from tfprior.sampling import Drawn, Halton, MaskGIT, sample, sequential
from tfprior.sampling.decoding import halton as halton_by
from tfprior.sampling.decoding import maskgit
from tfprior.sampling.request import Request


def drawn_by(
    sampler: Any, prior: Any, uniforms: np.ndarray, condition: Any = None, order: Any = None
) -> Drawn:
    """What a sampler draws by a graph that XLA does not compile."""
    size = sampler.num_uniforms(prior)
    request = Request.of(prior, len(uniforms), condition, uniforms, order=order, num_uniforms=size)
    drawn = compiled(sampler.draw, prior, jit_compile=False)(request)
    return Drawn(*(None if part is None else np.asarray(part) for part in drawn))


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


@pytest.mark.slow("grid1")
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
