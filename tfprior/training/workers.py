"""The machines that train together: their strategy, and what the chief does for all of them."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import keras

STRATEGIES = ("mirrored", "multi_worker")


def strategy_named(name: str) -> Any:
    """A `tf.distribute` strategy: "mirrored" over the GPUs of this machine, "multi_worker" over those of all.

    It has to be the first that is asked of TensorFlow.

    Raises:
        ValueError: for another name or backend, and a TF_CONFIG that names no worker.
    """
    if name not in STRATEGIES:
        raise ValueError(f"strategy={name!r}; expected one of {', '.join(STRATEGIES)}.")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"strategy={name!r} is of TensorFlow, and Keras runs on {keras.backend.backend()}; set "
            "KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    check_cluster(os.environ.get("TF_CONFIG"))
    return tf.distribute.MultiWorkerMirroredStrategy()


def check_cluster(told: str | None) -> None:
    """Raises ValueError for a TF_CONFIG that does not say which of the workers this is."""
    example = (
        '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'
    )
    remedy = f"set it on every machine, with another index on each: TF_CONFIG='{example}'."
    if not told:
        raise ValueError(f"multi_worker needs to know the workers, and TF_CONFIG is not set; {remedy}")
    try:
        config = json.loads(told)
        cluster, task = config["cluster"], config["task"]
        kind, index = task.get("type", "worker"), int(task["index"])
        addresses = cluster[kind]
        if not isinstance(addresses, list) or not all(":" in address for address in addresses):
            raise ValueError("its workers are no addresses with a port")
        if not 0 <= index < len(addresses):
            raise ValueError(f"its index {index} is none of {len(addresses)}")
        if kind not in ("chief", "worker"):
            raise ValueError(f"its type is {kind!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"TF_CONFIG does not tell which worker this is ({reason}); {remedy}") from error


class Workers:
    """The processes that train together; one alone where there is no strategy.

    Args:
        strategy: of `tf.distribute`, or None.
    """

    def __init__(self, strategy: Any = None) -> None:
        self.strategy = strategy

    @property
    def are_several(self) -> bool:
        if self.strategy is None:
            return False
        from tfprior.replicas.strategy import has_workers

        return has_workers(self.strategy)

    @property
    def is_chief(self) -> bool:
        """Whether this process reads and writes for all."""
        if self.strategy is None:
            return True
        from tfprior.replicas.strategy import is_chief

        return is_chief(self.strategy)

    @property
    def num_replicas(self) -> int:
        return 1 if self.strategy is None else int(self.strategy.num_replicas_in_sync)

    def scope(self) -> Any:
        """Within it models and optimizers are made."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def check(self, batch_size: int, minutes: float | None) -> None:
        """Raises ValueError for options that do not fit so many replicas."""
        if batch_size < self.num_replicas:
            raise ValueError(
                f"batch_size={batch_size} for {self.num_replicas} replicas, which share a batch; expected at "
                "least one image for each."
            )
        if minutes is not None and self.are_several:
            raise ValueError(
                f"minutes={minutes} are of one machine's clock, and several workers have to take the same "
                "steps; pass epochs."
            )

    def told_by_chief(self, told: Any) -> Any:
        """What the chief tells, in types of JSON, on all workers."""
        if not self.are_several:
            return told
        from tfprior.replicas.strategy import from_chief

        return json.loads(from_chief(self.strategy, json.dumps(told).encode()))

    def check_same(self, config: Mapping[str, Any]) -> None:
        """Raises ValueError for a worker whose configuration is not the chief's."""
        from tfprior.training.description import differences

        chief = self.told_by_chief(config)
        changed = [*differences(chief, dict(config)), *versions_apart(chief, config)]
        if changed:
            raise ValueError(
                f"This worker differs from the chief in {', '.join(changed)}; start all of them by the same "
                "command, with the same data and packages."
            )

    def wait(self) -> None:
        """Until all workers are here."""
        self.told_by_chief(None)

    @contextlib.contextmanager
    def lost_ones_explained(self) -> Iterator[None]:
        """An error of a worker that is gone says how to go on."""
        if not self.are_several:
            yield
            return
        import tensorflow as tf

        try:
            yield
        except (
            tf.errors.UnavailableError,
            tf.errors.AbortedError,
            tf.errors.CancelledError,
            tf.errors.InternalError,
            tf.errors.DeadlineExceededError,
        ) as error:
            raise ConnectionError(
                "Another worker ended or cannot be reached; start all of them again by the same command, to "
                f"go on from the last state ({' '.join(str(error).split())[:200]})."
            ) from error


def versions_apart(chief: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} ({chief['versions'].get(name)}, here {version})"
        for name, version in own["versions"].items()
        if chief["versions"].get(name) != version and name != "python"
    ]
