"""The encoder–decoder Transformer: its steps, memory, padding, and sequences that end. Biases are random."""

import functools
from typing import Any

import catalogue
import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import COLOUR, SEQUENCE, condition_of, prior_like, values_of
from drawing import assert_same_integers, by_definition, drawn_by, noise
from enumeration import every_grid
from keras import ops
from rollouts import teacher_forced, whole

from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.layers.position_encodings import interleaved, sinusoidal
from tfprior.layers.scaled_embedding import ScaledEmbedding
from tfprior.priors import CausalTransformer, EncoderDecoderTransformer
from tfprior.sampling import full, sample, stepwise
from tfprior.training import InverseSquareRoot

END, MIXTURE = 2, DiscretizedLogisticMixture(2, 4)
fresh = functools.partial(catalogue.prior, EncoderDecoderTransformer, num_layers=1)
made = functools.partial(prior_like, EncoderDecoderTransformer, num_layers=1)


@pytest.mark.parametrize(
    ("grid", "changes"),
    [
        (SEQUENCE, {"end_value": END}),
        (SEQUENCE, {"pre_norm": True, "positions": "learned", "activation": "swiglu", "norm": "rms"}),
        ((1, 3, 2), {"num_layers": 2}),
        ((2, 2, 3), {"distribution": MIXTURE, "label_smoothing": 0.0, "hidden_dim": 12}),
    ],
    ids=str,
)
def test_steps_equal_the_call(grid: Any, changes: Any) -> None:
    prior = made(grid, **changes)
    values, source = values_of(prior, 2), condition_of(prior, 2)
    params, _ = teacher_forced(prior, values, source)
    np.testing.assert_allclose(params, whole(prior, values, source), rtol=0, atol=1e-5)
    flat, known = values.reshape(2, prior.num_steps, -1), 2
    state = prior.prefill(values, source)  # which may hold what is to come
    params, _ = prior.step(state, flat[:, known - 1], np.full(2, known, "int32"), flat[:, known])
    expected = whole(prior, values, source).reshape(2, prior.num_steps, -1)[:, known]
    np.testing.assert_allclose(params, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_it_is_the_figure(pre_norm: bool) -> None:
    """Blocks, which PyTorch's are the oracle of, one after the other, over sources without padding."""
    prior = made(SEQUENCE, pre_norm=pre_norm, num_layers=2)
    values, source = values_of(prior, 2), condition_of(prior, 2) % 4 + 1
    tables = prior.read_source.table.numpy(), prior.encode.table.numpy()
    memory = tables[0][source[:, :4]] * 8**0.5 + sinusoidal(4, 8)
    for block in prior.encoder_blocks:
        memory = block(memory)
    memory = prior.memory_norm(memory) if pre_norm else memory
    before = np.pad(tables[1][values[:, 0, :-1, 0]], ((0, 0), (1, 0), (0, 0)))
    x = before * 8**0.5 + sinusoidal(SEQUENCE[1], 8)
    for block in prior.blocks:
        x = block([x, memory])
    logits = prior.head(prior.last_norm(x) if pre_norm else x)
    padded = np.where(np.arange(6) < 4, source, 0)
    np.testing.assert_allclose(whole(prior, values, padded)[:, 0], logits, rtol=0, atol=1e-5)


def test_steps_change_nothing_of_the_memory() -> None:
    prior = made(SEQUENCE, end_value=END)
    values, source = values_of(prior, 2), condition_of(prior, 2)
    _, states = teacher_forced(prior, values, source)
    memory = keras.tree.flatten(states[0]["condition"])
    for state in states[1:]:
        for part, same in zip(memory, keras.tree.flatten(state["condition"]), strict=True):
            np.testing.assert_array_equal(same, part)


@pytest.mark.parametrize("grid", [(2, 3, 1), (1, 2, 3)], ids=str)
def test_parameters_depend_on_exactly_what_came_before(grid: Any) -> None:
    prior = made(grid)
    values, source = values_of(prior, 1), condition_of(prior, 1)
    flat = values.reshape(-1)
    changed = np.where(np.eye(6, dtype=bool), (flat + 1) % 4, flat).reshape(6, *grid)
    before, after = (
        whole(prior, each, source.repeat(len(each), 0)).reshape(-1, 6, 4) for each in (values, changed)
    )
    moved = (np.abs(after - before) > 1e-6).any(-1)
    np.testing.assert_array_equal(moved, np.arange(6) > np.arange(6)[:, None])


def test_a_token_sees_those_before_it_while_dropout_is_drawn() -> None:
    prior = fresh(SEQUENCE, dropout=0.5)
    values, source = values_of(prior, 1), condition_of(prior, 1)

    def params(values: np.ndarray) -> np.ndarray:
        for layer in prior._flatten_layers():
            if isinstance(layer, keras.layers.Dropout):
                layer.seed_generator.state.assign(layer.seed_generator.state * 0 + 7)
        return np.asarray(prior({"values": values, "condition": source}, training=True))[0, 0]

    before = params(values)
    assert (before != whole(prior, values, source)[0, 0]).any()
    for position in range(SEQUENCE[1]):
        changed = values.copy()
        changed[0, 0, position] = (changed[0, 0, position] + 1) % 4
        same = (params(changed) == before).all(-1)
        assert same[: position + 1].all()
        assert not same[position + 1 :].any()


# The source


def test_padding_of_the_source_changes_nothing() -> None:
    prior = fresh(SEQUENCE, source_padding=3)
    values = values_of(prior, 3)
    source = np.asarray([[1, 2], [4, 0], [0, 3]], "int32")
    padded = np.pad(source, ((0, 0), (0, 3)), constant_values=3)
    expected = whole(prior, values, source)
    np.testing.assert_array_equal(whole(prior, values, padded), expected)
    table = prior.read_source.table
    table.assign(np.where(np.arange(5)[:, None] == 3, 7.0, table))  # what padding says is never heard
    np.testing.assert_allclose(whole(prior, values, padded), expected, rtol=0, atol=1e-5)
    padded[:, -1] = 1
    assert (np.abs(whole(prior, values, padded) - expected).max((1, 2, 3)) > 1e-4).all()


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_a_source_of_padding_alone_says_nothing_and_breaks_nothing(dtype: str) -> None:
    prior = fresh(SEQUENCE, source_padding=3, dtype=dtype)
    source = np.full((2, 6), 3, "int32")
    source[1, :4] = 1
    given = values_of(prior, 2)
    assert np.isfinite(whole(prior, given, source)).all()
    assert np.isfinite(prior.log_prob(given, source)).all()


def test_every_token_and_its_place_tell() -> None:
    prior = made(SEQUENCE, source_padding=4)
    values, source = values_of(prior, 1), np.asarray([[0, 1, 2, 3, 0, 1]], "int32")
    expected = whole(prior, values, source)
    for place in range(6):
        changed = source.copy()
        changed[0, place] = (changed[0, place] + 1) % 4
        assert np.abs(whole(prior, values, changed) - expected).max() > 1e-4
    assert np.abs(whole(prior, values, source[:, ::-1]) - expected).max() > 1e-4


def test_sources_of_a_dataset_may_have_any_length() -> None:
    prior = fresh(SEQUENCE, end_value=END)
    values, source = values_of(prior, 4), condition_of(prior, 4)
    batches = tf.data.Dataset.from_generator(
        lambda: ({"values": values, "condition": source[:, :length]} for length in (3, 6)),
        output_signature={
            "values": tf.TensorSpec((None, *SEQUENCE), "int32"),
            "condition": tf.TensorSpec((None, None), "int32"),
        },
    ).apply(tf.data.experimental.assert_cardinality(2))
    prior.compile(optimizer="sgd")
    found = prior.evaluate(batches, verbose=0, return_dict=True)["bits_per_dim"]
    bits = [prior.bits_per_dim(values, source[:, :length]) for length in (3, 6)]
    np.testing.assert_allclose(found, np.mean(bits), rtol=1e-5)


# Sequences that end


def valid(sequences: np.ndarray, end: int = END) -> np.ndarray:
    """Which of (N, 1, T, 1) hold nothing else after their end."""
    ended = np.cumsum(sequences == end, axis=2) > 0
    return ((sequences == end) | ~ended).all((1, 2, 3))


@pytest.mark.parametrize("kind", [CausalTransformer, EncoderDecoderTransformer])
def test_likelihoods_of_sequences_of_all_lengths_sum_to_one(kind: Any) -> None:
    grid = (1, 5, 1)
    prior = catalogue.prior(kind, grid, distribution=Categorical(3), end_value=END, num_layers=1)
    every = every_grid(grid, 3)
    sequences = every[valid(every)]
    assert len(sequences) == sum(2**length for length in range(6))
    source = condition_of(prior, 1)
    given = None if source is None else source.repeat(len(sequences), 0)
    assert np.exp(prior.log_prob(sequences, given)).sum() == pytest.approx(1, abs=1e-5)
    params, _ = teacher_forced(prior, sequences[::9], None if given is None else given[::9])
    expected = whole(prior, sequences[::9], None if given is None else given[::9])
    np.testing.assert_allclose(params, expected, rtol=0, atol=1e-5)
    others = every[~valid(every)]
    given = None if source is None else source.repeat(len(others), 0)
    assert (np.exp(prior.log_prob_batch(others, given)) == 0).all()  # as inside a graph
    nats = prior.pixel_log_prob(sequences[:1] * 0 + END, None if source is None else source)[0, 0]
    assert nats[0] < 0
    assert (nats[1:] == 0).all()


def test_every_way_draws_the_same_sequences() -> None:
    prior = made(SEQUENCE, end_value=END)
    uniforms, source = noise(prior, 8), condition_of(prior, 8)
    expected = by_definition(prior, uniforms, source)
    assert valid(expected).all()
    assert (expected == END).any()
    for method in ("cached", "parallel"):
        assert_same_integers(sample(prior, 8, source, uniforms, method=method), expected)
    assert_same_integers(drawn_by(full, prior, uniforms, source).values, expected)
    drawn = drawn_by(stepwise, prior, uniforms, source, temperature=0.7, top_k=3)
    assert valid(drawn.values).all()
    np.testing.assert_allclose(drawn.log_prob, prior.log_prob(drawn.values, source), rtol=1e-5)


def test_known_beginnings_are_completed() -> None:
    prior = made(SEQUENCE, end_value=END)
    uniforms, source = noise(prior, 8), condition_of(prior, 8)
    known = {"observed": values_of(prior, 8, seed=4), "mask": np.arange(7)[None] >= 3}
    drawn = drawn_by(full, prior, uniforms, source, **known).values
    assert_same_integers(drawn_by(stepwise, prior, uniforms, source, **known).values, drawn)
    assert_same_integers(drawn[:, :, :3], known["observed"][:, :, :3])
    assert valid(drawn).all()


def test_what_is_known_does_not_go_on_after_its_end() -> None:
    prior = made(SEQUENCE, end_value=END)
    values, source = np.zeros((2, *SEQUENCE), "int32"), condition_of(prior, 2)
    values[1, 0, :, 0] = [0, END, 1, 0, END, END, 1]
    mask = np.zeros((2, 1, SEQUENCE[1]), bool)
    mask[:, :, 2:4] = True
    message = (
        "known of 1 of 2 sequences goes on after its end value 2; expected nothing else after it: hide what"
    )
    with pytest.raises(ValueError, match=message):
        prior.complete(values, mask, source)
    mask[:, :, 6] = True
    np.testing.assert_array_equal(prior.complete(values, mask, source)[~mask], values[~mask])


def test_sequences_that_go_on_after_their_end_are_refused() -> None:
    prior = fresh((1, 4, 1), end_value=END)
    values = np.asarray([[0, 1, 2, 2], [0, 2, 1, 2]], "int32")[:, None, :, None]
    source = condition_of(prior, 2)
    message = (
        r"1 of 2 sequences go on after their end; expected integers in \[0, 3\], and after the end value 2 "
        "nothing else: fill sequences up with it"
    )
    prior.compile(optimizer="sgd")
    pairs = {"values": values, "condition": source}
    for use in (prior.fit, prior.evaluate, prior.predict):
        with pytest.raises(ValueError, match=message):
            use(pairs, verbose=0)
    with pytest.raises(ValueError, match=message):
        prior.bits_per_dim(values, source)
    # Of a generator the first batch alone is seen before the others come.
    batches = ({name: part[index : index + 1] for name, part in pairs.items()} for index in (0, 1))
    message = r"values of 1 example lie outside; expected integers .* after the end"
    with pytest.raises(ValueError, match=message):
        prior.evaluate(batches, verbose=0)


# The recipe


def test_labels_are_smoothed_in_training_alone() -> None:
    prior = fresh((1, 5, 1), end_value=END, label_smoothing=0.3)
    values = np.asarray([[0, 3, 1, 3, 0], [1, END, END, END, END]], "int32")[:, None, :, None]
    source, weight = condition_of(prior, 2), np.asarray([1.0, 3.0], "float32")
    params = np.asarray(whole(prior, values, source), "float64")[:, 0]
    nats = -(params - np.log(np.exp(params).sum(-1, keepdims=True)))
    labels = np.eye(4)[values[:, 0, :, 0]]
    smoothed = (labels * 0.7 + 0.3 / 4) * np.where(nats > 1e8, 0, nats)
    counted = np.asarray([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])[..., None]  # what is certain is no choice
    expected = (smoothed * counted).sum((1, 2)) / 5
    batch = {"values": values, "condition": source}
    prior.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    found = prior.train_on_batch(batch, sample_weight=weight, return_dict=True)
    assert found["loss"] == pytest.approx((expected * weight).mean(), rel=1e-5)
    bits = prior.bits_per_dim(values, source)
    assert found["bits_per_dim"] == pytest.approx(np.average(bits, weights=weight), rel=1e-5)
    tested = prior.test_on_batch(batch, return_dict=True)
    assert tested["loss"] == pytest.approx(bits.mean() * np.log(2), rel=1e-5)


def test_embeddings_are_scaled_and_places_interleaved() -> None:
    layer = ScaledEmbedding(6)
    x = catalogue.features(2, 6, 8)
    places, pairs = np.arange(6)[:, None], np.arange(4)
    sines = interleaved(places / 10_000 ** (2 * pairs / 8))
    np.testing.assert_allclose(layer(x, ops.arange(6)), x * 8**0.5 + sines, rtol=1e-5, atol=1e-6)
    assert sines[3, :4] == pytest.approx([np.sin(3), np.cos(3), np.sin(0.3), np.cos(0.3)])
    later = layer(x[:, :2], ops.convert_to_tensor(np.asarray([[4, 5], [0, 1]])))
    np.testing.assert_allclose(later[0], x[0, :2] * 8**0.5 + sines[4:], rtol=1e-5, atol=1e-6)


def test_the_rate_rises_and_falls_as_in_the_paper() -> None:
    schedule = InverseSquareRoot(512)
    steps = np.asarray([1, 100, 4000, 4001, 100_000])
    expected = 512**-0.5 * np.minimum(steps**-0.5, steps * 4000**-1.5)
    np.testing.assert_allclose([schedule(step - 1) for step in steps], expected, rtol=1e-5)
    copy = InverseSquareRoot.from_config(schedule.get_config())
    assert float(copy(10)) == float(schedule(10))
    optimizer = keras.optimizers.Adam(InverseSquareRoot(4, warmup_steps=2))
    assert float(optimizer.learning_rate) == pytest.approx(0.5 * 2**-1.5)
    with pytest.raises(ValueError, match="warmup_steps=0; expected a positive number"):
        InverseSquareRoot(512, warmup_steps=0)


def test_parameters_of_the_base_model() -> None:
    """Those of the paper's table 3 but for its shared embeddings: blocks by their formula."""
    prior = EncoderDecoderTransformer((1, 4, 1), Categorical(11), 13, 5, num_layers=2, hidden_dim=16)
    attention, forward, norm = 4 * (16 * 16 + 16), 16 * 64 + 64 + 64 * 16 + 16, 2 * 16
    encoder, decoder = attention + forward + 2 * norm, 2 * attention + forward + 3 * norm
    assert prior.count_params() == 2 * (encoder + decoder) + 13 * 16 + 11 * 16 + 16 * 11 + 11


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end_value": 4}, r"end_value=4 lies outside the vocabulary; expected an integer in \[0, 3\]"),
        ({"end_value": 1.0}, r"end_value=1.0 lies outside the vocabulary"),
        ({"end_value": 1, "grid_shape": (2, 4, 1)}, r"grid_shape=\(2, 4, 1\); expected sequences, grids"),
        (
            {"end_value": 1, "distribution": MIXTURE, "label_smoothing": 0.0},
            "end_value=1 and DiscretizedLogisticMixture.*; expected a Categorical",
        ),
        ({"distribution": MIXTURE}, "label_smoothing=0.1 and Discretized.*=0"),
        ({"label_smoothing": 1.0}, r"label_smoothing=1.0; expected a share in \[0, 1\)"),
        ({"source_levels": 1}, "source_levels=1; expected an integer, 2 or more"),
        ({"source_length": 0}, "source_length=0; expected a positive integer"),
        ({"source_padding": 5}, r"source_padding=5; expected a token of the source, in \[0, 4\]"),
        ({"positions": "rotary"}, "Unknown positions 'rotary'; expected sinusoidal or learned"),
        (
            {"grid_shape": COLOUR, "distribution": MIXTURE, "label_smoothing": 0.0},
            "hidden_dim=8; expected a multiple of the 3 channels of a position",
        ),
        ({"hidden_dim": 9, "num_heads": 3}, "tokens of 9 features; expected an even number"),
    ],
)
def test_bad_options_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fresh(**{"grid_shape": SEQUENCE, **changes})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, r"got condition=None; expected integer tokens \(batch, 6 or fewer\) in \[0, 4\]"),
        (np.zeros((2, 7), "int32"), r"shape \(2, 7\); expected integer tokens \(batch, 6 or fewer\)"),
        (np.zeros((2, 0), "int32"), r"shape \(2, 0\); expected integer tokens"),
        (np.zeros(2, "int32"), r"shape \(2,\); expected integer tokens"),
        (np.zeros((3, 6), "int32"), "has 3 rows for 2 examples"),
        (np.zeros((2, 6)), r"dtype float64; expected integer tokens"),
        (np.full((2, 6), 5), r"Tokens of the source lie in \[5, 5\]; expected \[0, 4\].*source_levels=5"),
        (np.full((2, 6), -1), r"Tokens of the source lie in \[-1, -1\]; expected \[0, 4\]"),
    ],
)
def test_bad_sources_are_refused(source: Any, message: str) -> None:
    prior = made(SEQUENCE)
    values = values_of(prior, 2)
    for use in (prior.log_prob, lambda values, source: prior.sample(2, source)):
        with pytest.raises(ValueError, match=message):
            use(values, source)
    batch = {"values": values} if source is None else {"values": values, "condition": source}
    with pytest.raises(ValueError, match=message):
        prior.fit(batch)


def test_a_prefix_longer_than_the_grid_is_refused() -> None:
    prior = made(SEQUENCE)
    with pytest.raises(
        ValueError, match=r"observed values have shape \(2, 1, 9, 1\); expected \(batch, 1, 7, 1\)"
    ):
        sample(
            prior,
            2,
            condition_of(prior, 2),
            observed=np.zeros((2, 1, 9, 1), "int32"),
            mask=np.ones((1, 9), bool),
        )


def test_tokens_out_of_range_inside_a_dataset_are_refused() -> None:
    prior = fresh(SEQUENCE)
    batches = ({"values": values_of(prior, 2), "condition": np.full((2, 6), token)} for token in (1, 5))
    prior.compile(optimizer="sgd")
    with pytest.raises(
        ValueError, match=r"Tokens of the source of 2 examples lie outside; expected .*source_levels=5"
    ):
        prior.evaluate(batches, verbose=0)
