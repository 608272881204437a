"""The functions that lead a Transformer: a step from the keys and values of those before, which grow.

Keys and values are tensors of their own, named as runtimes for language models name them, so that a step
takes in what it reads and gives back what is one position longer, and nothing is packed or cut.

Shapes: B batch · C channels of a position · h heads · d features of a head.
"""

import numpy as np
from keras import ops

from tfprior.export.signatures import (
    Function,
    Port,
    Ports,
    Tensors,
    condition_of,
    draws_in_any_order,
    options_of,
)
from tfprior.layers import OUTSIDE
from tfprior.priors import TransformerPrior

PARTS = {"keys": "key", "values": "value"}


class Past:
    """The keys and values among the ports of a Transformer's functions."""

    def __init__(self, prior: TransformerPrior) -> None:
        self.names = [layer.name for layer in prior.caching]
        self.shape = prior.num_heads, prior.hidden_dim // prior.num_heads

    def ports(self, prefix: str, length: str, meaning: str) -> tuple[Port, ...]:
        """PREFIX.N.key and PREFIX.N.value, each (B, h, length, d)."""
        heads, features = self.shape
        return tuple(
            Port(f"{prefix}.{index}.{part}", "float32", (heads, length, features), meaning, carried=True)
            for index in range(len(self.names))
            for part in PARTS.values()
        )

    def read(self, tensors: Tensors) -> Tensors:
        """As a state has them."""
        return {
            name: {kind: tensors[f"past_key_values.{index}.{part}"] for kind, part in PARTS.items()}
            for index, name in enumerate(self.names)
        }

    def written(self, caches: Tensors) -> Tensors:
        """By name, of a state."""
        return {
            f"present.{index}.{part}": caches[name][kind]
            for index, name in enumerate(self.names)
            for kind, part in PARTS.items()
        }


def transformer_step(prior: TransformerPrior, ports: Ports) -> Function:
    """One position, drawn after those whose keys and values are there."""
    past, width, steps = Past(prior), prior.grid_shape[1], prior.num_steps
    any_order = draws_in_any_order(prior)

    def call(tensors: Tensors) -> Tensors:
        position, length = tensors["position"], ops.shape(tensors["past_key_values.0.key"])[2]
        rank = ops.full_like(position, 1) * (length // prior.channel_groups)
        whole = ops.equal(rank * prior.channel_groups, length)
        fits = whole & (rank < steps if any_order else ops.equal(rank, position))
        state = {"past": past.read(tensors), **condition_of(prior, tensors)}
        state = prior.place(state, tensors["previous"], tensors.get("previous_position"), rank)
        value, log_prob, _ = prior.draw(
            lambda current: (prior.params_next(state, position, rank, current), None),
            tensors["uniforms"],
            options_of(tensors),
        )
        return {
            "value": ops.where(fits[:, None], value, OUTSIDE),
            "log_prob": ops.where(fits, log_prob, np.float32(np.nan)),
            **past.written(state["past"]),
        }

    before = (
        f"from the step before, or `prefill`; of length 0 at first, then {prior.channel_groups} more a step"
    )
    previous, position = ports.previous, ports.position
    here: tuple[Port, ...] = (position,)
    if any_order:
        previous = previous._replace(meaning="the value placed last; ignored at the first step")
        here = (
            position._replace(name="previous_position", meaning=f"where that stands, y · {width} + x"),
            position._replace(meaning=f"where to draw, y · {width} + x, in [0, {steps})"),
        )
    return Function(
        "step",
        call,
        (
            *past.ports("past_key_values", "past", before),
            previous,
            *here,
            ports.uniforms,
            ports.temperature,
            *ports.given,
        ),
        (
            ports.value._replace(meaning=f"{ports.value.meaning}; −1 where the past is of another length"),
            ports.log_prob,
            *past.ports("present", "present", "for the next step"),
        ),
    )


def encode_source(prior: TransformerPrior, ports: Ports) -> Function:
    """What all steps attend to, made once."""

    def call(tensors: Tensors) -> Tensors:
        return dict(prior.encode_condition(tensors["condition"]))

    return Function("encode_source", call, ports.condition, ports.memory)


def prefill(prior: TransformerPrior, ports: Ports) -> Function:
    """What steps would have left of positions that are known, at once."""
    past, channels = Past(prior), prior.grid_shape[-1]

    def call(tensors: Tensors) -> Tensors:
        state = prior.past_of(tensors["values"], condition_of(prior, tensors), tensors.get("positions"))
        return past.written(state["past"])

    meaning = "known values, in the order of their positions"
    known = ports.values._replace(shape=("known", channels), meaning=meaning)
    along: tuple[Port, ...] = ()
    if draws_in_any_order(prior):
        where = "where they stand, each once"
        along = (ports.position._replace(name="positions", shape=("known",), meaning=where),)
    return Function(
        "prefill",
        call,
        (known, *along, *ports.given),
        past.ports("present", "present", "for the step that draws the next position after these"),
    )
