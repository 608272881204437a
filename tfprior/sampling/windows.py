"""Fixed-point sampling by a window on the cache: the next positions at once, until they stand still.

    placed    asked together     to come
    σ₀ σ₁ │ σ₂  σ₃  σ₄  σ₅ │ σ₆  σ₇ …
          └ each given those before it: placed ones, and in the window what was drawn there last

With the noise held fixed each run over the window settles its first value, and mostly more: as far as what
is drawn was guessed, it is final, and the next value too. Behind these the window goes on (Jacobi iteration:
Song et al. 2021, arXiv:2002.03629). The values are those drawn one by one, in fewer and wider steps.

Shapes: B batch · H W C grid · P positions · W positions of the window · G tokens of a position.
"""

import functools
from typing import Any

import numpy as np
from keras import ops

from tfprior.distributions.base import Tensor
from tfprior.inputs import check_sizes
from tfprior.layers.streaming import select
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors.transformer import TransformerPrior
from tfprior.sampling.request import Request
from tfprior.sampling.sampler import Drawn, Sampler

USUAL = 8


class Windowed(Sampler):
    """Draws from a Transformer by steps of several positions; all examples of a batch move together.

    Args:
        window: how many positions, W; 8 when left out.

    Raises:
        ValueError: for no positive number of them.
    """

    def __init__(self, window: int | None = None) -> None:
        self.window = USUAL if window is None else window
        check_sizes("Windowed sampling", window=self.window)

    def draw(self, prior: TransformerPrior, request: Request) -> Drawn:
        """Uniforms (B, H, W, K) and the rest of a request → the grids that it asks for."""
        count, width = prior.num_steps, min(self.window, prior.num_steps)
        size = ops.shape(request.uniforms)[0]
        along = () if request.order is None else (request.order,)
        if request.observed is None:
            state = prior.initial_state(size, request.condition, *along)
        else:
            state = prior.prefill(request.observed, request.condition, *along)
        order = ops.zeros((size, 1), "int32") + ops.arange(count, dtype="int32")
        if request.order is not None:
            order = ops.convert_to_tensor(request.order)
        asked = request.over_positions(count).at_positions(order)  # in their order
        values = ops.zeros_like(order)[..., None] + np.zeros(prior.grid_shape[-1], "int32")
        if asked.observed is not None:
            values = asked.observed
        given = {name: part for name, part in state.items() if name in ("condition", "order")}
        options = asked.options.spread(1)

        def ask(first: Tensor, values: Tensor, nats: Tensor, runs: Tensor, changing: Any) -> Any:
            start = ops.minimum(first, count - width)
            ranks = start + np.arange(width, dtype="int32")
            before = ops.pad(values, ((0, 0), (1, 0), (0, 0)), constant_values=OUTSIDE)
            params, state = prior.params_ahead({**changing, **given}, before, order, start, width)
            here, guessed = asked.at(ranks), ops.take(values, ranks, axis=1)
            drawn, log_prob = prior.distribution.sample(params, here.uniforms, options)
            drawn, log_prob = here.complete(drawn, log_prob)
            is_new = ranks >= first
            drawn = ops.where(is_new[:, None], drawn, guessed)
            log_prob = ops.where(is_new, log_prob, ops.take(nats, ranks, axis=1))
            tokens = ops.reshape(ops.equal(drawn, guessed), (-1, width * prior.channel_groups, together))
            as_guessed = ops.cumprod(ops.cast(ops.all(tokens, axis=-1), "int32"), axis=1)
            settled = (ops.sum(as_guessed, axis=1) + 1) // prior.channel_groups  # positions
            return (
                start + ops.minimum(ops.min(settled), width),
                ops.slice_update(values, (0, start, 0), drawn),
                ops.slice_update(nats, (0, start), log_prob),
                runs + 1,
                {name: part for name, part in state.items() if name not in given},
            )

        together = prior.grid_shape[-1] // prior.channel_groups
        changing = {name: part for name, part in state.items() if name not in given}
        start = (
            ops.cast(request.first_rank(), "int32"),
            values,
            ops.zeros_like(ops.cast(order, "float32")),
            ops.zeros((size,), "int32"),
            changing,
        )
        _, values, nats, runs, _ = ops.while_loop(lambda first, *_: first < count, ask, start)
        placed = select(values, ops.cast(ops.argsort(order, axis=-1), "int32"))
        return Drawn(ops.reshape(placed, (-1, *prior.grid_shape)), ops.sum(nats, axis=1), runs)


windowed = functools.cache(Windowed)
"""The sampler by its number of positions; what is compiled for one serves again."""
