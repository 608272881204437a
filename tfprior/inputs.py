"""What a prior and its bundle accept: checks that speak before any work is done, with NumPy alone."""

import math
from typing import Any

import numpy as np

from tfprior.condition_kind import ConditionKind
from tfprior.philox import Seed, uniforms_of

GridShape = tuple[int, int, int]


def is_integer(value: Any) -> bool:
    """Whether it is a Python or NumPy integer; a bool is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether the value is a finite real number; True and False are none."""
    numeric = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return numeric and math.isfinite(value)


def check_grid_shape(grid_shape: Any) -> GridShape:
    """The grid as three positive ints, or ValueError."""
    shape = tuple(grid_shape) if isinstance(grid_shape, tuple | list) else ()
    if len(shape) != 3 or not all(is_integer(size) and size > 0 for size in shape):
        raise ValueError(
            f"grid_shape={grid_shape!r} is not a grid; expected three positive integers (height, width, "
            "channels), for example (28, 28, 1)."
        )
    return int(shape[0]), int(shape[1]), int(shape[2])


MOST_LAYERS, MOST_FEATURES = 1000, 2**20
"""Far more than any network has: what lies beyond is a slip, and would be built for hours."""


def check_sizes(name: str, least: int = 1, **sizes: int) -> None:
    """Raises ValueError unless every size is an integer of at least `least`, and not absurdly large."""
    for size, value in sizes.items():
        most = MOST_LAYERS if size.startswith("num_") else MOST_FEATURES
        if not is_integer(value) or value < least:
            expected = "a positive integer" if least == 1 else f"an integer, {least} or more"
            raise ValueError(f"{name} got {size}={value!r}; expected {expected}.")
        if value > most:
            raise ValueError(f"{name} got {size}={value!r}; expected {most:,} at most.")


def odd_kernel_size(name: str, kernel_size: Any) -> int:
    """The kernel's height and width as one number; a square such as (3, 3) stands for it.

    Raises:
        ValueError: for a kernel that is not square, or whose size is no odd number of at least 3.
    """
    size = kernel_size
    if isinstance(size, tuple | list) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    if not is_integer(size) or size % 2 == 0 or size < 3:
        hint = " (for 1×1 use MaskedDense)" if size == 1 else ""
        raise ValueError(f"{name} got kernel_size={kernel_size!r}; expected an odd number, 3 or more{hint}.")
    return int(size)


def check_values(values: Any, grid_shape: GridShape, num_levels: int, name: str = "values") -> None:
    """Raises ValueError unless `values` are integers (B, H, W, C) in [0, num_levels)."""
    check_shape_and_type(shape_of(values, name), values.dtype, grid_shape, name)
    known = concrete(values)
    if known is not None and known.size and (known.min() < 0 or known.max() >= num_levels):
        raise ValueError(f"{name} lie in [{known.min()}, {known.max()}]; {expected_levels(num_levels)}.")


def expected_levels(num_levels: int) -> str:
    """What values are to be, and what to do when they are not."""
    return (
        f"expected integers in [0, {num_levels - 1}]: rescale them, or build the distribution with more "
        "levels"
    )


def check_shape_and_type(shape: tuple[int | None, ...], dtype: Any, grid_shape: GridShape, name: str) -> None:
    """Raises ValueError unless `shape` is (B, *grid_shape) and `dtype` is an integer type."""
    kind = name_of(dtype)
    if not kind.startswith(("int", "uint", "bool")):
        raise ValueError(
            f"{name} have dtype {kind}; expected integers: a prior models discrete values, so pass the "
            "levels themselves (uint8 or int32), not scaled floats: values.astype('uint8') where they are "
            "0.0, 1.0, …, in a dataset tf.cast(images, 'uint8')."
        )
    fits = len(shape) == 4 and all(
        size is None or size == grid for size, grid in zip(shape[1:], grid_shape, strict=True)
    )
    if not fits:
        hint = ""
        if tuple(shape) == tuple(grid_shape):
            hint = ": add a batch axis with values[None], of a dataset with dataset.batch(64)"
        elif len(shape) == 3:
            hint = ": add a channel axis with values[..., None]"
        raise ValueError(
            f"{name} have shape {shape}; expected (batch, {', '.join(map(str, grid_shape))}){hint}."
        )


def shape_of(values: Any, name: str) -> tuple[int | None, ...]:
    """The static shape, None where it is open.

    Raises:
        ValueError: where not even the number of axes is known.
    """
    if getattr(values.shape, "rank", 0) is None:  # TensorFlow's
        raise ValueError(
            f"{name} have an unknown number of axes; expected a batch axis and those of the grid: in a "
            "dataset, set them by tf.ensure_shape(images, (None, height, width, channels))."
        )
    return tuple(values.shape)


def name_of(dtype: Any) -> str:
    """As NumPy and Keras call it, whichever library it is of."""
    return str(getattr(dtype, "name", dtype)).removeprefix("torch.")


def check_sample_weight(weights: Any, batch_size: int | None) -> None:
    """Raises ValueError unless there is one finite number for each example: (B,)."""
    shape, kind = shape_of(weights, "Sample weights"), name_of(weights.dtype)
    if len(shape) != 1 or not kind.startswith(("int", "uint", "float", "bfloat", "bool")):
        raise ValueError(
            f"Sample weights have shape {shape} and dtype {kind}; expected one number for each example: "
            "(batch,)."
        )
    if batch_size is not None and shape[0] is not None and shape[0] != batch_size:
        raise ValueError(f"Got {shape[0]} sample weights for {batch_size} examples; expected one each.")
    known = concrete(weights)
    if known is not None and not np.isfinite(known).all():
        raise ValueError("Sample weights hold NaN or infinity; expected finite numbers.")


def check_condition(
    condition: Any,
    expected: ConditionKind | None,
    batch_size: int | None = None,
    may_be_none: bool = False,
) -> None:
    """Raises ValueError unless `condition` is what the prior was built for; None stands for no condition.

    Single examples without one, as `ConditionKind.none` has them, are right where they `may_be_none`.
    """
    if condition is None:
        if expected is not None:
            raise ValueError(f"The prior is conditional and got condition=None; expected {expected}.")
        return
    if expected is None:
        raise ValueError(
            "The prior is unconditional and got a condition; leave it out, or build the prior with "
            "num_classes= or condition_shape=."
        )
    shape, kind = shape_of(condition, "Conditions"), name_of(condition.dtype)
    if not expected.fits(shape):
        raise ValueError(f"The condition has shape {shape}; expected {expected}.")
    if batch_size is not None and shape[0] is not None and shape[0] != batch_size:
        raise ValueError(f"The condition has {shape[0]} rows for {batch_size} examples; expected one each.")
    if expected.num_levels is not None and not kind.startswith(("int", "uint")):
        raise ValueError(f"The condition has dtype {kind}; expected {expected}.")
    known = concrete(condition)
    if known is not None and may_be_none:
        known = known[~expected.is_none(known)]
    if known is None or not known.size:
        return
    if expected.num_levels is not None and (known.min() < 0 or known.max() >= expected.num_levels):
        name = "Labels" if expected.is_label else "Tokens of the source"
        raise ValueError(f"{name} lie in [{known.min()}, {known.max()}]; {expected.range}.")
    if expected.num_levels is None and not np.isfinite(known).all():
        raise ValueError(f"The condition holds NaN or infinity; {expected.range}.")


def entropy_of(seed: Any) -> int:
    """What a generator starts from: the seed itself.

    Without one it is drawn from NumPy's global generator, so that `keras.utils.set_random_seed` decides it.

    Raises:
        ValueError: for a seed that is no integer in [0, 2⁶⁴).
    """
    if seed is None:
        return int.from_bytes(np.random.bytes(8), "little")  # noqa: NPY002
    if not is_integer(seed) or not 0 <= seed < 2**64:
        raise ValueError(
            f"seed={seed!r}; expected an integer from 0 to 2^64 - 1, or None for other samples each time."
        )
    return int(seed)


def checked_seed(seed: Any) -> Seed:
    """What noise follows from, by a number or None as `entropy_of` takes it.

    Raises:
        ValueError: for a seed that is no integer in [0, 2⁶⁴).
    """
    return seed if isinstance(seed, Seed) else Seed(entropy_of(seed))


def check_uniforms(
    uniforms: Any, num_samples: int, grid_shape: GridShape, per_pixel: int, seed: Any = None
) -> np.ndarray:
    """The noise (B, H, W, K) in float32, that of `seed` when not given.

    Raises:
        ValueError: for a number of samples below one, a seed that is none, or uniforms of the wrong shape
            or range.
    """
    if not is_integer(num_samples) or num_samples < 1:
        raise ValueError(f"num_samples={num_samples!r}; expected a positive integer.")
    shape = (num_samples, *grid_shape[:2], per_pixel)
    if uniforms is None:
        height, width, _ = grid_shape
        return uniforms_of(checked_seed(seed), num_samples, height * width, per_pixel).reshape(shape)
    if seed is not None:
        raise ValueError("Got both uniforms and a seed; the uniforms are the noise: leave the seed out.")
    uniforms = np.asarray(uniforms)
    if uniforms.shape != shape:
        raise ValueError(f"The uniforms have shape {uniforms.shape}; expected {shape}.")
    if not (uniforms.min() >= 0 and uniforms.max() < 1):
        raise ValueError("The uniforms leave [0, 1) or hold NaN; expected numbers from 0 up to below 1.")
    # A float64 just below 1 would round to 1.
    return np.minimum(uniforms.astype("float32"), np.nextafter(np.float32(1), np.float32(0)))


def check_sampling_options(
    temperature: Any, top_k: Any, top_p: Any, num_levels: int, num_samples: int, guidance: Any = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """The options as arrays, each a number or one for each sample (B,); None stays None.

    Raises:
        ValueError: for options of the wrong shape, type or range.
    """
    checked: list[Any] = []
    for name, option, kinds, fits, expected in (
        (
            "temperature",
            temperature,
            "iuf",
            lambda x: np.isfinite(x) & (x > 0),
            "a positive number (top_k=1 draws the most probable value)",
        ),
        ("top_k", top_k, "iu", lambda x: (x >= 1) & (x <= num_levels), f"an integer in [1, {num_levels}]"),
        ("top_p", top_p, "iuf", lambda x: (x > 0) & (x <= 1), "a probability in (0, 1]"),
        ("guidance", guidance, "iuf", lambda x: np.isfinite(x) & (x >= 0), "a number from 0"),
    ):
        if option is None and name != "temperature":
            checked.append(None)
            continue
        try:
            array = np.asarray(option)
        except Exception:  # each backend refuses a tracer with an error of its own
            array = np.asarray(None)
        if array.dtype.kind not in kinds or array.shape not in ((), (num_samples,)) or not fits(array).all():
            raise ValueError(
                f"{name}={option!r}; expected {expected}, or one for each of {num_samples} samples."
            )
        checked.append(array.astype("int32" if name == "top_k" else "float32"))
    return checked[0], checked[1], checked[2], checked[3]


def num_to_complete(images: Any, mask: Any) -> int:
    """How many images (N, H, W, C) are to be completed.

    Raises:
        ValueError: without images or a mask, and for images without an axis of examples.
    """
    if images is None or mask is None or not len(getattr(images, "shape", ())):
        raise ValueError(
            "complete takes images (N, H, W, C) and a mask (H, W) or (N, H, W) that is True where they are "
            "hidden."
        )
    return int(images.shape[0])


def check_completion(
    observed: Any, mask: Any, num_samples: int, grid_shape: GridShape, num_levels: int
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Known grids (B, H, W, C) int32 and where they are hidden (B, H, W) bool; (None, None) for neither.

    Raises:
        ValueError: for one without the other, or either of the wrong shape, type or range.
    """
    if observed is None and mask is None:
        return None, None
    if observed is None or mask is None:
        raise ValueError("Completion takes both `observed` values and a `mask` that is True where hidden.")
    observed, mask = np.asarray(observed), np.asarray(mask)
    check_values(observed, grid_shape, num_levels, "observed values")
    height, width, _ = grid_shape
    if len(observed) != num_samples:
        raise ValueError(f"Got {len(observed)} observed grids for {num_samples} samples; expected one each.")
    if mask.dtype != bool or mask.shape not in ((height, width), (num_samples, height, width)):
        raise ValueError(
            f"The mask is {mask.dtype} of shape {mask.shape}; expected bool of shape ({height}, {width}) or "
            f"({num_samples}, {height}, {width}), True where a pixel is hidden."
        )
    return observed.astype("int32"), np.broadcast_to(mask, (num_samples, height, width))


def check_known_end(observed: np.ndarray, hidden: np.ndarray, end_value: int) -> None:
    """Raises ValueError where what is known of sequences (B, 1, N, 1) goes on after a known end."""
    known = ~hidden[:, 0]
    ends = np.logical_or.accumulate((observed[:, 0, :, 0] == end_value) & known, axis=1)
    passed = (ends & known & (observed[:, 0, :, 0] != end_value)).any(axis=1)
    if passed.any():
        raise ValueError(
            f"What is known of {passed.sum()} of {len(passed)} sequences goes on after its end value "
            f"{end_value}; expected nothing else after it: hide what comes there, or fill it up with "
            f"{end_value}."
        )


def as_array(values: Any) -> Any:
    """Tensors and arrays as they are, everything else as an array."""
    return values if values is None or hasattr(values, "shape") else np.asarray(values)


def concrete(values: Any) -> np.ndarray | None:
    """The values as an array, or None for a symbolic tensor of a graph under construction."""
    if hasattr(values, "detach"):  # PyTorch's, which NumPy does not take from a gradient's tape or a GPU
        values = values.detach().cpu()
    try:
        array = np.asarray(values)
    except Exception:  # each backend refuses a tracer with an error of its own
        return None
    return None if array.dtype == object else array  # a specification, not a tensor
