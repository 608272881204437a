"""Output distributions as TensorFlow Probability's own; no other file knows of it."""

from typing import Any

import keras
import numpy as np

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"to_tfp needs the TensorFlow backend, and Keras runs on {keras.backend.backend()}: set "
        "KERAS_BACKEND=tensorflow before the first import."
    )
try:
    import tensorflow as tf
    from tensorflow_probability import distributions as tfd
    from tensorflow_probability import random as tfp_random
    from tensorflow_probability import util as tfp_util
except ImportError as error:
    raise ImportError(
        f"to_tfp needs TensorFlow Probability ({error}): pip install tensorflow-probability tf-keras."
    ) from error


def independent_categoricals(logits: Any) -> tfd.Distribution:
    """Of logits (…, C, K): batch shape (…), event shape (C,)."""
    return tfd.Independent(tfd.Categorical(logits), reinterpreted_batch_ndims=1)


class Pixel(tfd.Distribution):
    """Any output distribution with its parameters: params (…, P) → batch shape (…), event shape (C,).

    Mean and mode are the distribution's own: of coupled channels after the first one an approximation.

    Raises:
        ValueError: where no number of channels has P parameters.
    """

    def __init__(
        self,
        distribution: Any,
        params: Any,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "Pixel",
    ) -> None:
        parameters = dict(locals())
        self.distribution = distribution
        self.params = tf.convert_to_tensor(params)
        self.channels = distribution.num_channels(self.params.shape[-1])
        super().__init__(
            dtype=tf.int32,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=validate_args,
            allow_nan_stats=allow_nan_stats,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: int | None = None) -> dict[str, Any]:
        return {"params": tfp_util.ParameterProperties(event_ndims=1)}

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([self.channels])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([self.channels])

    def _log_prob(self, value: tf.Tensor) -> tf.Tensor:
        top = self.distribution.num_levels - 1
        nats = self.distribution.log_prob(self.params, tf.clip_by_value(value, 0, top))
        inside = tf.reduce_all((value >= 0) & (value <= top), axis=-1)
        return tf.where(inside, nats, -np.inf)

    def _sample_n(self, n: tf.Tensor, seed: Any = None) -> tf.Tensor:
        size = self.distribution.num_uniforms(self.channels)
        shape = tf.concat([[n], self.batch_shape_tensor(), [size]], axis=0)
        uniforms = tf.random.stateless_uniform(shape, tfp_random.sanitize_seed(seed))
        uniforms.set_shape([None, *self.batch_shape, size])
        return self.distribution.sample(self.params, uniforms)[0]

    def _mean(self) -> tf.Tensor:
        return self.distribution.mean(self.params)

    def _mode(self) -> tf.Tensor:
        return self.distribution.mode(self.params)
