"""What is asked of a prior of a bundle, as the arrays that its functions take: checked before any work.

Shapes: B batch · H W C grid · K uniforms a pixel.
"""

from typing import Any, NamedTuple

import numpy as np

from tfprior.export.arrays import Arrays, Known
from tfprior.export.decoding import Decoding
from tfprior.export.prior_description import ConditionDescription, PriorDescription
from tfprior.inputs import (
    as_array,
    check_completion,
    check_condition,
    check_known_end,
    check_sampling_options,
    check_uniforms,
    is_integer,
)
from tfprior.orders import known_first, order_of


class Request(NamedTuple):
    """Noise (B, H, W, K), other inputs (B, …) by their names, and what is known."""

    uniforms: np.ndarray
    inputs: Arrays
    known: Known | None


def request(
    prior: PriorDescription,
    way: str | Decoding,
    uniforms: np.ndarray,
    condition: Any,
    temperature: Any,
    observed: Any,
    mask: Any,
    order: Any,
    guidance: Any,
) -> Request:
    """What the arguments of `OnnxSampler.sample` ask for.

    Raises:
        ValueError: for arguments of the wrong shape or range.
    """
    size = len(uniforms)
    noise = check_uniforms(uniforms, size, prior.grid_shape, num_uniforms(prior, way))
    options = option_arrays(prior, temperature, guidance, size)
    values, hidden = check_completion(observed, mask, size, prior.grid_shape, prior.num_levels)
    known = None if values is None or hidden is None else Known(values, hidden)
    if known is not None and prior.end_value is not None:
        check_known_end(known.values, known.hidden, prior.end_value)
    inputs = {**options, **condition_arrays(prior, condition, size)}
    if isinstance(way, str):
        inputs |= order_arrays(prior, order, size, hidden)
    elif order is not None:
        raise ValueError(
            f"{type(way).__name__} decoding chooses itself what is drawn first and got order={order!r}; "
            "leave it out."
        )
    return Request(noise, inputs, known)


def num_uniforms(prior: PriorDescription, way: str | Decoding) -> int:
    """How many numbers a position's noise has, K."""
    return way.num_uniforms if isinstance(way, Decoding) else prior.noise.per_step


def option_arrays(prior: PriorDescription, temperature: Any, guidance: Any, batch: int) -> Arrays:
    """How values are drawn, each option under its name as the functions take it.

    Raises:
        ValueError: for options of the wrong shape or range, and guidance of a prior that has none.
    """
    checked = check_sampling_options(temperature, None, None, prior.num_levels, batch, guidance)
    if guidance is not None and not prior.is_guided:
        raise ValueError(
            f"Got guidance={guidance!r} and the bundle's prior takes none; leave it out, or export a "
            "prior of a Categorical trained with condition_dropout=0.1."
        )
    options: dict[str, Any] = {"temperature": checked[0]}
    if prior.is_guided:
        options["guidance"] = np.zeros((), "float32") if guidance is None else checked[-1]
    return {name: np.broadcast_to(option, batch) for name, option in options.items()}


def condition_arrays(prior: PriorDescription, condition: Any, batch: int) -> Arrays:
    """The condition as the functions take it, under its name; nothing for an unconditional prior.

    Raises:
        ValueError: for a condition that the prior was not built for.
    """
    described = prior.condition
    condition = as_array(condition if described is None else numbered(condition, described))
    kind = None if described is None else described.of_model
    check_condition(condition, kind, batch)
    if described is None or kind is None:
        return {}
    condition = np.ascontiguousarray(condition, described.dtype)
    if kind.padding is not None:  # sources may be shorter
        missing = kind.shape[0] - condition.shape[1]
        condition = np.pad(condition, ((0, 0), (0, missing)), constant_values=kind.padding)
    return {"condition": condition}


def numbered(condition: Any, described: ConditionDescription) -> Any:
    """The condition; labels that are told by their names as numbers.

    Raises:
        ValueError: for a name that no class has, or several.
    """
    if described.kind != "label" or not isinstance(condition, list | tuple | np.ndarray):
        return condition
    if not any(isinstance(label, str) for label in condition):
        return condition
    names, numbers = described.class_names or (), []
    for label in condition:
        is_number = is_integer(label)
        if not is_number and names.count(label) != 1:
            by_name = f" or one of {', '.join(names)}" if names else ""
            raise ValueError(
                f"No class is called {label!r}; expected a label in [0, {(described.num_classes or 0) - 1}]"
                f"{by_name}."
            )
        numbers.append(label if is_number else names.index(label))
    return numbers


def order_arrays(prior: PriorDescription, order: Any, batch: int, hidden: np.ndarray | None = None) -> Arrays:
    """The order as the functions take it, known first, under its name; nothing in raster order alone.

    Raises:
        ValueError: for what is no order, and one that the prior does not know.
    """
    if prior.orders == "raster":
        if order is not None:
            raise ValueError(f"The prior draws in raster order alone and got order={order!r}; leave it out.")
        return {}
    along = order_of("raster" if order is None else order, prior.grid_shape, batch)
    along = np.ascontiguousarray(np.broadcast_to(along, (batch, prior.num_steps)))
    return {"order": along if hidden is None else known_first(along, hidden.reshape(batch, -1))}
