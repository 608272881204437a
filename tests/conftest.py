"""XLA compiles for longer than tests of this size compute: those marked `xla` run as users' programs do."""

import gc
import weakref
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import keras.src.trainers.trainer as keras_trainer
import pytest
import tensorflow as tf
from xdist.scheduler import LoadScopeScheduling

from tfprior import compilation

COMPILE, SUPPORTS = compilation._compile, keras_trainer.model_supports_jit
COMPILED: dict[bool, Any] = {by_xla: weakref.WeakKeyDictionary() for by_xla in (True, False)}
"""What is compiled for priors that tests share: with XLA, and without."""


def compile_plainly(function: Any, model: Any, jit_compile: bool) -> Any:
    return COMPILE(function, model, jit_compile=False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "xla: samplers and training steps are compiled by XLA")
    config.addinivalue_line("markers", "each_once: of its combinations, as few as have each value once")
    config.addinivalue_line("markers", "slow: others stand for it, or for those with such parts in its name")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--everything", action="store_true", help="also what `each_once` and `slow` leave out")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whole programs come first, the command line and files of few tests: none is to be left at the end."""
    if not config.getoption("--everything"):
        left_out = combinations_left_out(items) | {item for item in items if is_slow(item)}
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]
    tests_in = Counter(group_of(item.nodeid) for item in items)
    items.sort(key=lambda item: (group_of(item.nodeid) != "cli", tests_in[group_of(item.nodeid)]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return OneProcessAGroup(config, log)


class OneProcessAGroup(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """The tests that share what they train and export: those of a file, and all of the command line."""
    file = Path(nodeid.partition("::")[0])
    return "cli" if file.parent.name == "cli" else file.stem


def is_slow(item: pytest.Item) -> bool:
    """Whether other tests stand for it: it takes many seconds, and they go the same way."""
    parameters = item.nodeid.partition("[")[2]
    marks = list(item.iter_markers("slow"))
    return any(not mark.args or any(part in f"[{parameters}" for part in mark.args) for mark in marks)


def combinations_left_out(items: list[pytest.Item]) -> set[pytest.Item]:
    """Tests marked `each_once` all of whose values others have, each about as often."""
    by_function = defaultdict(list)
    for item in items:
        if item.get_closest_marker("each_once"):
            by_function[item.nodeid.partition("[")[0]].append(item)
    left_out: set[pytest.Item] = set()
    for combinations in by_function.values():
        values = {item: values_of(item) for item in combinations}
        missing, uses = set().union(*values.values()), Counter[Any]()
        while missing:
            most = max(
                combinations,
                key=lambda item: (len(values[item] & missing), -sum(uses[value] for value in values[item])),
            )
            combinations.remove(most)
            missing -= values[most]
            uses.update(values[most])
        left_out.update(combinations)
    return left_out


def values_of(item: pytest.Item) -> set[tuple[Any, ...]]:
    """What each `parametrize` and each fixture gave the test; what is given together is one value."""
    given = dict(item.callspec.params)
    together = []
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs["argnames"]
        names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
        together.append(tuple((name, id(given.pop(name))) for name in names))
    return {*together, *((name, id(value)) for name, value in given.items())}


def pytest_collection_finish() -> None:
    """What is imported by now stays: looking through it again and again takes a twelfth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)


@pytest.hookimpl(tryfirst=True)  # before fixtures of the module
def pytest_runtest_setup(item: pytest.Item) -> None:
    by_xla = item.get_closest_marker("xla") is not None
    compilation._compile = COMPILE if by_xla else compile_plainly
    compilation._COMPILED = COMPILED[by_xla]
    # What `compile(jit_compile="auto")` asks.
    keras_trainer.model_supports_jit = SUPPORTS if by_xla else lambda model: False
    if not item.config.getoption("--everything"):
        # TensorFlow makes graphs smaller for longer than those of tests run.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not by_xla})


@pytest.fixture(scope="session")
def prior_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a tiny prior, as ONNX alone: copy it before you change it."""
    from small_bundles import save_prior

    return save_prior(tmp_path_factory.mktemp("bundles") / "prior")


@pytest.fixture(scope="session")
def generator_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a tiny tokenizer and the prior of its codes, as ONNX alone: copy it before you change it."""
    from small_bundles import save_generator

    return save_generator(tmp_path_factory.mktemp("bundles") / "images")


@pytest.fixture(scope="session")
def bulk_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the bundle of a generator takes, as an .npy file."""
    from small_jobs import save_images

    return save_images(tmp_path_factory.mktemp("bulk") / "images.npy")


@pytest.fixture(scope="session")
def bulk_jobs(prior_bundle: Path, generator_bundle: Path, bulk_images: Path) -> dict[str, Any]:
    """A job of each task that bundles do, by name."""
    from small_jobs import jobs

    return jobs(prior_bundle, generator_bundle, bulk_images)
