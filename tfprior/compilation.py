"""Compiled functions of a model, kept for as long as the model lives."""

import functools
import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.inputs import concrete

_COMPILED: weakref.WeakKeyDictionary[keras.Model, dict[Hashable, Callable[..., Any]]] = (
    weakref.WeakKeyDictionary()
)


def compiled(
    function: Callable[..., Any], model: keras.Model, jit_compile: bool = True
) -> Callable[..., Any]:
    """`function(model, *tensors)` as a compiled function of the tensors alone.

    One trace serves every call with the same shapes, and the model's weights are read anew in each call. XLA
    compiles it on TensorFlow (unless `jit_compile` is False) and on JAX; other backends run it as it is.
    """
    cache = _COMPILED.setdefault(model, {})
    key = (function, jit_compile)
    if key not in cache:
        cache[key] = _compile(function, weakref.ref(model), jit_compile)
    return cache[key]


def in_batches(
    function: Callable[..., Any], model: keras.Model, arrays: Sequence[Any], batch_size: int
) -> Any:
    """`function(model, *arrays)` over all rows, compiled for batches of one size: the last one is filled up.

    Integers go in as int32 and anything else as float32; an array may be None. Results are NumPy arrays.

    Raises:
        ValueError: for no rows, or a batch size below 1.
    """
    arrays = [None if part is None else ops.convert_to_numpy(part) for part in arrays]
    count = next(len(part) for part in arrays if part is not None)
    if not count or batch_size < 1:
        raise ValueError(f"Got {count} examples and batch_size={batch_size}; expected at least one of each.")
    size = min(batch_size, count)
    # Without XLA: it compiles for a second, and then takes from 40 % more to a quarter less time.
    run, results = compiled(function, model, jit_compile=False), []
    for first in range(0, count, size):
        rows = np.arange(first, first + size) % count
        made = keras.tree.map_structure(ops.convert_to_numpy, run(*(_rows(part, rows) for part in arrays)))
        results.append(keras.tree.map_structure(lambda part, last=count - first: part[:last], made))
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *results)


def check_outside_graph(name: str) -> None:
    """Raises ValueError while `tf.function` or `jax.jit` traces a graph: `name` compiles its own."""
    if concrete(ops.zeros(())) is None:
        raise ValueError(
            f"{name} was called while a graph is traced (tf.function, jax.jit); it is compiled already and "
            "gives arrays: call it outside."
        )


def devices() -> list[str]:
    """What Keras computes on, as "cpu:0"; of backends whose devices it does not list, where tensors are."""
    if keras.backend.backend() in ("tensorflow", "jax"):
        return list(keras.distribution.list_devices())
    return [str(ops.zeros(()).device)]


def xla_by_default() -> bool:
    """Whether XLA compiles a training step unless one says otherwise.

    It does on JAX, which has no other compiler, and where TensorFlow computes on accelerators.
    """
    if keras.backend.backend() == "tensorflow":
        return any(not name.startswith("cpu") for name in devices())
    return keras.backend.backend() == "jax"


def num_replicas() -> int:
    """How many devices share a training step under the tf.distribute strategy in force."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def _rows(array: np.ndarray | None, rows: np.ndarray) -> Any:
    if array is None:
        return None
    return ops.convert_to_tensor(array[rows], "float32" if array.dtype.kind == "f" else "int32")


def _compile(function: Callable[..., Any], model: Callable[[], Any], jit_compile: bool) -> Callable[..., Any]:
    call = functools.partial(_call, function, model)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # One function for each set of shapes: XLA compiles for shapes anyway, and a function that meets many
        # of them is taken for a mistake and warned of.
        by_shapes: dict[Hashable, Callable[..., Any]] = {}

        def run(*tensors: Any) -> Any:
            leaves = keras.tree.flatten(tensors)
            shapes = tuple(None if leaf is None else tuple(leaf.shape) for leaf in leaves)
            if shapes not in by_shapes:
                own = functools.partial(_call, function, model)
                by_shapes.setdefault(shapes, tf.function(own, jit_compile=jit_compile, autograph=False))
            return by_shapes[shapes](*tensors)

        return run
    if backend == "jax":
        import jax

        @jax.jit
        def pure(weights: list[Any], *tensors: Any) -> Any:
            mapping = list(zip(model().variables, weights, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return call(*tensors)

        return lambda *tensors: pure([variable.value for variable in model().variables], *tensors)
    if backend == "torch":
        import torch

        return torch.no_grad()(call)
    return call


def _call(function: Callable[..., Any], model: Callable[[], Any], *tensors: Any) -> Any:
    return function(model(), *tensors)
