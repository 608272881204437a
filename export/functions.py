"""The functions that a bundle holds: named tensors in, named tensors out, the batch always in front.

Shapes: B batch · H W C grid · K uniforms a pixel · S a packed state.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from tfprior.export.packing import Packing
from tfprior.priors import Prior, RasterPrior
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


def functions(prior: Prior) -> list[Function]:
    """Every function of the prior's bundle."""
    ports = Ports(prior)
    made = [_initial_state(prior, ports), _step(prior, ports), _sample(prior, ports), _log_prob(prior, ports)]
    if isinstance(prior, RasterPrior):
        made += [_row(prior, ports), _pixel(prior, ports)]
    return made


class Ports:
    """The tensors that the functions of one prior share."""

    def __init__(self, prior: Prior) -> None:
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


def _condition_features(prior: Prior, tensors: Tensors) -> Tensors:
    if "condition" not in tensors:
        return {}
    state = prior.initial_state(batch_size(tensors), tensors["condition"])
    return {"condition": state["condition"]}


def _initial_state(prior: Prior, ports: Ports) -> Function:
    packing = Packing(prior.recurrent_state(1))

    def call(tensors: Tensors) -> Tensors:
        state = prior.recurrent_state(batch_size(tensors))
        return {"state": packing.pack(state, batch_size(tensors))}

    position = ports.position._replace(meaning="any; gives the batch size only")
    state = Port("state", "float32", (packing.size,), "opaque; for the first `step`")
    return Function("initial_state", call, (position,), (state,))


def _step(prior: Prior, ports: Ports) -> Function:
    packing = Packing(prior.recurrent_state(1))

    def call(tensors: Tensors) -> Tensors:
        state = {**packing.unpack(tensors["state"]), **_condition_features(prior, tensors)}
        value, log_prob, state = prior.sample_step(
            state,
            tensors["previous"],
            tensors["position"],
            tensors["uniforms"],
            tensors["temperature"],
        )
        return {"value": value, "log_prob": log_prob, "state_out": packing.pack(state, batch_size(tensors))}

    state = Port("state", "float32", (packing.size,), "from `initial_state` or the step before")
    state_out = Port("state_out", "float32", (packing.size,), "for the next step")
    return Function(
        "step",
        call,
        (state, ports.previous, ports.position, ports.uniforms, ports.temperature, *ports.condition),
        (ports.value, ports.log_prob, state_out),
    )


def draw_grid(prior: Prior, uniforms: Any, condition: Any, temperature: Any) -> tuple[Any, Any]:
    """The whole loop in the graph: noise (B, H, W, K) → values (B, H, W, C), nats (B,)."""
    loop = cached if isinstance(prior, RasterPrior) else stepwise
    return loop(prior, uniforms, condition, temperature)


def _sample(prior: Prior, ports: Ports) -> Function:
    def call(tensors: Tensors) -> Tensors:
        given = tensors.get("condition"), tensors["temperature"]
        values, log_prob = draw_grid(prior, tensors["uniforms"], *given)
        return {"values": values, "log_prob": log_prob}

    return Function(
        "sample",
        call,
        (ports.noise, ports.temperature, *ports.condition),
        (ports.values, ports.log_prob),
    )


def _log_prob(prior: Prior, ports: Ports) -> Function:
    def call(tensors: Tensors) -> Tensors:
        return {"log_prob": prior.log_prob(tensors["values"], tensors.get("condition"))}

    return Function("log_prob", call, (ports.values, *ports.condition), (ports.log_prob,))


def _row(prior: RasterPrior, ports: Ports) -> Function:
    packing = Packing(prior.row_state(1))
    _, width, channels = prior.grid_shape

    def call(tensors: Tensors) -> Tensors:
        y = tensors["position"] // width
        outside = prior.recurrent_state(batch_size(tensors))["row"]
        finished = ops.where(ops.reshape(y > 0, (-1, 1, 1)), tensors["finished_row"], outside)
        condition = _condition_features(prior, tensors).get("condition")
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
    packing = Packing(prior.pixel_state(1))

    def call(tensors: Tensors) -> Tensors:
        position = tensors["position"]
        features = ops.cast(tensors["row_features"], prior.compute_dtype)
        state = {**packing.unpack(tensors["pixel_state"]), "features": features}
        state = prior.advance_pixel(state, tensors["previous"], position)
        value, log_prob, state = prior.draw(
            lambda current: prior.predict_pixel(state, position, current),
            tensors["uniforms"],
            tensors["temperature"],
        )
        return {
            "value": value,
            "log_prob": log_prob,
            "pixel_state_out": packing.pack(state, batch_size(tensors)),
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
