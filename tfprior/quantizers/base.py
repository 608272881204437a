"""The contract of a quantizer.

Shapes: N vectors · D their size · K codes to choose from · G codes for a vector.
"""

import abc
from typing import Any, NamedTuple

import keras
from keras import ops

from tfprior.compilation import num_replicas
from tfprior.inputs import as_array, concrete, name_of


class Quantized(NamedTuple):
    """What a quantizer makes of vectors (…, D).

    Attributes:
        quantized: the nearest vectors it has (…, D), with a gradient to the inputs.
        codes: their numbers (…, G) int32.
        loss: what training adds to the model's own loss.
        statistics: sums over the batch, for `update` and for metrics; "counts" (G, K) says how often each
            code was chosen. The same keys in training and in evaluation.
    """

    quantized: Any
    codes: Any
    loss: Any
    statistics: dict[str, Any]


class Quantizer(keras.layers.Layer, abc.ABC):
    """Turns vectors (…, D) into G codes of K kinds each, and codes back into vectors.

    In a model of your own take `quantizer(x).quantized` and train as ever: every call adds the loss to the
    model's losses, and a call with `training=True` moves the codebook. In a tokenizer, or as part of another
    quantizer, both are done by the owner, from the loss and the statistics that a call returns.

    `trainable = False` freezes all that moves in training, codebooks that follow averages too.

    A quantizer says how it chooses (`choose`, `codes_of`, `vectors_of`), and where it has a codebook how that
    starts from data and follows statistics (`start_from`, `follow`).

    Attributes:
        code_dim: D.
        codebook_size: K.
        num_codes: G.
        learns_by_itself: whether calls add the loss and, in training, update. An owner turns it off; so may a
            training loop of your own that hands the statistics to `update`.
    """

    code_dim: int
    codebook_size: int
    num_codes: int = 1
    trainable: bool

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # codes are looked up in float32
        self.learns_by_itself = True

    # What every quantizer has of its own

    @abc.abstractmethod
    def choose(self, inputs: Any, training: bool) -> Quantized:
        """Vectors (…, D) → Quantized; changes no weight."""

    @abc.abstractmethod
    def codes_of(self, inputs: Any) -> Any:
        """Vectors (…, D) → codes (…, G) int32."""

    @abc.abstractmethod
    def vectors_of(self, codes: Any) -> Any:
        """Codes (…, G) → vectors (…, D) float32."""

    def start_from(self, inputs: Any) -> None:
        """Sets weights that depend on data from vectors (…, D); without a codebook there are none."""

    def follow(self, statistics: dict[str, Any]) -> None:
        """Moves a codebook by the statistics of a training step; without a codebook there is none."""

    @property
    def needs_initialization(self) -> bool:
        """Whether `initialize` is to come before training."""
        return False

    @property
    def adds_up_inside(self) -> bool:
        """Whether its loss has a mean over the whole batch, so that replicas add up while they compute it."""
        return bool(getattr(self, "entropy_weight", 0.0))

    def noise_of_batch(self) -> list[Any]:
        """Seed generators of what is drawn for the whole batch."""
        return []

    # What all of them do

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Quantized:
        self.check_vectors(inputs)  # here, or Keras would wrap the error
        return super().__call__(inputs, *args, **kwargs)

    def call(self, inputs: Any, training: bool = False) -> Quantized:
        """Vectors (…, D) → Quantized."""
        result = self.choose(inputs, training)
        if self.learns_by_itself:
            self.add_loss(result.loss)
            if training and self.trainable:
                if self.weights and num_replicas() > 1:
                    raise NotImplementedError(
                        f"{type(self).__name__} learns by itself on one device: under this tf.distribute "
                        "strategy every replica would move the codebook its own way. Set learns_by_itself = "
                        "False, add up the statistics of all replicas and hand them to update."
                    )
                self.update(result.statistics)
        return result

    def encode(self, inputs: Any) -> Any:
        """Vectors (…, D) → codes (…, G) int32.

        Raises:
            ValueError: for vectors of another size.
        """
        self.check_vectors(inputs)
        return self.codes_of(inputs)

    def decode(self, codes: Any) -> Any:
        """Codes (…, G) → vectors (…, D), in float32 under every policy.

        Raises:
            ValueError: for codes of the wrong shape, type or range. The range is not checked inside a graph.
        """
        codes = as_array(codes)
        self._check_codes(codes)
        return self.vectors_of(codes)

    def initialize(self, inputs: Any) -> None:
        """Sets weights that depend on data from vectors (…, D); builds the quantizer if that is still to do.

        Raises:
            ValueError: for vectors of another size, of NaN or infinity, or a frozen quantizer.
        """
        inputs = as_array(inputs)
        self.check_vectors(inputs)
        known, name = concrete(inputs), type(self).__name__
        if known is None:
            raise ValueError(
                f"{name}.initialize got a tensor of a graph; expected numbers: call it before training."
            )
        if not known.size or not bool(ops.all(ops.isfinite(inputs))):
            raise ValueError(f"{name}.initialize got no vectors, or some with NaN or infinity.")
        if not self.trainable:
            raise ValueError(f"{name} is frozen; set trainable = True before initialize.")
        if not self.built:
            self.build((None, *inputs.shape[1:]))
        self.start_from(inputs)

    def update(self, statistics: dict[str, Any]) -> None:
        """Moves the codebook by the statistics of a training step, unless `trainable` is False."""
        if self.trainable:
            self.follow(statistics)

    def become_part_of(self, owner: keras.layers.Layer) -> None:
        """Leaves loss and updates to the model or quantizer that owns it, and computes under its policy."""
        self.learns_by_itself = False
        self.dtype_policy = owner.dtype_policy
        if not owner.trainable:
            self.trainable = False  # Keras hands on only what is set later

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self._check_shape(tuple(input_shape))
        self.built = True

    def check_vectors(self, inputs: Any) -> None:
        """Raises ValueError unless `inputs` are vectors (…, D)."""
        if not hasattr(inputs, "shape"):
            name, kind = type(self).__name__, type(inputs).__name__
            raise ValueError(f"{name} got a {kind}; expected a tensor (batch, …, {self.code_dim}).")
        self._check_shape(tuple(inputs.shape))

    def _check_shape(self, shape: tuple[Any, ...]) -> None:
        if len(shape) < 2 or shape[-1] != self.code_dim:
            raise ValueError(
                f"{type(self).__name__} got vectors of shape {shape}; expected (batch, …, {self.code_dim}): "
                f"end the layers before it with Dense({self.code_dim})."
            )

    def _check_codes(self, codes: Any) -> None:
        name, shape = type(self).__name__, tuple(codes.shape)
        kind = name_of(codes.dtype)
        if not kind.startswith(("int", "uint")):
            raise ValueError(f"{name} got codes of dtype {kind}; expected integers.")
        if not shape or shape[-1] != self.num_codes:
            raise ValueError(
                f"{name} got codes of shape {shape}; expected (batch, …, {self.num_codes}): the last axis "
                "holds the codes of one vector."
            )
        known, size = concrete(codes), self.codebook_size
        if known is not None and known.size and (known.min() < 0 or known.max() >= size):
            raise ValueError(
                f"{name} got codes in [{known.min()}, {known.max()}]; expected integers in [0, {size - 1}]."
            )


def serialize_part(quantizer: Quantizer) -> dict[str, Any]:
    """The quantizer as an entry of its owner's config; the owner builds it anew."""
    config = keras.saving.serialize_keras_object(quantizer)
    return {name: value for name, value in config.items() if name != "build_config"}


def count_codes(codes: Any, codebook_size: int) -> Any:
    """How often each code occurs: codes (…, G) → (G, K) float32."""
    flat = ops.reshape(codes, (-1, codes.shape[-1]))
    ones = ops.ones_like(flat[:, 0], dtype="float32")
    return ops.stack(
        [
            ops.segment_sum(ones, flat[:, group], num_segments=codebook_size)
            for group in range(codes.shape[-1])
        ]
    )


def leading_axes(inputs: Any) -> tuple[Any, ...]:
    """The axes of (…, D) before the last, as `reshape` takes them: sizes may be known in the graph alone."""
    known = tuple(inputs.shape)[1:-1]
    return tuple(ops.shape(inputs)[:-1]) if None in known else (-1, *known)
