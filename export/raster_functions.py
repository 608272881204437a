"""The step of a raster prior in two: `row` once a row, and `pixel` once a pixel.

Shapes: B batch · W C row · S a packed state.
"""

from keras import ops

from tfprior.export.packing import Packing
from tfprior.export.signatures import (
    Function,
    Port,
    Ports,
    Tensors,
    batch_size,
    options_of,
)
from tfprior.layers import OUTSIDE
from tfprior.priors import RasterPrior


def row(prior: RasterPrior, ports: Ports) -> Function:
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

    state = Port(
        "row_state", "float32", (packing.size,), "zeros at the first row, then the row before's", carried=True
    )
    before = "values of the row above; ignored at the first row"
    finished = Port("finished_row", "int32", (width, channels), before, levels=ports.previous.levels)
    position = ports.position._replace(meaning=f"y · {width}, of the first pixel of the row to begin")
    return Function(
        "row",
        call,
        (state, finished, position, *ports.condition),
        (_features(prior), state._replace(name="row_state_out", meaning="for the next row")),
    )


def pixel(prior: RasterPrior, ports: Ports) -> Function:
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
        carried=True,
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
    meaning = "from `row`, the same for every pixel of the row"
    return Port("row_features", "float32", shape, meaning, carried=True)
