"""The functions that a bundle holds of a prior: a step, the whole loop around it, and the likelihood.

Shapes: B batch · H W C grid · S a packed state.
"""

import numpy as np
from keras import ops

from tfprior.export.guidance import guided
from tfprior.export.masked_functions import log_prob_given, refine
from tfprior.export.packing import Packing
from tfprior.export.ranges import within_range
from tfprior.export.raster_functions import pixel, row
from tfprior.export.signatures import (
    Function,
    Port,
    Ports,
    Tensors,
    batch_size,
    condition_of,
    each_once,
    options_of,
)
from tfprior.export.transformer_functions import encode_source, prefill, transformer_step
from tfprior.layers import OUTSIDE, empty_state
from tfprior.priors import AutoregressivePrior, MaskedPrior, Prior, RasterPrior, TransformerPrior
from tfprior.sampling import Drawn, Request, along_order, cached, sequential, stepwise


def functions(prior: Prior) -> list[Function]:
    """Every function of the prior's bundle."""
    ports = Ports(prior)
    return [within_range(guided(prior, ports, function)) for function in _unguided(prior, ports)]


def sample(prior: Prior) -> Function:
    """The one that draws whole grids; where an order is missing among its tensors, in raster order."""
    ports = Ports(prior)
    return guided(prior, ports, _sample(prior, ports))


def _unguided(prior: Prior, ports: Ports) -> list[Function]:
    whole = [_sample(prior, ports), _log_prob(prior, ports)]
    if isinstance(prior, MaskedPrior):
        return [refine(prior, ports), log_prob_given(prior, ports), *whole]
    if isinstance(prior, TransformerPrior):
        encode = [encode_source(prior, ports)] if ports.memory else []
        return [*encode, transformer_step(prior, ports), prefill(prior, ports), *whole]
    made = [_initial_state(prior, ports), _step(prior, ports), *whole]
    if isinstance(prior, RasterPrior):
        made += [row(prior, ports), pixel(prior, ports)]
    return made


def _initial_state(prior: AutoregressivePrior, ports: Ports) -> Function:
    specs = prior.state_spec()
    packing = Packing(specs)

    def call(tensors: Tensors) -> Tensors:
        state = empty_state(specs, batch_size(tensors))
        return {"state": packing.pack(state, batch_size(tensors))}

    position = ports.position._replace(meaning="any; gives the batch size only")
    state = Port("state", "float32", (packing.size,), "opaque; for the first `step`", carried=True)
    return Function("initial_state", call, (position,), (state,))


def _step(prior: AutoregressivePrior, ports: Ports) -> Function:
    packing = Packing(prior.state_spec())

    def call(tensors: Tensors) -> Tensors:
        state = packing.unpack(tensors["state"])
        state |= condition_of(prior, tensors)
        previous, position, uniforms = (tensors[name] for name in ("previous", "position", "uniforms"))
        value, log_prob, state = prior.sample_step(state, previous, position, uniforms, options_of(tensors))
        state.pop("condition", None)  # which no step changes
        return {"value": value, "log_prob": log_prob, "state_out": packing.pack(state, batch_size(tensors))}

    before = "from `initial_state` or the step before"
    state = Port("state", "float32", (packing.size,), before, carried=True)
    state_out = state._replace(name="state_out", meaning="for the next step")
    return Function(
        "step",
        call,
        (state, ports.previous, ports.position, ports.uniforms, ports.temperature, *ports.condition),
        (ports.value, ports.log_prob, state_out),
    )


def _sample(prior: Prior, ports: Ports) -> Function:
    def call(tensors: Tensors) -> Tensors:
        asked = Request(
            tensors["uniforms"], tensors.get("condition"), options_of(tensors), order=tensors.get("order")
        )
        values, log_prob, *_ = whole_grids(prior, asked)
        if "order" in tensors:
            fits = each_once(tensors["order"])
            values = ops.where(ops.reshape(fits, (-1, 1, 1, 1)), values, OUTSIDE)
            log_prob = ops.where(fits, log_prob, np.float32(np.nan))
        return {"values": values, "log_prob": log_prob}

    values = ports.values
    if ports.order:
        values = values._replace(meaning=f"{values.meaning}; −1 for an order that holds a position twice")
    return Function(
        "sample",
        call,
        (ports.noise, ports.temperature, *ports.order, *ports.condition),
        (values, ports.log_prob),
    )


def whole_grids(prior: Prior, request: Request) -> Drawn:
    """What a prior draws in one graph, by operations that graphs outside XLA have."""
    if isinstance(prior, MaskedPrior):
        asked = in_raster_order(prior, request) if request.order is None else request
        return sequential.draw(prior, asked)
    if request.order is not None:
        return along_order.draw(prior, request)
    return (cached if isinstance(prior, RasterPrior) else stepwise).draw(prior, request)


def in_raster_order(prior: Prior, request: Request) -> Request:
    first = ops.zeros((ops.shape(request.uniforms)[0], 1), "int32")
    return request._replace(order=first + ops.arange(prior.num_steps, dtype="int32"))


def _log_prob(prior: Prior, ports: Ports) -> Function:
    def call(tensors: Tensors) -> Tensors:
        values, condition = tensors["values"], tensors.get("condition")
        if "order" not in tensors:
            return {"log_prob": prior.log_prob_batch(values, condition)}
        nats = prior.distribution.log_prob(prior.params_along(values, condition, tensors["order"]), values)
        fits = each_once(tensors["order"])
        return {"log_prob": ops.where(fits, ops.sum(nats, axis=(1, 2)), np.float32(np.nan))}

    return Function("log_prob", call, (ports.values, *ports.order, *ports.condition), (ports.log_prob,))
