"""What a prior accepts: checks that speak before any work is done."""

from typing import Any

import numpy as np
from keras import ops

GridShape = tuple[int, int, int]


def check_grid_shape(grid_shape: Any) -> GridShape:
    """The grid as three positive ints, or ValueError."""
    shape = tuple(grid_shape) if isinstance(grid_shape, tuple | list) else ()
    if len(shape) != 3 or not all(isinstance(size, int | np.integer) and size > 0 for size in shape):
        raise ValueError(
            f"grid_shape={grid_shape!r} is not a grid; expected three positive integers (height, width, "
            "channels), for example (28, 28, 1)."
        )
    return int(shape[0]), int(shape[1]), int(shape[2])


def check_values(values: Any, grid_shape: GridShape, num_levels: int, name: str = "values") -> None:
    """Raises ValueError unless `values` are integers (B, H, W, C) in [0, num_levels)."""
    check_shape_and_type(tuple(values.shape), values.dtype, grid_shape, name)
    known = concrete(values)
    if known is not None and known.size and (known.min() < 0 or known.max() >= num_levels):
        raise ValueError(
            f"{name} lie in [{known.min()}, {known.max()}]; expected integers in [0, {num_levels - 1}]: "
            "rescale them, or build the distribution with more levels."
        )


def check_shape_and_type(shape: tuple[int | None, ...], dtype: Any, grid_shape: GridShape, name: str) -> None:
    """Raises ValueError unless `shape` is (B, *grid_shape) and `dtype` is an integer type."""
    kind = getattr(dtype, "name", str(dtype))
    if not kind.startswith(("int", "uint", "bool")):
        raise ValueError(
            f"{name} have dtype {kind}; expected integers: a prior models discrete values, so pass the "
            "levels themselves (uint8 or int32), not scaled floats."
        )
    fits = len(shape) == 4 and all(
        size is None or size == grid for size, grid in zip(shape[1:], grid_shape, strict=True)
    )
    if not fits:
        hint = ": add a channel axis with values[..., None]" if len(shape) == 3 else ""
        raise ValueError(
            f"{name} have shape {shape}; expected (batch, {', '.join(map(str, grid_shape))}){hint}."
        )


def check_condition(
    condition: Any,
    num_classes: int | None,
    condition_shape: tuple[int, ...] | None,
    batch_size: int | None = None,
) -> None:
    """Raises ValueError unless `condition` is what the prior was built for."""
    expected = describe_condition(num_classes, condition_shape)
    if condition is None:
        if expected:
            raise ValueError(f"The prior is conditional and got condition=None; expected {expected}.")
        return
    if not expected:
        raise ValueError(
            "The prior is unconditional and got a condition; leave it out, or build the prior with "
            "num_classes= or condition_shape=."
        )
    shape, kind = tuple(condition.shape), getattr(condition.dtype, "name", str(condition.dtype))
    inner: tuple[int, ...] = () if num_classes is not None else (condition_shape or ())
    is_batch = len(shape) == 1 + len(inner) and all(
        size is None or size == want for size, want in zip(shape[1:], inner, strict=False)
    )
    if not is_batch:
        raise ValueError(f"The condition has shape {shape}; expected {expected}.")
    if batch_size is not None and shape[0] is not None and shape[0] != batch_size:
        raise ValueError(f"The condition has {shape[0]} rows for {batch_size} examples; expected one each.")
    if num_classes is not None and not kind.startswith(("int", "uint")):
        raise ValueError(f"The condition has dtype {kind}; expected {expected}.")
    known = concrete(condition)
    if known is None or not known.size:
        return
    if num_classes is not None and (known.min() < 0 or known.max() >= num_classes):
        raise ValueError(
            f"Labels lie in [{known.min()}, {known.max()}]; expected [0, {num_classes - 1}]: the prior was "
            f"built with num_classes={num_classes}."
        )
    if num_classes is None and not np.isfinite(known).all():
        raise ValueError("The condition holds NaN or infinity; expected finite numbers.")


def describe_condition(num_classes: int | None, condition_shape: tuple[int, ...] | None) -> str:
    """The expected condition in words; empty for an unconditional prior."""
    if num_classes is not None:
        return f"integer labels (batch,) in [0, {num_classes - 1}]"
    if condition_shape is not None:
        return f"floats of shape (batch, {', '.join(map(str, condition_shape))})"
    return ""


def as_array(values: Any) -> Any:
    """Tensors and arrays as they are, everything else as an array."""
    return values if values is None or hasattr(values, "shape") else np.asarray(values)


def concrete(values: Any) -> np.ndarray | None:
    """The values as an array, or None for a symbolic tensor of a graph under construction."""
    if isinstance(values, np.ndarray):
        return values
    try:
        array = ops.convert_to_numpy(values)
    except Exception:  # each backend refuses a tracer with an error of its own
        return None
    return None if array.dtype == object else array  # a specification, not a tensor
