"""The functions that a bundle holds: named tensors in, named tensors out, the batch always in front.

Shapes: B batch · H W C grid · K uniforms a pixel · S a packed state.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from tfprior.distributions import SamplingOptions
from tfprior.export.packing import Packing
from tfprior.layers import OUTSIDE, empty_state
from tfprior.priors import AutoregressivePrior, RasterPrior
from tfprior.sampling import cached, stepwise

Tensors = dict[str, Any]


class Port(NamedTuple):
    """An input or output; its shape leaves out the batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    meaning: str


class Function(NamedTuple):
    name: str
    call: Callable[[Tensors], Tensors]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def functions(prior: AutoregressivePrior) -> list[Function]:
    """Every function of the prior's bundle."""
    ports = Ports(prior)
    made = [_initial_state(prior, ports), _step(prior, ports), _sample(prior, ports), _log_prob(prior, ports)]
    if isinstance(prior, RasterPrior):
        made += [_row(prior, ports), _pixel(prior, ports)]
    return made


class Ports:
    """The tensors that the functions of one prior share."""

    def __init__(self, prior: AutoregressivePrior) -> None:
        height, width, channels = prior.grid_shape
        levels = prior.distribution.num_levels
        uniforms = prior.distribution.num_uniforms(channels)
        self.previous = Port("previous", "int32", (channels,), "value at position − 1; ignored at position 0")
        self.position = Port("position", "int32", (), f"y · {width} + x, in [0, {prior.num_steps})")
        self.uniforms = Port("uniforms", "float32", (uniforms,), "noise in [0, 1), fresh for every position")
        self.noise = Port("uniforms", "float32", (height, width, uniforms), "noise in [0, 1)")
        self.temperature = Port("temperature", "float32", (), "1 draws from the model itself")
        self.value = Port("value", "int32", (channels,), f"the pixel drawn, in [0, {levels})")
        self.values = Port("values", "int32", prior.grid_shape, f"grids in [0, {levels})")
        self.log_prob = Port("log_prob", "float32", (), "nats, of the model at temperature 1")
        self.condition: tuple[Port, ...] = ()
        if prior.num_classes is not None:
            self.condition = (Port("condition", "int32", (), f"class label in [0, {prior.num_classes})"),)
        elif prior.condition_shape is not None:
            self.condition = (Port("condition", "float32", prior.condition_shape, "condition"),)


def batch_size(tensors: Tensors) -> Any:
    return ops.shape(tensors["position"])[0]


def _initial_state(prior: AutoregressivePrior, ports: Ports) -> Function:
    specs = prior.state_spec()
    packing = Packing(specs)

    def call(tensors: Tensors) -> Tensors:
        state = empty_state(specs, batch_size(tensors))
        return {"state": packing.pack(state, batch_size(tensors))}

    position = ports.position._replace(meaning="any; gives the batch size only")
    state = Port("state", "float32", (packing.size,), "opaque; for the first `step`")
    return Function("initial_state", call, (position,), (state,))


def _step(prior: AutoregressivePrior, ports: Ports) -> Function:
    packing = Packing(prior.state_spec())

    def call(tensors: Tensors) -> Tensors:
        state = packing.unpack(tensors["state"])
        if "condition" in tensors:
            state = {**state, "condition": prior.encode_condition(tensors["condition"])}
        previous, position, uniforms = (tensors[name] for name in ("previous", "position", "uniforms"))
        value, log_prob, state = prior.sample_step(state, previous, position, uniforms, options_of(tensors))
        state.pop("condition", None)  # which no step changes
        return {"value": value, "log_prob": log_prob, "state_out": packing.pack(state, batch_size(tensors))}

    state = Port("state", "float32", (packing.size,), "from `initial_state` or the step before")
    state_out = Port("state_out", "float32", (packing.size,), "for the next step")
    return Function(
        "step",
        call,
        (state, ports.previous, ports.position, ports.uniforms, ports.temperature, *ports.condition),
        (ports.value, ports.log_prob, state_out),
    )


def options_of(tensors: Tensors) -> SamplingOptions:
    return SamplingOptions(tensors["temperature"])


def _sample(prior: AutoregressivePrior, ports: Ports) -> Function:
    # Other priors lead themselves by operations that XLA alone has.
    loop = cached if isinstance(prior, RasterPrior) else stepwise

    def call(tensors: Tensors) -> Tensors:
        drawn = loop(prior, tensors["uniforms"], tensors.get("condition"), options_of(tensors))
        return {"values": drawn.values, "log_prob": drawn.log_prob}

    return Function(
        "sample",
        call,
        (ports.noise, ports.temperature, *ports.condition),
        (ports.values, ports.log_prob),
    )


def _log_prob(prior: AutoregressivePrior, ports: Ports) -> Function:
    def call(tensors: Tensors) -> Tensors:
        return {"log_prob": prior.log_prob_batch(tensors["values"], tensors.get("condition"))}

    return Function("log_prob", call, (ports.values, *ports.condition), (ports.log_prob,))


def _row(prior: RasterPrior, ports: Ports) -> Function:
    packing = Packing(prior.row_spec())
    _, width, channels = prior.grid_shape

    def call(tensors: Tensors) -> Tensors:
        y = tensors["position"] // width
        finished = ops.where(ops.reshape(y > 0, (-1, 1, 1)), tensors["finished_row"], OUTSIDE)
        condition = prior.encode_condition(tensors.get("condition"))
        state, features = prior.row(packing.unpack(tensors["row_state"]), finished, condition, y)
        return {
            "row_features": ops.cast(features, "float32"),
            "row_state_out": packing.pack(state, batch_size(tensors)),
        }

    state = Port("row_state", "float32", (packing.size,), "zeros at the first row, then the row before's")
    finished = Port(
        "finished_row", "int32", (width, channels), "values of the row above; ignored at the first row"
    )
    position = ports.position._replace(meaning=f"y · {width}, of the first pixel of the row to begin")
    return Function(
        "row",
        call,
        (state, finished, position, *ports.condition),
        (_features(prior), state._replace(name="row_state_out", meaning="for the next row")),
    )


def _pixel(prior: RasterPrior, ports: Ports) -> Function:
    packing, width = Packing(prior.pixel_spec()), prior.grid_shape[1]

    def call(tensors: Tensors) -> Tensors:
        position = tensors["position"]
        x = position % width
        features = ops.cast(tensors["row_features"], prior.compute_dtype)
        left, here = prior.features_at(features, ops.maximum(x - 1, 0)), prior.features_at(features, x)
        caches = packing.unpack(tensors["pixel_state"])
        caches, previous = prior.advance_pixel(caches, left, tensors["previous"], position)
        value, log_prob, caches = prior.draw(
            lambda current: prior.pixel_params(caches, here, previous, position, current),
            tensors["uniforms"],
            options_of(tensors),
        )
        return {
            "value": value,
            "log_prob": log_prob,
            "pixel_state_out": packing.pack(caches, batch_size(tensors)),
        }

    state = Port(
        "pixel_state",
        "float32",
        (packing.size,),
        "zeros at the left end of each row, then the pixel before's",
    )
    previous = ports.previous._replace(meaning="value at position − 1; ignored at the left end of a row")
    return Function(
        "pixel",
        call,
        (state, _features(prior), previous, ports.position, ports.uniforms, ports.temperature),
        (
            ports.value,
            ports.log_prob,
            state._replace(name="pixel_state_out", meaning="for the next pixel of the row"),
        ),
    )


def _features(prior: RasterPrior) -> Port:
    shape = (prior.grid_shape[1], prior.num_features)
    return Port("row_features", "float32", shape, "from `row`, the same for every pixel of the row")
