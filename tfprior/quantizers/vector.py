"""Vector quantization (van den Oord et al. 2017, arXiv:1711.00937).

Shapes: N vectors · D their size · K codes.
"""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfprior.inputs import check_sizes
from tfprior.quantizers.base import Quantized, Quantizer, count_codes, rotated, straight_through

GRADIENTS = {"straight_through": straight_through, "rotation": rotated}
INITIALIZATIONS = ("kmeans", "data", "uniform")
METRICS = ("euclidean", "cosine")
TINY = np.finfo("float32").tiny


def nearest_codes(vectors: Any, codebook: Any) -> Any:
    """The number of the nearest code of each vector: (N, D) and (K, D) → (N,) int32.

    ‖z‖² is the same for all codes, so the largest z·e − ‖e‖²/2 decides, in one product and N·K numbers. What
    all codes have in common is taken off first, or it would cost the digits that tell them apart.
    """
    centre = ops.mean(codebook, axis=0)
    vectors, codebook = vectors - centre, codebook - centre
    halves = ops.sum(ops.square(codebook), axis=1, keepdims=True) / 2
    ones = ops.ones_like(vectors[:, :1])
    scores = ops.matmul(
        ops.concatenate([vectors, ones], axis=1),
        ops.transpose(ops.concatenate([codebook, -halves], axis=1)),
    )
    return ops.cast(ops.top_k(scores, 1, sorted=False)[1][:, 0], "int32")


@keras.saving.register_keras_serializable("tfprior")
class VectorQuantizer(Quantizer):
    """Replaces each vector by the nearest one of a learned codebook: (…, D) → (…, D), one code each.

    Args:
        codebook_size: codes to choose from, K.
        code_dim: size of a vector, D.
        decay: the codebook follows the mean of the vectors that chose each code, as a moving average with
            this decay; None lets gradients of ‖sg(z) − e‖² move it instead.
        commitment_weight: β, the weight of ‖z − sg(e)‖².
        metric: "cosine" compares and returns vectors of length one.
        gradient: "straight_through", or "rotation" (the rotation trick).
        initialization: "kmeans" or "data" set the codebook from a first batch (`initialize`); "uniform"
            draws it from ±1/K, for cosine codes in any direction.
        restart_below: a code restarts from a vector of the batch when the moving average of its use falls
            below this share of the mean; None never restarts.
        entropy_weight: weight of E[H(p(code | z))] − H(E[p(code | z)]) in nats, with p the softmax of −‖z −
            e‖² / entropy_temperature: it wants sure choices and an evenly used codebook.
        entropy_temperature: of that softmax.

    Raises:
        ValueError: for options out of range, or vectors of another size.
    """

    def __init__(
        self,
        codebook_size: int,
        code_dim: int,
        decay: float | None = 0.99,
        commitment_weight: float = 0.25,
        metric: Literal["euclidean", "cosine"] = "euclidean",
        gradient: Literal["straight_through", "rotation"] = "straight_through",
        initialization: Literal["kmeans", "data", "uniform"] = "kmeans",
        restart_below: float | None = 0.05,
        entropy_weight: float = 0.0,
        entropy_temperature: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_sizes("VectorQuantizer", codebook_size=codebook_size, code_dim=code_dim)
        for name, value, known in (
            ("metric", metric, METRICS),
            ("gradient", gradient, GRADIENTS),
            ("initialization", initialization, INITIALIZATIONS),
        ):
            if value not in known:
                raise ValueError(f"VectorQuantizer got {name}={value!r}; expected one of {', '.join(known)}.")
        for name, share in (("decay", decay), ("restart_below", restart_below)):
            if share is not None and not 0 < share < 1:
                raise ValueError(
                    f"VectorQuantizer got {name}={share}; expected a number between 0 and 1, or None."
                )
        if not (commitment_weight >= 0 and entropy_weight >= 0 and entropy_temperature > 0):
            raise ValueError(
                f"VectorQuantizer got commitment_weight={commitment_weight}, "
                f"entropy_weight={entropy_weight}, entropy_temperature={entropy_temperature}; expected "
                "weights of 0 or more and a positive temperature."
            )
        self.codebook_size = codebook_size
        self.code_dim = code_dim
        self.decay = decay
        self.commitment_weight = commitment_weight
        self.metric = metric
        self.gradient = gradient
        self.initialization = initialization
        self.restart_below = restart_below
        self.entropy_weight = entropy_weight
        self.entropy_temperature = entropy_temperature
        self.needs_data = initialization != "uniform"
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape: tuple[Any, ...]) -> None:
        super().build(input_shape)
        bound = 1 / self.codebook_size if self.metric == "euclidean" else 1.0
        self._codebook = self.add_weight(
            shape=(self.codebook_size, self.code_dim),
            initializer=keras.initializers.RandomUniform(-bound, bound),
            trainable=self.decay is None,
            dtype="float32",
            autocast=False,
            name="codebook",
        )
        # How often each code is chosen in a batch, as a moving average: with the codebook the whole state of
        # its moving average, the sums being codebook · counts.
        self._counts = self.add_weight(
            shape=(self.codebook_size,),
            initializer="ones",
            trainable=False,
            dtype="float32",
            autocast=False,
            name="counts",
        )

    @property
    def codebook(self) -> Any:
        """The vectors that codes stand for: (K, D) float32."""
        return self._normalized(ops.convert_to_tensor(self._codebook))

    def call(self, inputs: Any, training: bool = False) -> Quantized:
        vectors = self._normalized(ops.cast(inputs, "float32"))
        flat = ops.reshape(vectors, (-1, self.code_dim))  # (N, D)
        codebook = self.codebook
        codes = nearest_codes(ops.stop_gradient(flat), ops.stop_gradient(codebook))
        chosen = ops.take(codebook, codes, axis=0)

        held = ops.stop_gradient(chosen)
        loss = self.commitment_weight * ops.mean(ops.square(flat - held))
        if self.decay is None:
            loss = loss + ops.mean(ops.square(ops.stop_gradient(flat) - chosen))
        if self.entropy_weight:
            loss = loss + self.entropy_weight * self._entropy_loss(flat, codebook)

        quantized = GRADIENTS[self.gradient](flat, held)
        return Quantized(
            ops.cast(ops.reshape(quantized, (-1, *inputs.shape[1:])), self.compute_dtype),
            ops.reshape(codes, (-1, *inputs.shape[1:-1], 1)),
            loss,
            self._statistics(ops.stop_gradient(flat), codes, training),
        )

    def encode(self, inputs: Any) -> Any:
        flat = ops.reshape(self._normalized(ops.cast(inputs, "float32")), (-1, self.code_dim))
        return ops.reshape(nearest_codes(flat, self.codebook), (-1, *inputs.shape[1:-1], 1))

    def decode(self, codes: Any) -> Any:
        return ops.cast(ops.take(self.codebook, codes[..., 0], axis=0), self.compute_dtype)

    def initialize(self, inputs: Any) -> None:
        """Sets the codebook from vectors (…, D): their k-means, or some of them.

        Fewer different vectors than codes leave the other codes as they are.
        """
        if self.initialization == "uniform":
            return
        vectors = self._normalized(ops.reshape(ops.cast(inputs, "float32"), (-1, self.code_dim)))
        # Blank parts of images give the same vector many times; no two codes start from it.
        vectors, times = np.unique(ops.convert_to_numpy(vectors), axis=0, return_counts=True)
        count = min(len(vectors), self.codebook_size)
        centres = vectors[np.arange(count) * len(vectors) // count]
        if self.initialization == "kmeans" and count < len(vectors):
            from sklearn.cluster import KMeans

            means = KMeans(count, init=centres, n_init=1, max_iter=10)
            centres = means.fit(vectors, sample_weight=times).cluster_centers_
        codebook = ops.convert_to_numpy(self._codebook).copy()
        codebook[:count] = centres
        self._codebook.assign(codebook)

    def update(self, statistics: dict[str, Any]) -> None:
        if self.decay is None and self.restart_below is not None and keras.backend.backend() == "jax":
            raise ValueError(
                "VectorQuantizer got decay=None and restart_below on JAX, where training keeps no assignment "
                "to a trained codebook: pass restart_below=None, or a decay."
            )
        (counts,) = ops.unstack(statistics["counts"], 1)
        decay = 0.99 if self.decay is None else self.decay
        smoothed = decay * self._counts + (1 - decay) * counts
        codebook = ops.convert_to_tensor(self._codebook)
        if self.decay is not None:
            # A code that nothing chose stays where it is: its sum and its count shrink alike.
            moved = statistics["sums"] - counts[:, None] * codebook
            moved = (1 - decay) * moved / ops.maximum(smoothed, TINY)[:, None]
            # A batch that diverged would end the codebook for good.
            codebook = codebook + ops.where(ops.all(ops.isfinite(moved)), moved, 0.0)
        if self.restart_below is not None:
            mean = ops.mean(smoothed)
            dead = smoothed < self.restart_below * mean
            dead = dead & ops.all(ops.isfinite(statistics["candidates"]), axis=1)
            codebook = ops.where(dead[:, None], statistics["candidates"], codebook)
            smoothed = ops.where(dead, mean, smoothed)
        if self.decay is not None or self.restart_below is not None:
            self._codebook.assign(codebook)
        self._counts.assign(smoothed)

    def _statistics(self, flat: Any, codes: Any, training: bool) -> dict[str, Any]:
        statistics = {"counts": count_codes(codes[:, None], self.codebook_size)}
        if training and self.decay is not None:
            statistics["sums"] = ops.segment_sum(flat, codes, num_segments=self.codebook_size)  # (K, D)
        if training and self.restart_below is not None:
            # Evenly spread over the batch from a random start.
            count = ops.shape(flat)[0]
            start = keras.random.uniform((), seed=self.seed_generator)
            spread = np.arange(self.codebook_size, dtype="float32") / self.codebook_size
            index = ops.floor((start + spread) % 1.0 * ops.cast(count, "float32"))
            statistics["candidates"] = ops.take(flat, ops.cast(index, "int32"), axis=0)  # (K, D)
        return statistics

    def _entropy_loss(self, flat: Any, codebook: Any) -> Any:
        distances = (
            ops.sum(ops.square(flat), axis=1, keepdims=True)
            - 2 * ops.matmul(flat, ops.transpose(codebook))
            + ops.sum(ops.square(codebook), axis=1)
        )
        logs = ops.log_softmax(-distances / self.entropy_temperature, axis=1)
        mean = ops.mean(ops.exp(logs), axis=0)
        of_each = -ops.mean(ops.sum(ops.exp(logs) * logs, axis=1))
        return of_each + ops.sum(mean * ops.log(mean + 1e-12))

    def _normalized(self, vectors: Any) -> Any:
        return vectors if self.metric == "euclidean" else ops.normalize(vectors, axis=-1, epsilon=1e-6)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "codebook_size": self.codebook_size,
            "code_dim": self.code_dim,
            "decay": self.decay,
            "commitment_weight": self.commitment_weight,
            "metric": self.metric,
            "gradient": self.gradient,
            "initialization": self.initialization,
            "restart_below": self.restart_below,
            "entropy_weight": self.entropy_weight,
            "entropy_temperature": self.entropy_temperature,
        }
