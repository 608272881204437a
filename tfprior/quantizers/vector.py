"""Vector quantization (van den Oord et al. 2017, arXiv:1711.00937).

Shapes: N vectors · D their size · K codes.
"""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfprior.inputs import check_sizes, is_number
from tfprior.layers.lookup import rows_of
from tfprior.quantizers.base import Quantized, Quantizer, count_codes, leading_axes
from tfprior.quantizers.gradients import GRADIENTS
from tfprior.quantizers.losses import check_loss_options, entropy_of_codes
from tfprior.quantizers.nearest import nearest_codes, squared_distances
from tfprior.replicas.share import spread_over_batch

INITIALIZATIONS = ("kmeans", "data", "uniform")
METRICS = ("euclidean", "cosine")
TINY = np.finfo("float32").tiny


@keras.saving.register_keras_serializable("tfprior")
class VectorQuantizer(Quantizer):
    """Replaces each vector by the nearest one of a learned codebook: (…, D) → (…, D), one code each.

    Args:
        codebook_size: codes to choose from, K.
        code_dim: size of a vector, D.
        decay: the codebook follows the mean of the vectors that chose each code, as a moving average with
            this decay; None lets gradients of ‖sg(z) − e‖² move it instead.
        commitment_weight: weight β of ‖z − sg(e)‖².
        metric: how vectors are compared; "cosine" compares and returns vectors of length one.
        gradient: what reaches the encoder; "rotation" is the rotation trick.
        initialization: "kmeans" or "data" set the codebook from vectors that `initialize` is given, which a
            tokenizer does itself; without, the first training step sets it to vectors of its batch (on JAX
            not where gradients move it: call `initialize`). "uniform" draws it from ±1/K, for cosine codes
            in any direction.
        restart_below: a code restarts from a vector of the batch when the moving average of its use falls
            below this share of the mean; None never restarts.
        entropy_weight: weight of E[H(p(code | z))] − H(E[p(code | z)]) in nats, with p the softmax of −‖z −
            e‖² / `entropy_temperature`: it wants sure choices and an evenly used codebook.
        entropy_temperature: temperature of that softmax.

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
            ("gradient", gradient, tuple(GRADIENTS)),
            ("initialization", initialization, INITIALIZATIONS),
        ):
            if value not in known:
                raise ValueError(f"VectorQuantizer got {name}={value!r}; expected one of {', '.join(known)}.")
        for name, share in (("decay", decay), ("restart_below", restart_below)):
            if share is not None and not (is_number(share) and 0 < share < 1):
                raise ValueError(
                    f"VectorQuantizer got {name}={share!r}; expected a number between 0 and 1, or None."
                )
        check_loss_options(
            "VectorQuantizer",
            commitment_weight=commitment_weight,
            entropy_weight=entropy_weight,
            entropy_temperature=entropy_temperature,
        )
        self.codebook_size = int(codebook_size)
        self.code_dim = int(code_dim)
        self.decay = decay
        self.commitment_weight = commitment_weight
        self.metric = metric
        self.gradient = gradient
        self.initialization = initialization
        self.restart_below = restart_below
        self.entropy_weight = entropy_weight
        self.entropy_temperature = entropy_temperature
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
        self._is_initialized = self.add_weight(
            shape=(),
            initializer="ones" if self.initialization == "uniform" else "zeros",
            trainable=False,
            dtype="bool",
            name="is_initialized",
        )

    @property
    def codebook(self) -> Any:
        """The vectors that codes stand for: (K, D) float32.

        Raises:
            ValueError: before the quantizer is built.
        """
        self._check_built()
        return self._normalized(ops.convert_to_tensor(self._codebook))

    @property
    def needs_initialization(self) -> bool:
        if not self.built:
            return self.trainable and self.initialization != "uniform"
        return self.trainable and not bool(ops.convert_to_numpy(self._is_initialized))

    def noise_of_batch(self) -> list[Any]:
        return [self.seed_generator]

    def choose(self, inputs: Any, training: bool) -> Quantized:
        flat, codebook = self._flat(inputs), self.codebook  # (N, D) and (K, D)
        codes = nearest_codes(ops.stop_gradient(flat), ops.stop_gradient(codebook))
        chosen = rows_of(codebook, codes)

        held = ops.stop_gradient(chosen)
        loss = self.commitment_weight * ops.mean(ops.square(flat - held))
        if self.decay is None:
            loss = loss + ops.mean(ops.square(ops.stop_gradient(flat) - chosen))
        if self.entropy_weight:
            logits = -squared_distances(flat, codebook) / self.entropy_temperature
            loss = loss + self.entropy_weight * entropy_of_codes(ops.log_softmax(logits, axis=1))

        quantized = GRADIENTS[self.gradient](flat, held)
        axes = leading_axes(inputs)
        return Quantized(
            ops.cast(ops.reshape(quantized, (*axes, self.code_dim)), self.compute_dtype),
            ops.reshape(codes, (*axes, 1)),
            loss,
            self._statistics(ops.stop_gradient(flat), codes, training),
        )

    def codes_of(self, inputs: Any) -> Any:
        return ops.reshape(nearest_codes(self._flat(inputs), self.codebook), (*leading_axes(inputs), 1))

    def vectors_of(self, codes: Any) -> Any:
        return rows_of(self.codebook, codes[..., 0])

    def start_from(self, inputs: Any) -> None:
        """Sets the codebook from vectors (…, D): their k-means, or some of them.

        Fewer different vectors than codes leave the other codes as they are.
        """
        if self.initialization == "uniform":
            return
        # Blank parts of images give the same vector many times; no two codes start from it.
        flat = ops.convert_to_numpy(self._flat(inputs))
        vectors, times = np.unique(flat, axis=0, return_counts=True)
        count = min(len(vectors), self.codebook_size)
        centres = vectors[np.arange(count) * len(vectors) // count]
        if self.initialization == "kmeans" and count < len(vectors):
            from sklearn.cluster import KMeans

            means = KMeans(count, init=centres, n_init=1, max_iter=10)
            centres = means.fit(vectors, sample_weight=times).cluster_centers_
        codebook = ops.convert_to_numpy(self._codebook).copy()
        codebook[:count] = centres
        self._codebook.assign(codebook)
        self._is_initialized.assign(True)

    def follow(self, statistics: dict[str, Any]) -> None:
        keeps_assignments = self.decay is not None or keras.backend.backend() != "jax"
        if self.restart_below is not None and not keeps_assignments:
            raise ValueError(
                "VectorQuantizer got decay=None and restart_below on JAX, where training keeps no assignment "
                "to a trained codebook: pass restart_below=None, or a decay."
            )
        self._check_built()
        weights = (self._codebook, self._counts, self._is_initialized)
        codebook, average, is_initialized = (ops.convert_to_tensor(weight) for weight in weights)
        (counts,) = ops.unstack(statistics["counts"], 1)
        decay = 0.99 if self.decay is None else self.decay
        smoothed = decay * average + (1 - decay) * counts
        moved = codebook
        if self.decay is not None:
            # A code that nothing chose stays where it is: its sum and its count shrink alike.
            step = (1 - decay) * (statistics["sums"] - counts[:, None] * codebook)
            moved = codebook + step / ops.maximum(smoothed, TINY)[:, None]
        mean = ops.mean(smoothed)
        restarts = ops.zeros_like(smoothed, dtype="bool")
        if self.restart_below is not None:
            restarts = smoothed < self.restart_below * mean
        if keeps_assignments:  # a codebook that nothing has set starts from the batch
            restarts = restarts | ~is_initialized
        moved = ops.where(restarts[:, None], statistics["candidates"], moved)
        smoothed = ops.where(restarts, mean, smoothed)
        # A batch that diverged would end the codebook for good.
        sound = ops.all(ops.isfinite(statistics["sums"])) & ops.all(ops.isfinite(moved))
        if keeps_assignments:
            self._codebook.assign(ops.where(sound, moved, codebook))
        self._counts.assign(ops.where(sound, smoothed, average))
        self._is_initialized.assign(sound | is_initialized)

    def _check_built(self) -> None:
        if not self.built:
            raise ValueError(
                "VectorQuantizer has no codebook before it is built; call it on vectors "
                f"(batch, …, {self.code_dim}), or initialize it from some."
            )

    def _statistics(self, flat: Any, codes: Any, training: bool) -> dict[str, Any]:
        # Vectors to restart from are evenly spread over the batch, from a random start where codes restart.
        restarts = training and self.trainable and self.restart_below is not None
        start = keras.random.uniform((), seed=self.seed_generator) if restarts else 0.0
        places = (start + ops.arange(self.codebook_size, dtype="float32") / self.codebook_size) % 1.0
        return {
            "counts": count_codes(codes[:, None], self.codebook_size),
            "sums": ops.segment_sum(flat, codes, num_segments=self.codebook_size),  # (K, D)
            "candidates": spread_over_batch(flat, places),  # (K, D)
        }

    def _flat(self, inputs: Any) -> Any:
        """(…, D) → (N, D) float32, of length one for cosine codes."""
        return ops.reshape(self._normalized(ops.cast(inputs, "float32")), (-1, self.code_dim))

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
