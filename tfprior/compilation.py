"""Compiled functions of a model, kept for as long as the model lives."""

import functools
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import keras

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


def _compile(function: Callable[..., Any], model: Callable[[], Any], jit_compile: bool) -> Callable[..., Any]:
    call = functools.partial(_call, function, model)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # One function for each set of shapes: XLA compiles for shapes anyway, and a function that meets many
        # of them is taken for a mistake and warned of.
        by_shapes: dict[Hashable, Callable[..., Any]] = {}

        def run(*tensors: Any) -> Any:
            shapes = tuple(None if tensor is None else tuple(tensor.shape) for tensor in tensors)
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
    return call


def _call(function: Callable[..., Any], model: Callable[[], Any], *tensors: Any) -> Any:
    return function(model(), *tensors)
