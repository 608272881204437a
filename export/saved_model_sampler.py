"""The loops over a SavedModel's signatures, as a caller of TensorFlow Serving would write them."""

from typing import Any

import numpy as np
import tensorflow as tf

METHODS = {"pair": ("row", "pixel"), "step": ("initial_state", "step"), "sample": ("sample",)}


class SavedModelSampler:
    """Draws from a prior of a loaded SavedModel.

    Args:
        signatures: of the SavedModel.
        prior: what the manifest says of the prior.
    """

    def __init__(self, signatures: Any, prior: dict[str, Any]) -> None:
        prefix = prior["prefix"]
        self.channels = prior["grid_shape"][-1]
        self.signatures = {
            name.removeprefix(prefix): signatures[name] for name in signatures if name.startswith(prefix)
        }
        self.methods = [
            name for name, needs in METHODS.items() if all(need in self.signatures for need in needs)
        ]

    def rollout(
        self, uniforms: np.ndarray, condition: Any, temperature: float, method: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Noise (B, H, W, K) → values (B, H, W, C) int32 and the nats of what was drawn (B,)."""
        given = {} if condition is None else {"condition": tf.constant(condition)}
        return getattr(self, f"_by_{method}")(uniforms, given, tf.fill((len(uniforms),), temperature))

    def log_prob(self, values: np.ndarray, condition: Any) -> np.ndarray:
        """Nats: values (B, H, W, C) → (B,)."""
        given = {} if condition is None else {"condition": tf.constant(condition)}
        return self.signatures["log_prob"](values=tf.constant(values), **given)["log_prob"].numpy()

    def _by_step(self, uniforms: np.ndarray, given: Any, temperature: Any) -> tuple[np.ndarray, np.ndarray]:
        batch, height, width, noise = uniforms.shape
        uniforms = uniforms.reshape(batch, height * width, noise)
        state = self.signatures["initial_state"](position=tf.zeros((batch,), tf.int32))["state"]
        previous = tf.zeros((batch, self.channels), tf.int32)
        values, nats = [], np.zeros(batch, "float64")
        for position in range(height * width):
            out = self.signatures["step"](
                state=state,
                previous=previous,
                position=tf.fill((batch,), position),
                uniforms=tf.constant(uniforms[:, position]),
                temperature=temperature,
                **given,
            )
            state, previous = out["state_out"], out["value"]
            values.append(previous.numpy())
            nats += out["log_prob"].numpy()
        return np.stack(values, axis=1).reshape(batch, height, width, -1), nats

    def _by_pair(self, uniforms: np.ndarray, given: Any, temperature: Any) -> tuple[np.ndarray, np.ndarray]:
        batch, height, width, _ = uniforms.shape
        row_state, left_end = (self._zeros(name, f"{name}_state", batch) for name in ("row", "pixel"))
        finished = tf.zeros((batch, width, self.channels), tf.int32)
        rows, nats = [], np.zeros(batch, "float64")
        for y in range(height):
            position = tf.fill((batch,), y * width)
            begun = self.signatures["row"](
                row_state=row_state, finished_row=finished, position=position, **given
            )
            row_state, pixel_state, previous, values = begun["row_state_out"], left_end, finished[:, 0], []
            for x in range(width):
                out = self.signatures["pixel"](
                    pixel_state=pixel_state,
                    row_features=begun["row_features"],
                    previous=previous,
                    position=position + x,
                    uniforms=tf.constant(uniforms[:, y, x]),
                    temperature=temperature,
                )
                pixel_state, previous = out["pixel_state_out"], out["value"]
                values.append(previous)
                nats += out["log_prob"].numpy()
            finished = tf.stack(values, axis=1)
            rows.append(finished.numpy())
        return np.stack(rows, axis=1), nats

    def _by_sample(self, uniforms: np.ndarray, given: Any, temperature: Any) -> tuple[np.ndarray, np.ndarray]:
        out = self.signatures["sample"](uniforms=tf.constant(uniforms), temperature=temperature, **given)
        return out["values"].numpy(), out["log_prob"].numpy()

    def _zeros(self, function: str, name: str, batch: int) -> Any:
        specification = self.signatures[function].structured_input_signature[1][name]
        return tf.zeros((batch, *specification.shape[1:]))
