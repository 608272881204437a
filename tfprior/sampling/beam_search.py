"""Beam search: the most probable sequences, or nearly so.

Shapes: B searches · K beams of each · N positions · L levels.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from keras import ops, tree

from tfprior.compilation import check_outside_graph, compiled
from tfprior.distributions.base import Tensor
from tfprior.distributions.categorical import IMPOSSIBLE
from tfprior.inputs import as_array, check_condition, check_sizes
from tfprior.priors.causal_decoder import CausalDecoder
from tfprior.sampling.parallel import check_drawn
from tfprior.sharding import few_sized_shards, run_in_shards


class Beams(NamedTuple):
    """What beam search found, best first.

    Attributes:
        values: (B, K, 1, N, 1) int32, the end value behind their ends.
        log_prob: nats of each (B, K), exact; −∞ of beams beyond the number of sequences that there are.
    """

    values: np.ndarray
    log_prob: np.ndarray


def beam_search(
    prior: CausalDecoder, condition: Any = None, num_beams: int = 4, length_penalty: float = 0.6
) -> Beams:
    """Looks for the best sequences, one value at a time, by keeping the `num_beams` best beginnings.

    With one beam it is the greedy search that `sample(top_k=1)` does, too. With as many as there are
    sequences it misses none.

    Args:
        prior: of sequences with an end value.
        condition: one row for each search, for a conditional prior; without one there is one search.
        num_beams: K.
        length_penalty: α of log p / ((5 + length) / 6)^α, by which sequences are ranked (Wu et al. 2016,
            arXiv:1609.08144); 0 ranks by their likelihood, and prefers short ones.

    Raises:
        ValueError: for a prior without an end value, and arguments of the wrong shape, type or range.
    """
    check_outside_graph("beam_search")
    if not isinstance(prior, CausalDecoder) or prior.end is None:
        raise ValueError(
            f"beam_search got a {type(prior).__name__} without an end value; expected a prior of sequences "
            "that end: a CausalTransformer or EncoderDecoderTransformer with end_value=."
        )
    check_sizes("beam_search", num_beams=num_beams)
    if not isinstance(length_penalty, int | float) or not 0 <= length_penalty < np.inf:
        raise ValueError(f"length_penalty={length_penalty!r}; expected a number from 0.")
    condition = as_array(condition)
    check_condition(condition, prior.condition_kind)
    run = compiled(Search(num_beams), prior.for_sampling())
    penalty = np.asarray(length_penalty, "float32")

    def searched(index: np.ndarray) -> tuple[np.ndarray, ...]:
        given = None if condition is None else np.asarray(condition)[index]
        return tuple(map(ops.convert_to_numpy, run(given, penalty)))

    count = 1 if condition is None else len(condition)
    values, nats = run_in_shards(searched, few_sized_shards(count))
    check_drawn(nats)
    shape = (count, num_beams, *prior.grid_shape)
    return Beams(values.reshape(shape), np.where(nats > IMPOSSIBLE / 2, nats, -np.inf))


@dataclass(frozen=True)
class Search:
    """The search in one graph, by steps with a cache: a condition (B, …) → values (B, K, N), nats (B, K)."""

    num_beams: int

    def __call__(
        self, prior: CausalDecoder, condition: Tensor | None, length_penalty: Tensor
    ) -> tuple[Tensor, Tensor]:
        beams, count, levels = self.num_beams, prior.num_steps, prior.num_levels
        size = 1 if condition is None else ops.shape(condition)[0]
        first_rows = ops.arange(size, dtype="int32")[:, None] * beams
        end: Any = prior.end_value
        state = tree.map_structure(
            lambda part: ops.repeat(part, beams, axis=0), prior.initial_state(size, condition)
        )
        given = {"condition": state.pop("condition")} if "condition" in state else {}

        def grow(
            position: Tensor, going: Tensor, values: Tensor, nats: Tensor, length: Tensor, state: Any
        ) -> Any:
            previous = ops.take(values, ops.maximum(position - 1, 0), axis=1)[:, None]
            params, state = prior.step({**state, **given}, previous, position)
            ended = ops.reshape(state["pixel"]["ended"], (-1, beams))
            # What has ended goes on with the end value alone, for nothing: so it stays as it is.
            step = ops.reshape(ops.log_softmax(ops.cast(params, "float32")), (-1, beams, levels))
            length = ops.where(ended > 0, length, position + 1)
            nats = nats[..., None] + step  # (B, K, L)
            penalty = ((5 + ops.cast(length, "float32")) / 6) ** length_penalty
            _, chosen = ops.top_k(ops.reshape(nats / penalty[..., None], (-1, beams * levels)), beams)
            chosen = ops.cast(chosen, "int32")  # (B, K), the best first
            beam, value = chosen // levels, chosen % levels
            nats = ops.take_along_axis(ops.reshape(nats, (-1, beams * levels)), chosen, axis=1)
            length = ops.take_along_axis(length, beam, axis=1)
            rows = ops.reshape(first_rows + beam, (-1,))
            kept = {name: part for name, part in state.items() if name not in given}
            values, kept = tree.map_structure(lambda part: ops.take(part, rows, axis=0), (values, kept))
            values = ops.where(ops.equal(np.arange(count), position), ops.reshape(value, (-1, 1)), values)
            going = ops.any(ops.logical_and(ops.not_equal(value, end), nats > IMPOSSIBLE / 2))
            return position + 1, going, values, nats, length, kept

        start = (
            np.asarray(0, "int32"),
            np.asarray(True),
            ops.full((size * beams, count), end, "int32"),
            ops.zeros((size, beams)) + np.where(np.arange(beams) == 0, np.float32(0), IMPOSSIBLE),
            ops.zeros((size, beams), "int32"),
            state,
        )
        _, _, values, nats, _, _ = ops.while_loop(
            lambda position, going, *_: ops.logical_and(going, position < count), grow, start
        )
        return ops.reshape(values, (-1, beams, count)), nats
