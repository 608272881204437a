"""XLA compiles for longer than tests of this size compute: only those marked `xla` use it, as users do."""

from typing import Any

import keras.src.trainers.trainer as keras_trainer
import pytest

from tfprior import compilation

COMPILE, SUPPORTS = compilation._compile, keras_trainer.model_supports_jit


def compile_plainly(function: Any, model: Any, jit_compile: bool) -> Any:
    return COMPILE(function, model, jit_compile=False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "xla: samplers and training steps are compiled by XLA")


@pytest.hookimpl(tryfirst=True)  # before fixtures of the module
def pytest_runtest_setup(item: pytest.Item) -> None:
    by_xla = item.get_closest_marker("xla") is not None
    compilation._compile = COMPILE if by_xla else compile_plainly
    # What `compile(jit_compile="auto")` asks.
    keras_trainer.model_supports_jit = SUPPORTS if by_xla else lambda model: False
